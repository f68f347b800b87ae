"""What a schedule means, in words: for ``jobctl next``, beside the instants themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from jobctl.model.clock_changes import clock_notes
from jobctl.model.schedule import BootRule, CronRule, EveryRule, load_zone
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from jobctl.model.clock_changes import ClockNote
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.schedule import Rule


class Legend:
    """One schedule in words.

    ``name`` is the schedule's, or empty for an expression of no job; ``explain`` is one sentence
    with the zone; ``remarks`` say what else decides when it runs; ``warnings`` what may not be
    meant; ``clock`` what changes of the clock do to it in the window that was asked for.
    """

    __slots__ = ("clock", "explain", "name", "remarks", "rule", "warnings", "zone")

    def __init__(
        self,
        rule: Rule,
        zone: ZoneInfo,
        *,
        name: str = "",
        remarks: tuple[str, ...] = (),
        clock: tuple[ClockNote, ...] = (),
    ) -> None:
        self.name = name
        self.rule = rule
        self.zone = zone
        self.explain = rule.explain()
        self.remarks = remarks
        self.warnings = rule.warnings
        self.clock = clock


def legend_of_rule(rule: Rule, zone: ZoneInfo, *, after: datetime, until: datetime) -> Legend:
    """Return the words for an expression, looking for clock changes in (after, until]."""
    remarks: tuple[str, ...] = ()
    if isinstance(rule, BootRule):
        remarks = (_NO_INSTANT,)
    elif isinstance(rule, CronRule) and set("~Hh") & set(_without_names(rule.text)):
        remarks = (_DRAWN,)
    return Legend(rule, zone, remarks=remarks, clock=_clock(rule, after, until))


def legend_of_entry(
    entry: ScheduleEntry, *, after: datetime, until: datetime, now: datetime
) -> Legend:
    """Return the words for a schedule of a job."""
    clock = clock_changes_for(entry, after=after, until=until)
    remarks = tuple(_remarks(entry, now))
    return Legend(
        entry.rule, load_zone(entry.timezone), name=entry.name, remarks=remarks, clock=clock
    )


def clock_changes_for(
    entry: ScheduleEntry, *, after: datetime, until: datetime
) -> tuple[ClockNote, ...]:
    """Return what changes of the clock in (after, until] do to a schedule within its own window."""
    if not entry.active:
        return ()
    if entry.not_before is not None:
        after = max(after, datetime.fromtimestamp(entry.not_before - 1, UTC))
    if entry.not_after is not None:
        until = min(until, datetime.fromtimestamp(entry.not_after, UTC))
    return _clock(entry.rule, after, until)


def _without_names(text: str) -> str:
    """Return an expression without ``THU`` and the like, which hold no ``H`` of their own."""
    return re.sub("[A-Za-z]{3}", "", text)


_DRAWN = "~ and H are drawn here without a job; every schedule of a job draws its own"
_NO_INSTANT = "no instant can be told in advance"


def _clock(rule: Rule, after: datetime, until: datetime) -> tuple[ClockNote, ...]:
    return tuple(clock_notes(rule, after, until)) if isinstance(rule, CronRule) else ()


def _remarks(entry: ScheduleEntry, now: datetime) -> Iterator[str]:
    job, definition = entry.job, entry.definition
    if not entry.active:
        whose = "the schedule" if job.enabled else f"job {job.name}"
        yield f"it does not run: {whose} is off (enabled = false)"
    if isinstance(entry.rule, BootRule):
        yield _NO_INSTANT
    elif entry.jitter:
        spread = job.jitter if definition.jitter is None else definition.jitter
        yield (
            f"starts {format_duration(entry.jitter)} later on this host, "
            f"its own part of a jitter of {format_duration(spread)}"
        )
    if isinstance(entry.rule, EveryRule):
        yield "counted from the start of this list; the daemon counts from its last instant"
    if definition.not_before is not None and now.timestamp() < (entry.not_before or 0):
        yield f"begins with not_before, {definition.not_before}"
    if entry.not_after is not None:
        tense = "ended" if entry.not_after < now.timestamp() else "ends"
        yield f"{tense} with not_after, {definition.not_after}"
    if definition.max_runs is not None:
        runs = "run" if definition.max_runs == 1 else "runs"
        yield f"stops after {definition.max_runs} {runs} in all (max_runs); those made are not counted here"
