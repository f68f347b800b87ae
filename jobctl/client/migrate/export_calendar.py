"""Cron expressions as ``OnCalendar=`` with the same instants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.migrate.cron_laws import compact

if TYPE_CHECKING:
    from jobctl.model.cron import CronExpression
    from jobctl.model.cron_fields import FieldValues

_NAMES = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_DAYS = 31
_WEEKDAYS = 7
_FIFTH = 5


class NotForCalendarError(ValueError):
    """Raised for an expression that systemd has no words for; the message says why."""


def on_calendar(expression: CronExpression, zone: str | None) -> list[str]:
    """Return ``OnCalendar=`` values that together name the instants of an expression.

    ``zone`` is written behind them; ``None`` leaves it to the host.
    """
    second, minute, hour, day, month, weekday = expression.fields
    time = f"{_listed(hour, 0, 23)}:{_listed(minute, 0, 59)}:{_listed(second, 0, 59)}"
    months = _listed(month, 1, 12)
    behind = f" {zone}" if zone else ""
    return [
        f"{f'{names} ' if names else ''}*-{months}{days} {time}{behind}"
        for names, days in _days(day, weekday)
    ]


def _listed(field: FieldValues, low: int, high: int) -> str:
    values = field.values()
    return "*" if len(values) == high - low + 1 else _dots(compact(list(values)))


def _dots(text: str) -> str:
    """Return a list with systemd's ranges."""
    return text.replace("-", "..")


def _days(day: FieldValues, weekday: FieldValues) -> list[tuple[str, str]]:
    """Return (weekdays, days with their mark) of each line that is needed."""
    dates, weekdays = _dates(day), _weekdays(weekday)
    any_day, any_weekday = ("-*", frozenset[int]()) in dates, ("", "-*") in weekdays
    if any_weekday and (day.star or weekday.star):
        return [("", text) for text, _ in dates]
    if any_day and (day.star or weekday.star):
        return weekdays
    if day.star or weekday.star:
        return [_both(date, one) for date in dates for one in weekdays]
    return [*(("", text) for text, _ in dates), *weekdays]


def _dates(day: FieldValues) -> list[tuple[str, frozenset[int]]]:
    """Return each way of the day-of-month field to match, and its plain days."""
    if day.last_workday or day.nearest:
        raise NotForCalendarError("systemd has no LW and nW")
    out: list[tuple[str, frozenset[int]]] = []
    if len(day.values()) == _DAYS:
        return [("-*", frozenset())]
    if day.mask:
        out.append((f"-{_dots(compact(list(day.values())))}", frozenset(day.values())))
    if day.last:
        out.append(("~01", frozenset()))
    return out


def _weekdays(weekday: FieldValues) -> list[tuple[str, str]]:
    """Return each way of the day-of-week field to match: weekdays, and days with their mark."""
    if len(weekday.values()) == _WEEKDAYS:
        return [("", "-*")]
    out = []
    if weekday.mask:
        out.append((",".join(_NAMES[value] for value in weekday.values()), "-*"))
    out += [
        (_NAMES[name], f"-{7 * nth - 6:02}..{min(7 * nth, 31):02}") for name, nth in weekday.nth
    ]
    out += [(_NAMES[name], "~07/1") for name in weekday.last_weekdays]
    return out


def _both(date: tuple[str, frozenset[int]], weekday: tuple[str, str]) -> tuple[str, str]:
    """Return one line for days on which a date and a weekday both match."""
    text, days = date
    names, within = weekday
    if within == "-*":
        return names, text
    if not days or within.startswith("~"):
        raise NotForCalendarError("systemd cannot ask for both of these days")
    first, last = within.removeprefix("-").split("..")
    common = sorted(days & set(range(int(first), int(last) + 1)))
    if not common:
        raise NotForCalendarError("a part of it never matches")
    return names, f"-{_dots(compact(common))}"
