"""``schedule``: how schedules stand, what became of their instants, and orders to them."""

from __future__ import annotations

import heapq
from itertools import islice

from jobctl.cli import schedule_orders, values
from jobctl.cli.render import clock_time, full_time, short, state_style
from jobctl.cli.table import clean, columns
from jobctl.client.decision_words import is_decided, outcome
from jobctl.client.known_schedules import Became, Catalogue, became, standings
from jobctl.client.schedules import Fire, distinct
from jobctl.client.views import instant
from jobctl.errors import ExitCode, UsageError
from jobctl.model.schedule import load_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from jobctl.cli.invocation import Invocation
    from jobctl.client.known_schedules import Standing
    from jobctl.store.queries import Decision

SHOWN = 20
UPCOMING = 10
HISTORY = 200
ORDERS: dict[str, Callable[..., int]] = {
    "enable": schedule_orders.enable,
    "disable": schedule_orders.disable,
    "trigger": schedule_orders.trigger,
    "skip-to": schedule_orders.skip_to,
    "backfill": schedule_orders.backfill,
    "add": schedule_orders.add,
    "set": schedule_orders.change,
    "rm": schedule_orders.remove,
}
KEYS = (
    "schedule", "timezone", "jitter", "missed", "queue", "priority", "expires", "not_before",
    "not_after", "max_runs", "args_json",
)  # fmt: skip
"""Options that say what a live schedule is like."""
TAKES: dict[str, tuple[str, ...]] = {
    "list": (), "show": ("number",), "next": ("number",), "enable": ("all_",), "disable": ("until", "once", "all_"),
    "trigger": ("force",), "skip-to": (), "backfill": ("from_", "to", "max", "dry_run", "force"),
    "add": ("job", *KEYS), "set": KEYS, "rm": (),
}  # fmt: skip
"""Which options belong to an action."""
WORDY = ("add", "set", "skip-to")
"""Actions that take words after the name."""


def schedule(
    call: Invocation, *, action: str | None, name: str | None, words: list[str], **options: object
) -> int:
    """Carry out one action; without one, list all schedules."""
    what = action or "list"
    if what not in TAKES:
        raise UsageError(f"{what[:40]!r} is none of {', '.join(TAKES)}")
    for option, value in options.items():
        if value not in (None, False) and option not in TAKES[what]:
            flag = option.rstrip("_").replace("_", "-")
            owners = ", ".join(act for act, taken in TAKES.items() if option in taken)
            raise UsageError(f"--{flag} is for {owners}, not for schedule {what}")
    if words and what not in WORDY:
        raise UsageError(f"schedule {what} takes one name, not {words[0][:40]!r} as well")
    if what == "list":
        return _list(call, name)
    if name is None and "all_" not in TAKES[what]:
        raise UsageError(
            f"schedule {what} needs the name of a schedule or job; see `jobctl schedule list`"
        )
    catalogue = Catalogue(call.session)
    if what in ("show", "next") and name is not None:
        tell = _show if what == "show" else _next
        return tell(call, catalogue, name, number=options["number"])
    taken = {option: options[option] for option in TAKES[what]}
    if what in WORDY:
        taken["words"] = words
    return ORDERS[what](call, catalogue, name, **taken)


def _list(call: Invocation, name: str | None) -> int:
    catalogue = Catalogue(call.session)
    entries = catalogue.entries() if name is None else catalogue.find(name)
    rows = standings(call.session, entries)
    console = call.console
    unused = [
        {"schedule": one, "reason": why}
        for one, why in sorted((catalogue.refused | catalogue.unused).items())
    ]
    if console.json:
        console.document({"schedules": [_view(row, catalogue) for row in rows], "not_used": unused})
        return ExitCode.OK
    for one in unused:
        console.note(f"live schedule {one['schedule']!r} is not used: {one['reason']}")
    if not rows:
        console.note("there are no schedules")
        return ExitCode.OK
    now = call.session.clock.epoch()
    head = (
        "SCHEDULE",
        "RULE",
        "ZONE",
        "STATE",
        "NEXT",
        "IN",
        "LAST",
        "OUTCOME",
        "RUNS",
        "LAG",
        "FROM",
    )
    cells = []
    for row in rows:
        zone = load_zone(row.entry.timezone)
        last = next((one for one in row.newest if is_decided(one)), None)
        cells.append(
            (
                row.entry.name,
                row.entry.definition.rule,
                zone.key,
                _state(row, zone),
                _upcoming(row, zone),
                "-" if row.next is None else short(row.next - now),
                clock_time(None if last is None else last.instant, zone=zone),
                "-" if last is None else outcome(last)[0].replace("_", " "),
                str(row.fired),
                short(row.lag),
                _origin(row, catalogue, zone),
            )
        )
    for line in columns(head, cells, right=(8, 9), paint=_bold_head(call)):
        console.data(line)
    return ExitCode.OK


def _bold_head(call: Invocation) -> Callable[[int, str, str], str]:
    return lambda column, _, text: call.console.style(text, "bold") if column < 0 else text


def _upcoming(row: Standing, zone: tzinfo) -> str:
    """Return the next instant, and how much later its run starts on this host."""
    later = row.entry.jitter if row.next is not None else 0.0
    return clock_time(row.next, zone=zone) + (f" + {short(later)}" if later else "")


def _state(row: Standing, zone: tzinfo | None) -> str:
    if row.off_until is not None and row.state == "off":
        return f"off until {clock_time(row.off_until, zone=zone)}"
    return row.state


def _origin(row: Standing, catalogue: Catalogue, zone: tzinfo | None) -> str:
    name = row.entry.name
    where = row.entry.job.source or "jobs.toml"
    live = None if name in catalogue.unused else catalogue.lives.get(name)
    if live is None:
        return where
    by = f"by {live.by} at {clock_time(live.at, zone=zone)}"
    return f"live, {by}" if live.own else f"{where}, {', '.join(sorted(live.keys))} changed {by}"


def _view(row: Standing, catalogue: Catalogue) -> dict[str, object]:
    entry = row.entry
    name = entry.name
    live = catalogue.lives.get(name) if name not in catalogue.unused else None
    return {
        "schedule": name,
        "job": entry.job.name,
        "rule": entry.definition.rule,
        "timezone": entry.timezone,
        "jitter": entry.jitter,
        "missed": entry.missed.value,
        "state": row.state,
        "off_until": instant(row.off_until),
        "next": instant(row.next),
        "last_decided": instant(row.last),
        "runs": row.fired,
        "max_runs": entry.definition.max_runs,
        "lag_mean": row.lag,
        "lag_max": row.lag_most,
        "source": entry.job.source or None,
        "live": None
        if live is None
        else {"own": live.own, "changed": sorted(live.keys), "by": live.by, "at": instant(live.at)},
    }


def _show(call: Invocation, catalogue: Catalogue, name: str, *, number: object) -> int:
    """Show how schedules stand and what became of their instants, newest first."""
    entries = catalogue.find(name)
    most = values.number(None if number is None else str(number), default=SHOWN)
    rows = standings(call.session, entries, newest=HISTORY)
    documents = []
    for place, row in enumerate(rows):
        lines = row.newest[:most]
        runs = became(call.session, row, [one.run_id for one in lines if one.run_id])
        hidden = row.dropped + len(row.newest) - len(lines)
        if call.console.json:
            decided = [_decision(one, runs) for one in lines]
            documents.append({**_view(row, catalogue), "decisions": decided, "not_shown": hidden})
            continue
        if place:
            call.console.data("")
        _tell(call, catalogue, row, lines, runs)
        if hidden:
            call.console.note(
                f"{hidden} older decisions are not shown"
                + (f"; {row.dropped} of them are no longer kept" if row.dropped else "")
            )
    if call.console.json:
        call.console.document({"schedules": documents})
    return ExitCode.OK


def _next(call: Invocation, catalogue: Catalogue, name: str, *, number: object) -> int:
    """Show the next instants that are to make runs: what is off, spent or changed live considered."""
    most = values.number(None if number is None else str(number), default=UPCOMING)
    now = call.session.clock.epoch()
    rows = standings(call.session, catalogue.find(name), newest=1)

    def fires_of(row: Standing) -> Iterator[Fire]:
        return (Fire(row.entry, at) for at in row.coming(now))

    streams = map(fires_of, rows)
    merged = heapq.merge(*streams, key=lambda fire: fire.start)
    fires = list(islice(distinct(merged), most))
    if call.console.json:
        call.console.document(
            {
                "next": [fire.start.isoformat(timespec="seconds") for fire in fires],
                "schedules": [fire.schedule for fire in fires],
                "scheduled_at": [fire.instant.isoformat(timespec="seconds") for fire in fires],
            }
        )
        return ExitCode.OK
    cells = [
        (full_time(fire.start), short(fire.start.timestamp() - now), fire.schedule, fire.zone.key)
        for fire in fires
    ]
    for line in columns(("NEXT", "IN", "SCHEDULE", "ZONE"), cells, right=(1,)) if cells else ():
        call.console.data(line)
    if not cells:
        states = ", ".join(f"{row.entry.name} is {row.state}" for row in rows)
        call.console.note(f"no run is to come: {states}")
    return ExitCode.OK


def _decision(one: Decision, runs: Mapping[str, Became]) -> dict[str, object]:
    word, why = outcome(one)
    run = runs.get(one.run_id)
    return {
        "scheduled_at": instant(one.instant),
        "outcome": word,
        "event": one.kind if word == "event" else None,
        "reason": why or (run.why if run is not None else "") or None,
        "lag": None if word == "event" else one.lag,
        "run": one.run_id or None,
        "run_state": None if run is None else run.state,
        "by": one.who or None,
    }


def _tell(
    call: Invocation,
    catalogue: Catalogue,
    row: Standing,
    lines: Sequence[Decision],
    runs: Mapping[str, Became],
) -> None:
    console, entry = call.console, row.entry
    zone = load_zone(entry.timezone)
    facts = {
        "schedule": f"{entry.name} of job {entry.job.name}",
        "rule": f"{entry.definition.rule}  ({entry.rule.explain()})",
        "state": _state(row, zone),
        "next": _upcoming(row, zone),
        "zone": f"{zone.key}, of all times here",
        "decided to": clock_time(row.last, zone=zone),
        "runs": str(row.fired)
        + (f" of {entry.definition.max_runs}" if entry.definition.max_runs else ""),
        "lag": f"{short(row.lag)} on average, {short(row.lag_most)} at most"
        if row.lag is not None
        else "-",
        "jitter": f"+ {short(entry.jitter)} on this host" if entry.jitter else "-",
        "from": _origin(row, catalogue, zone),
    }
    for key, value in facts.items():
        console.data(f"{key + ':':12}{clean(value)}")
    cells = []
    for one in lines:
        word, why = outcome(one)
        run = runs.get(one.run_id, Became("forgotten" if one.run_id else "-", ""))
        cells.append(
            (
                clock_time(one.instant, zone=zone),
                "-" if word == "event" else word.replace("_", " "),
                "-" if word == "event" else short(one.lag),
                one.run_id or "-",
                run.state,
                _why(one, word, why or run.why, zone),
            )
        )

    def paint(column: int, cell: str, text: str) -> str:
        if column < 0:
            return console.style(text, "bold")
        return console.style(text, state_style(cell)) if column == 4 else text  # noqa: PLR2004 - RUN STATE

    if cells:
        console.data("")
    head = ("INSTANT", "OUTCOME", "LAG", "RUN", "NOW", "WHY")
    for line in columns(head, cells, right=(2,), paint=paint) if cells else ():
        console.data(line)
    if not cells:
        console.note("nothing was decided yet")


def _why(one: Decision, word: str, why: str, zone: tzinfo | None) -> str:
    if word != "event":
        return why
    if one.kind == "off" and one.answer:
        why += f" until {clock_time(float(one.answer) / 1000, zone=zone)}"
    return f"{why} by {one.who}" if one.who else why
