"""``python -m tests.model.differential``: many random cases, and what peers answer to them.

``--cases N`` compares the fast evaluator with the brute-force reference, ``--peers M`` asks
croniter, cronsim and ``systemd-analyze calendar`` too, and ``--write`` puts the counts into the
documentation. Exits 1 when the evaluators differ, or when a disagreement has no named reason.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from jobctl.model.cron import CronError, CronExpression
from tests.model.cron_cases import Case, check_case, draw
from tests.model.cron_reference import MINUTE
from tests.model.differences_page import page
from tests.model.peers import MOST, RefusedError, ask_croniter, ask_cronsim, ask_systemd
from tests.model.reasons import CRONITER, CRONSIM, SYSTEMD, explained

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs/explanation/cron-differences.md"
FIRST_YEAR = 1971
"""Peers are asked from then on: systemd takes no start before 1970."""
FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")


class Peer(NamedTuple):
    name: str
    ask: Callable[[Case], list[datetime]]
    reasons: tuple[Reason, ...]


PEERS = (
    Peer("croniter", ask_croniter, CRONITER),
    Peer("cronsim", ask_cronsim, CRONSIM),
    Peer("systemd", ask_systemd, SYSTEMD),
)


class Tally:
    """What one peer answered: how many cases, and why it differed."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.asked = 0
        self.same = 0
        self.refused: Counter[str] = Counter()
        self.refused_example: dict[str, str] = {}
        self.differs: Counter[str] = Counter()
        self.differing = 0
        self.example: dict[str, tuple[int, str]] = {}
        self.unnamed: list[str] = []

    def ask(self, case: Case, ours: list[datetime]) -> None:
        self.asked += 1
        try:
            theirs = self.peer.ask(case)
        except RefusedError as error:
            shape = refused_shape(self.peer, case, str(error))
            self.refused[shape] += 1
            self.refused_example.setdefault(shape, case.text)
            return
        if theirs == ours:
            self.same += 1
            return
        self.differing += 1
        reasons = explained(case, ours, theirs, self.peer.reasons)
        if not reasons:
            self.unnamed.append(shown(case, ours, theirs))
        for reason in reasons:
            self.differs[reason.name] += 1
            best = (len(reasons) * 1000 + len(case.text), shown(case, ours, theirs))
            self.example[reason.name] = min(best, self.example.get(reason.name, best))


def refused_shape(peer: Peer, case: Case, message: str) -> str:
    """Return which term is refused, found by asking for each one alone."""
    words = case.text.split()
    names = FIELDS if len(words) == len(FIELDS) else ("second", *FIELDS)
    for number, (name, word) in enumerate(zip(names, words, strict=True)):
        for term in [*word.split(","), word]:
            alone = ["*"] * len(words)
            alone[number] = term
            if refuses(peer, " ".join(alone)):
                return f"`{shape_of(term)}` as {name}"
    return DEADLOCK if "deadlock" in message else f"`{shape_of(' '.join(words))}`"


@cache
def refuses(peer: Peer, text: str) -> bool:
    start = datetime(2021, 6, 1, tzinfo=UTC)
    try:
        peer.ask(Case(text, ZoneInfo("UTC"), start, start, [start] * 2, MINUTE))
    except RefusedError:
        return True
    return False


DEADLOCK = "the search gives up ('Resource deadlock avoided') after a change off the hour"


def shape_of(term: str) -> str:
    shape = re.sub(r"\d+", "n", term)
    return re.sub(r"[A-Za-z]{3}", "ddd", shape)


def shown(case: Case, ours: list[datetime], theirs: list[datetime]) -> str:
    """Return a case for people: from the first difference on."""

    def local(moments: list[datetime]) -> str:
        said = [moment.astimezone(case.zone).isoformat(timespec="seconds") for moment in moments]
        return " ".join(said) or "nothing"

    first = next(
        (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    start = case.start.astimezone(case.zone).isoformat(timespec="seconds")
    cut = slice(first, first + 2)
    return (
        f"`{case.text}` in {case.zone.key} after {start}: "
        f"jobctl {local(ours[cut])}, it {local(theirs[cut])}"
    )


def compare(cases: int, seed: str, *, peers: tuple[Peer, ...] = PEERS) -> list[Tally]:
    """Ask every peer the same random cases."""
    tallies = [Tally(peer) for peer in peers]
    number = asked = 0
    while asked < cases:
        case = draw(f"{seed}/{number}")
        number += 1
        if case.begin.year < FIRST_YEAR:
            continue
        try:
            expression = CronExpression.parse(case.text)
        except CronError:
            continue
        asked += 1
        ours: list[datetime] = []
        at = expression.next_after(case.start, case.zone)
        while at is not None and at < case.end and len(ours) < MOST:
            ours.append(at)
            at = expression.next_after(at, case.zone)
        for tally in tallies:
            tally.ask(case, ours)
        if asked % 1000 == 0:
            print(f"{asked} cases asked", file=sys.stderr, flush=True)
    return tallies


def check_reference(cases: int, seed: str) -> tuple[int, list[str]]:
    """Return how many cases were usable, and the differences from the reference."""
    usable = 0
    wrong: list[str] = []
    started = reported = time.monotonic()
    for number in range(cases):
        try:
            usable += check_case(f"{seed}/{number}")
        except AssertionError as error:
            wrong.append(str(error))
        if time.monotonic() - reported > 60:
            reported = time.monotonic()
            print(f"{number + 1} cases, {reported - started:.0f} s", file=sys.stderr, flush=True)
    return usable, wrong


def version_of(peer: Peer) -> str:
    if peer.name != "systemd":
        return version(peer.name)
    done = subprocess.run(
        ["systemd-analyze", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.split()[1]


def report(tally: Tally) -> str:
    lines = [
        (
            f"{tally.peer.name} {version_of(tally.peer)}: {tally.asked} cases, {tally.same} the same, "
            f"{tally.refused.total()} refused, {tally.differing} different, "
            f"{len(tally.unnamed)} without a named reason"
        )
    ]
    lines += [f"  {count:6} {name}" for name, count in tally.differs.most_common()]
    lines += [f"  {count:6} refused: {name}" for name, count in tally.refused.most_common()]
    lines += [f"  UNNAMED {text}" for text in tally.unnamed]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model.differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=0, help="against the reference")
    parser.add_argument("--peers", type=int, default=0, help="against the peers as well")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--write", action="store_true", help=f"put the counts into {PAGE.name}")
    options = parser.parse_args()
    started = time.monotonic()
    usable, wrong = check_reference(options.cases, options.seed)
    for text in wrong:
        print(f"DIFFERS {text}")
    if options.cases:
        print(
            f"reference: {options.cases} random cases, seed {options.seed}: {usable} usable, "
            f"{options.cases - usable - len(wrong)} that can never match, {len(wrong)} differences "
            f"({time.monotonic() - started:.0f} s)",
            flush=True,
        )
    tallies = compare(options.peers, options.seed) if options.peers else []
    for tally in tallies:
        print(report(tally))
    if options.write and tallies:
        PAGE.write_text(page(tallies, seed=options.seed))
    return 1 if wrong or any(tally.unnamed for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
