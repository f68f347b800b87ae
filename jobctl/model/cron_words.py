"""Cron expressions in plain English, from their meaning rather than from their text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.model.cron_fields import FieldValues

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_ALL_DAYS = (1 << 32) - 2
_ALL_MONTHS = (1 << 13) - 2
_ALL_WEEKDAYS = (1 << 7) - 1
_MOST_TIMES = 6
"""More times of day than this are told as minutes and hours."""
_RUN = 3
"""So many neighbours in a row are told as a range."""


def sentence(fields: tuple[FieldValues, ...]) -> str:
    """Return one sentence for second, minute, hour, day of month, month and day of week."""
    second, minute, hour, day, month, weekday = fields
    time = _time(second.values(), minute.values(), hour.values())
    parts = [time, _days(day, weekday, every=time.startswith("at ") and "every" not in time)]
    if month.mask != _ALL_MONTHS:
        parts.append("in " + _series(month.values(), lambda value: _MONTHS[value - 1]))
    text = " ".join(part for part in parts if part)
    return text[0].upper() + text[1:]


def either_day(day: FieldValues, weekday: FieldValues) -> str:
    """Return the warning for two day fields of which either may match."""
    by_date, by_weekday = _dates(day), _weekdays(weekday)
    values = weekday.values()
    example = _WEEKDAYS[values[0] if values else 5]
    return (
        f"day-of-month and day-of-week: runs on {by_date} and also on {by_weekday}, as either may match; "
        f"for the second {example} of the month write '{example[:3].lower()}#2' with * as the day of the month"
    )


def _time(seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(seconds) == 1 and len(minutes) * len(hours) <= _MOST_TIMES:
        tail = f":{seconds[0]:02}" if seconds[0] else ""
        return "at " + _join([f"{h:02}:{m:02}{tail}" for h in hours for m in minutes])
    every_hour = len(hours) == 24  # noqa: PLR2004 (all of them)
    within = "" if every_hour else _hours(hours)
    second = "" if tuple(seconds) == (0,) else _unit(seconds, 60, "second")
    if second and len(minutes) == 60:  # noqa: PLR2004 (all of them)
        return (
            f"{second}{within}"
            if second.startswith("every ")
            else f"{second} of every minute{within}"
        )
    if tuple(minutes) == (0,):
        minute = "every hour" if every_hour else "on the hour"
    else:
        minute = _unit(minutes, 60, "minute")
        if every_hour and not minute.startswith("every "):
            minute += " of every hour"
    return f"{second} of {minute}{within}" if second else f"{minute}{within}"


def _unit(values: Sequence[int], size: int, name: str) -> str:
    """Return ``every 15 minutes``, ``at minute 5``, ``at minutes 5 and 35``."""
    if len(values) == size:
        return f"every {name}"
    step = values[1] - values[0] if len(values) > 1 else 0
    if step and size % step == 0 and list(values) == list(range(0, size, step)):
        return f"every {step} {name}s"
    return f"at {name}{'s' * (len(values) > 1)} {_series(values, str)}"


def _hours(hours: Sequence[int]) -> str:
    if len(hours) >= _RUN and hours[-1] - hours[0] == len(hours) - 1:
        return f" from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return f" in the hour{'s' * (len(hours) > 1)} " + _series(hours, lambda value: f"{value:02}:00")


def _days(day: FieldValues, weekday: FieldValues, *, every: bool) -> str:
    any_date = day.mask == _ALL_DAYS
    any_weekday = weekday.mask == _ALL_WEEKDAYS
    both = day.star or weekday.star
    if (any_date and any_weekday) or (not both and (any_date or any_weekday)):
        return "every day" if every else ""
    if any_date:
        return f"on {_weekdays(weekday)}"
    if any_weekday:
        return f"on {_dates(day)}"
    if both:
        return f"on {_dates(day)} if that is {_weekdays(weekday).replace('every ', 'a ')}"
    return f"on {_dates(day)} and on {_weekdays(weekday)}"


def _dates(field: FieldValues) -> str:
    named = [f"the workday nearest the {_ordinal(day)}" for day in field.nearest]
    named += ["the last workday"] * field.last_workday + ["the last day"] * field.last
    values = field.values()
    if values:
        named.insert(0, "the " + _series(values, _ordinal))
    return _join(named) + " of the month"


def _weekdays(field: FieldValues) -> str:
    named: list[str] = []
    values = field.values()
    if values:
        # A week is told from Monday, so that Friday to Sunday is one stretch.
        ordered = sorted((value or 7) for value in values)
        stretch = len(ordered) >= _RUN and ordered[-1] - ordered[0] == len(ordered) - 1
        each = "every day from " if stretch else "every "
        named.append(each + _series(ordered, lambda value: _WEEKDAYS[value % 7]))
    named += [f"the {_ORDINALS[nth - 1]} {_WEEKDAYS[d]} of the month" for d, nth in field.nth]
    named += [f"the last {_WEEKDAYS[d]} of the month" for d in field.last_weekdays]
    return _join(named)


def _series(values: Sequence[int], word: Callable[[int], str]) -> str:
    """Return values as words, three and more neighbours as a range."""
    parts: list[str] = []
    start = 0
    for end in range(1, len(values) + 1):
        if end < len(values) and values[end] == values[end - 1] + 1:
            continue
        run = values[start:end]
        if len(run) >= _RUN:
            parts.append(f"{word(run[0])} to {word(run[-1])}")
        else:
            parts.extend(word(value) for value in run)
        start = end
    return _join(parts)


def _join(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


def _ordinal(day: int) -> str:
    ending = "th" if day // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
