"""The page of documentation that holds what the differential comparison found."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from jobctl.client.zone_data import zone_data

if TYPE_CHECKING:
    from tests.model.differential import Tally

HEAD = """# Where other schedulers differ

<!-- Written by `python -m tests.model.differential`; change that, not this. -->

The same expression does not mean the same everywhere.
This page says what croniter, cronsim and `systemd-analyze calendar` answer where jobctl answers otherwise, why, and how often that happens in random cases.

A case is an expression, a zone and a start; the first five instants within the next days are compared.
Half of the cases lie around {changes} changes of the clock on purpose, the others in any zone and in any year from 1971 to 2037, most of them around a change too.
Expressions have lists, ranges, steps, names, `?`, `L`, `LW`, `nW`, `d#n` and `dL`, and lean towards the times that the change skips or repeats.
So the counts say how the rules differ, not how often a crontab would notice.

Every disagreement has one of the reasons below; {unnamed} of this run had none.
A reason counts only where the rule of the peer, put into a brute-force evaluator that looks at every minute, gives the peer's answer exactly.
Those marked * follow no such rule; there the place of the difference is checked instead.
Two reasons that are needed together are both counted.

What jobctl does is the rule of crontab(5) and Debian's cron(8), made exact; it equals that evaluator in all of the random cases that have been tried, see [how it is tested](testing.md).

Asked for this page: {cases} cases, seed {seed}; {versions}; {zones}.
To count anew: `python -m tests.model.differential --peers {cases} --seed {seed} --write`.
"""

TAIL = """## What is not asked

- Forms that only one side has: `~` and `H`, `@every`, seven fields, years, and systemd's repetitions below the second.
- Starts before 1971, which systemd does not take.
- croniter is asked with its defaults, except that six fields have the seconds first.
- cronie, Vixie cron and Debian's cron are daemons without a way to ask them; that jobctl follows Debian's manual is the work of the table in `tests/model/cron_table.txt`.
"""


def page(tallies: list[Tally], *, seed: str) -> str:
    from tests.model.cron_cases import CHANGES  # noqa: PLC0415 (what the page tells of)
    from tests.model.differential import version_of  # noqa: PLC0415 (imports this module)

    versions = ", ".join(f"{one.peer.name} {version_of(one.peer)}" for one in tallies)
    unnamed = sum(len(one.unnamed) for one in tallies)
    zones = f"{zone_data()} (the tzdata package is {version('tzdata')})"
    parts = [
        HEAD.format(
            changes=len(CHANGES), unnamed=unnamed, cases=tallies[0].asked, seed=seed,
            versions=versions, zones=zones,
        ),
        "| | cases | the same | refused | different | without a reason |\n|---|---|---|---|---|---|\n"
        + "".join(
            f"| {one.peer.name} | {one.asked} | {one.same} | {one.refused.total()} "
            f"| {one.differing} | {len(one.unnamed)} |\n"
            for one in tallies
        ),
    ]  # fmt: skip
    return "\n".join([*parts, *map(section, tallies), TAIL])


def section(tally: Tally) -> str:
    lines = [f"## {tally.peer.name}", "", "| cases | reason | example |", "|---|---|---|"]
    rows = [(tally.differs[reason.name], reason) for reason in tally.peer.reasons]
    for count, reason in sorted(rows, key=lambda row: -row[0]):
        mark = "*" if reason.seen else ""
        example = tally.example[reason.name][1] if reason.name in tally.example else "-"
        lines.append(f"| {count} | {reason.name}{mark}: {reason.why} | {example} |")
    lines += [f"| {len(tally.unnamed)} | none | {'; '.join(tally.unnamed) or '-'} |", ""]
    if tally.refused:
        lines += ["Refused, with a term that alone is enough (`n` is a number, `ddd` a name):", ""]
        lines += ["| cases | refused | example |", "|---|---|---|"]
        lines += [
            f"| {count} | {shape} | `{tally.refused_example[shape]}` |"
            for shape, count in tally.refused.most_common()
        ]
        lines.append("")
    return "\n".join(lines)
