"""The days a cron expression matches in a month.

A month is known by its length and the weekday of its 1st: 28 shapes cover every month there is,
so the days of all of them are worked out once, when the expression is read.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.model.cron_fields import FieldValues

MONTH_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def month_length(year: int, month: int) -> int:
    """Return the number of days of a Gregorian month."""
    if month == 2 and year % 4 == 0 and (year % 100 or year % 400 == 0):  # noqa: PLR2004
        return 29
    return MONTH_DAYS[month]


def least_days_apart(days: Callable[[int, int, int], int], *, years: int) -> int:
    """Return the least distance between two matching days, looking at ``years`` years.

    ``days`` returns the matching days of a month as bits, from its year, number and first day
    since 1970.
    """
    first = 0
    previous = -(10**6)
    least = 10**6
    for number in range(years * 12):
        year, month = 1970 + number // 12, number % 12 + 1
        bits = days(year, month, first)
        while bits:
            day = first + (bits & -bits).bit_length()
            bits &= bits - 1
            least = min(least, day - previous)
            previous = day
        if least == 1:
            break
        first += month_length(year, month)
    return least


_shapes: dict[tuple[object, ...], tuple[int, ...]] = {}
_SHAPES_MOST = 1024
"""Pairs of day fields whose shapes are kept, and shared by all expressions with the same two."""


def month_shapes(day: FieldValues, weekday: FieldValues) -> tuple[int, ...]:
    """Return the matching days for each length (28 to 31) and weekday of the 1st (0 to 6)."""
    # All that the answer depends on; to hash the fields themselves costs three times as much.
    key = (
        day.mask, day.star, day.last, day.last_workday, day.nearest,
        weekday.mask, weekday.star, weekday.nth, weekday.last_weekdays,
    )  # fmt: skip
    known = _shapes.get(key)
    if known is None:
        if len(_shapes) >= _SHAPES_MOST:
            _shapes.clear()
        known = _shapes[key] = _work_out(day, weekday)
    return known


def _work_out(day: FieldValues, weekday: FieldValues) -> tuple[int, ...]:
    both = day.star or weekday.star
    shapes: list[int] = []
    for length in range(28, 32):
        for first in range(7):
            by_day = _days_by_date(day, length, first)
            by_weekday = _days_by_weekday(weekday, length, first)
            days = by_day & by_weekday if both else by_day | by_weekday
            shapes.append(days & ((1 << (length + 1)) - 2))
    return tuple(shapes)


def _days_by_date(field: FieldValues, length: int, first: int) -> int:
    days = field.mask
    if field.last:
        days |= 1 << length
    if field.last_workday:
        days |= 1 << _workday_near(length, length, first)
    for day in field.nearest:
        if day <= length:
            days |= 1 << _workday_near(day, length, first)
    return days


def _workday_near(day: int, length: int, first: int) -> int:
    """Return the Monday-to-Friday day closest to ``day`` within its month."""
    weekday = (first + day - 1) % 7
    if weekday == 6:  # noqa: PLR2004 (Saturday)
        return day - 1 if day > 1 else day + 2
    if weekday == 0:
        return day + 1 if day < length else day - 2
    return day


def _days_by_weekday(field: FieldValues, length: int, first: int) -> int:
    days = 0
    for weekday in field.values():
        for day in range(1 + (weekday - first) % 7, length + 1, 7):
            days |= 1 << day
    for weekday, nth in field.nth:
        days |= 1 << (1 + (weekday - first) % 7 + 7 * (nth - 1))
    for weekday in field.last_weekdays:
        days |= 1 << (length - (first + length - 1 - weekday) % 7)
    return days
