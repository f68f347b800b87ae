"""How many runs start in each minute of a window, and which schedules make the crowds. Pure.

Schedules that mean the same are evaluated once, and dense ones are counted rather than listed,
so that ten thousand schedules take a second or so.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from jobctl.model.schedule import BootRule, EveryRule, smallest_gap
from jobctl.model.zones import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.schedule import Rule

MINUTE = timedelta(minutes=1)
_LISTED = 3000
"""Instants of one rule in the window that are still visited one by one."""
_CROWD = 5
"""Starts within one minute, of schedules without jitter, that are worth a suggestion."""
_SPREADS = (60, 120, 300, 600, 900, 1800, 3600)
"""Seconds; jitters that are suggested."""


class Crowd(NamedTuple):
    """The starts within one minute; ``schedules`` has how many each schedule makes."""

    at: datetime
    starts: int
    schedules: tuple[tuple[str, int], ...]
    without_jitter: tuple[str, ...]
    """Schedules among them that could have one."""
    jitter: float | None
    """Seconds of jitter that would spread those well, None where nothing has to be done."""


class Density(NamedTuple):
    """The starts of each minute from ``start`` on, by this host's jitter."""

    start: datetime
    minutes: list[int]
    uncounted: tuple[str, ...]
    """Schedules whose instants cannot be told: ``@reboot`` and ``@start``."""

    @property
    def total(self) -> int:
        """All starts of the window."""
        return sum(self.minutes)

    def at(self, minute: int) -> datetime:
        """Return when a minute begins."""
        return self.start + minute * MINUTE


def density(entries: Sequence[ScheduleEntry], *, start: datetime, minutes: int) -> Density:
    """Count the starts in each of so many minutes; ``@every`` counts from ``start``."""
    counts = [0] * minutes
    groups: Counter[tuple[object, ...]] = Counter()
    examples: dict[tuple[object, ...], ScheduleEntry] = {}
    uncounted: list[str] = []
    for entry in entries:
        if isinstance(entry.rule, BootRule):
            uncounted.append(entry.name)
            continue
        key: tuple[object, ...] = (
            entry.rule.text, entry.timezone, entry.jitter, entry.not_before, entry.not_after,
            entry.definition.max_runs, _drawn(entry),
        )  # fmt: skip
        groups[key] += 1
        examples.setdefault(key, entry)
    for key, number in groups.items():
        for minute, starts in _starts(examples[key], start, minutes):
            counts[minute] += number * starts
    return Density(start, counts, tuple(uncounted))


def _drawn(entry: ScheduleEntry) -> str:
    """Return what tells apart schedules whose text draws its times from their name."""
    return entry.name if set("~Hh") & set(entry.rule.text) else ""


def _starts(entry: ScheduleEntry, start: datetime, minutes: int) -> Iterable[tuple[int, int]]:
    """Yield (minute, starts) of one schedule."""
    shift = timedelta(seconds=entry.jitter)
    first, end = start - shift, start + minutes * MINUTE - shift
    # An instant at the very start counts, one at the end does not.
    after, until = first - timedelta(milliseconds=1), end - timedelta(milliseconds=1)
    number = entry.rule.count(after, until, anchor=start)
    if number > _LISTED and entry.definition.max_runs is None:
        return _counted(entry, start, minutes)
    return _listed(entry, after, until, start)


def _listed(
    entry: ScheduleEntry, after: datetime, until: datetime, start: datetime
) -> Iterable[tuple[int, int]]:
    left = entry.definition.max_runs
    shift = timedelta(seconds=entry.jitter)
    at = entry.next_after(after, anchor=start)
    while at is not None and at <= until and left != 0:
        yield int((at + shift - start) // MINUTE), 1
        left = None if left is None else left - 1
        at = entry.next_after(at, anchor=start)


def _counted(entry: ScheduleEntry, start: datetime, minutes: int) -> Iterable[tuple[int, int]]:
    for minute in range(minutes):
        number = _within(entry, start + minute * MINUTE, start)
        if number:
            yield minute, number


def _within(entry: ScheduleEntry, begin: datetime, anchor: datetime) -> int:
    """Return how many runs of a schedule start in the minute that begins then."""
    shift = timedelta(seconds=entry.jitter)
    tick = timedelta(milliseconds=1)
    after, until = begin - shift - tick, begin + MINUTE - shift - tick
    if entry.not_before is not None:
        after = max(after, _moment(entry.not_before) - tick)
    if entry.not_after is not None:
        until = min(until, _moment(entry.not_after))
    return entry.rule.count(after, until, anchor=anchor) if after < until else 0


def _moment(epoch: float) -> datetime:
    return EPOCH + timedelta(seconds=epoch)


def crowds(
    found: Density, entries: Sequence[ScheduleEntry], *, most: int, start: datetime
) -> list[Crowd]:
    """Return the ``most`` busiest minutes, one of each make-up, the busiest first."""
    order = sorted(
        (minute for minute, starts in enumerate(found.minutes) if starts),
        key=lambda minute: (-found.minutes[minute], minute),
    )
    out: list[Crowd] = []
    seen: set[tuple[str, ...]] = set()
    for minute in order[: most * 4]:
        crowd = _crowd(found, entries, minute, start)
        names = tuple(name for name, _ in crowd.schedules)
        if names not in seen:
            seen.add(names)
            out.append(crowd)
        if len(out) == most:
            break
    return out


def _crowd(found: Density, entries: Sequence[ScheduleEntry], minute: int, start: datetime) -> Crowd:
    begin = found.at(minute)
    inside: list[tuple[ScheduleEntry, int]] = []
    for entry in entries:
        if isinstance(entry.rule, BootRule):
            continue
        number = _within(entry, begin, start)
        if number:
            inside.append((entry, number))
    inside.sort(key=lambda item: (-item[1], item[0].name))
    plain = [entry for entry, _ in inside if not entry.jitter and _spreadable(entry.rule)]
    return Crowd(
        begin,
        found.minutes[minute],
        tuple((entry.name, number) for entry, number in inside),
        tuple(entry.name for entry in plain),
        _jitter(plain),
    )


def _spreadable(rule: Rule) -> bool:
    """Tell whether jitter can spread a rule: ``@every`` counts from its own start anyway."""
    gap = smallest_gap(rule)
    return not isinstance(rule, EveryRule) and (gap is None or gap > _SPREADS[0])


def _jitter(entries: Sequence[ScheduleEntry]) -> float | None:
    """Return the shortest jitter that leaves one start a minute, within what every gap allows."""
    if len(entries) < _CROWD:
        return None
    gaps = [gap for entry in entries if (gap := smallest_gap(entry.rule)) is not None]
    allowed = [spread for spread in _SPREADS if all(spread <= gap / 2 for gap in gaps)]
    enough = [spread for spread in allowed if spread >= len(entries) * 60]
    return float((enough or allowed[-1:] or [0])[0]) or None
