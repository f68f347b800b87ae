"""From ``OnCalendar=`` to schedules that fire at the same instants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobctl.client.migrate.calendar import CalendarError
from jobctl.client.migrate.cron_laws import compact
from jobctl.model.cron import CronError, CronExpression

if TYPE_CHECKING:
    from jobctl.client.migrate.calendar import Calendar

_MONTHS = frozenset(range(1, 13))
_LONG = frozenset((1, 3, 5, 7, 8, 10, 12))
_SHORT = frozenset((4, 6, 9, 11))
_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ALL_WEEKDAYS = 7
_WEEKS = tuple(frozenset(range(first, min(first + 7, 32))) for first in (1, 8, 15, 22, 29))
_AND = "*/100,"
"""Before a list that has the field's first value: both day fields must match then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """One schedule, and the years it is bound to."""

    schedule: str
    not_before: str | None = None
    not_after: str | None = None


def schedules(calendar: Calendar, *, host_zone: str) -> list[Fire]:
    """Return schedules that together fire when the expression does.

    ``host_zone`` is the zone of an expression that names none.

    Raises:
        CalendarError: no schedules say the same; the message has the reason.

    """
    zone = ZoneInfo(calendar.zone or host_zone)
    single = _single(calendar, zone)
    if single is not None:
        return [Fire(schedule=f"@at {single.isoformat()}")]
    texts = [_checked(text) for text in _expressions(calendar)]
    if calendar.years is None:
        return [Fire(schedule=text) for text in texts]
    out = []
    for first, last in _runs(sorted(calendar.years)):
        begin = datetime(first, 1, 1, tzinfo=zone).isoformat()
        end = datetime(last, 12, 31, 23, 59, 59, tzinfo=zone).isoformat()
        out += [Fire(schedule=text, not_before=begin, not_after=end) for text in texts]
    return out


def _checked(text: str) -> str:
    try:
        CronExpression.parse(text)
    except CronError as error:
        raise CalendarError(str(error)) from error
    return text


def _single(calendar: Calendar, zone: ZoneInfo) -> datetime | None:
    """Return the one instant of a full date and time."""
    parts = (
        calendar.years, calendar.months, calendar.days, calendar.hours, calendar.minutes, calendar.seconds,
    )  # fmt: skip
    if calendar.weekdays is not None or any(part is None or len(part) != 1 for part in parts):
        return None
    try:
        return datetime(*(next(iter(part)) for part in parts if part), tzinfo=zone)  # type: ignore[arg-type,misc]
    except ValueError as error:
        raise CalendarError(f"there is no such day: {error}") from error


def _runs(values: list[int]) -> list[tuple[int, int]]:
    """Return ascending values as ranges."""
    starts = [values[0], *(b for a, b in pairwise(values) if b != a + 1)]
    ends = [*(a for a, b in pairwise(values) if b != a + 1), values[-1]]
    return list(zip(starts, ends, strict=True))


def _expressions(calendar: Calendar) -> list[str]:
    seconds = "" if calendar.seconds == {0} else f"{_cyclic(calendar.seconds, 60)} "
    time = f"{seconds}{_cyclic(calendar.minutes, 60)} {_cyclic(calendar.hours, 24)}"
    return [f"{time} {day} {month} {weekday}" for day, month, weekday in _days(calendar)]


def _days(calendar: Calendar) -> list[tuple[str, str, str]]:
    """Return day of month, month and day of week of each expression that is needed."""
    months = _listed_months(calendar.months)
    weekdays = None if calendar.weekdays is None else _sunday_first(calendar.weekdays)
    if weekdays is not None and len(weekdays) == _ALL_WEEKDAYS:
        weekdays = None
    if calendar.last_days:
        if weekdays is not None:
            return [("*", months, _last_weekdays(calendar, weekdays))]
        return _last_days(calendar)
    days = None if calendar.days is None or len(calendar.days) == 31 else calendar.days  # noqa: PLR2004
    if weekdays is None:
        return [("*" if days is None else compact(sorted(days)), months, "*")]
    if days is None:
        return [("*", months, compact(weekdays))]
    return [_both(days, months, weekdays)]


def _both(days: frozenset[int], months: str, weekdays: list[int]) -> tuple[str, str, str]:
    """Return fields that match only where the day and the weekday both do."""
    weeks = [number for number, week in enumerate(_WEEKS, start=1) if week <= days]
    if frozenset().union(*(_WEEKS[number - 1] for number in weeks)) == days:
        nth = ",".join(f"{_NAMES[day]}#{number}" for day in weekdays for number in weeks)
        return "*", months, nth
    if 1 in days:
        return _AND + compact(sorted(days)), months, compact(weekdays)
    if 0 in weekdays:
        return compact(sorted(days)), months, _AND + compact(weekdays)
    raise CalendarError(
        "a cron expression cannot ask for both these days of the month and this weekday"
    )


def _last_weekdays(calendar: Calendar, weekdays: list[int]) -> str:
    if calendar.last_days != frozenset(range(1, 8)):
        raise CalendarError("only the last seven days of a month can be joined with a weekday")
    return ",".join(f"{_NAMES[day]}L" for day in weekdays)


def _last_days(calendar: Calendar) -> list[tuple[str, str, str]]:
    if calendar.last_days == {1}:
        return [("L", _listed_months(calendar.months), "*")]
    out = []
    for length, members in ((31, _LONG), (30, _SHORT)):
        months = calendar.months & members
        days = sorted(length + 1 - back for back in calendar.last_days if back <= length)
        if months and days:
            out.append((compact(days), compact(sorted(months)), "*"))
    if 2 in calendar.months:  # noqa: PLR2004 (February)
        raise CalendarError("days counted from the end of February differ from year to year")
    return out


def _sunday_first(weekdays: frozenset[int]) -> list[int]:
    return sorted((day + 1) % 7 for day in weekdays)


def _listed_months(months: frozenset[int]) -> str:
    return "*" if months == _MONTHS else compact(sorted(months))


def _cyclic(values: frozenset[int], size: int) -> str:
    """Return a field for values of 0…size-1: ``*``, ``*/n`` or a list."""
    listed = sorted(values)
    if len(listed) == size:
        return "*"
    steps = {b - a for a, b in pairwise(listed)}
    if len(listed) > 2 and listed[0] == 0 and len(steps) == 1:  # noqa: PLR2004 (0,30 reads better)
        step = steps.pop()
        if listed[-1] + step >= size:
            return f"*/{step}"
    return compact(listed)
