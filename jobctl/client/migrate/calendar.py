"""Reads ``OnCalendar=`` expressions, as in systemd.time(7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jobctl.model.schedule import ScheduleError, load_zone

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMED = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "anually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
_DATE = re.compile(r"(?:(?P<year>[\d*./,]+)-)?(?P<month>[\d*./,]+)(?P<mark>[-~])(?P<day>[\d*./,]+)")
_TERM = re.compile(r"(\d+)(?:\.\.(\d+))?(?:/(\d+))?")
_LAST_YEAR = 2199
_CENTURY = 100
_TURN = 70
"""Two-digit years below are of this century, as systemd has it."""


class CalendarError(ValueError):
    """Raised for an expression that systemd refuses, or that means something seconds cannot say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """What an expression means; ``None`` stands for all values."""

    weekdays: frozenset[int] | None
    """Monday is 0."""
    years: frozenset[int] | None
    months: frozenset[int]
    days: frozenset[int] | None
    last_days: frozenset[int] = field(default=frozenset())
    """1 is the last day of the month; ``days`` is empty then."""
    hours: frozenset[int]
    minutes: frozenset[int]
    seconds: frozenset[int]
    zone: str | None = None
    text: str = ""


def parse_calendar(text: str) -> Calendar:
    """Return what an ``OnCalendar=`` expression means; raise :class:`CalendarError`."""
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        return _timestamp(words[0], text)
    zone = _zone(words)
    if words and words[0].lower() in _NAMED and len(words) == 1:
        words = _NAMED[words[0].lower()].split()
    weekdays = _weekdays(words.pop(0)) if words and words[0][0].isalpha() else None
    date = words.pop(0) if words and ("-" in words[0] or "~" in words[0]) else None
    time = words.pop(0) if words and ":" in words[0] else None
    if words:
        raise CalendarError(f"{words[0]!r} is not understood")
    if weekdays is None and date is None and time is None:
        raise CalendarError("it is empty")
    years, months, days, last_days = _date(date or "*-*-*")
    hours, minutes, seconds = _time(time or "00:00:00")
    return Calendar(
        weekdays=weekdays, years=years, months=months, days=days, last_days=last_days, hours=hours,
        minutes=minutes, seconds=seconds, zone=zone, text=text.strip(),
    )  # fmt: skip


def _timestamp(word: str, text: str) -> Calendar:
    if not word[1:].isdigit():
        raise CalendarError(f"{word!r} is no number of seconds since 1970")
    at = datetime.fromtimestamp(int(word[1:]), UTC)
    return Calendar(
        weekdays=None, years=frozenset((at.year,)), months=frozenset((at.month,)), days=frozenset((at.day,)),
        hours=frozenset((at.hour,)), minutes=frozenset((at.minute,)), seconds=frozenset((at.second,)),
        zone="UTC", text=text.strip(),
    )  # fmt: skip


def _zone(words: list[str]) -> str | None:
    """Take the zone off the end, if there is one."""
    if len(words) < 2 and (not words or words[0] != "UTC"):  # noqa: PLR2004 (a zone stands behind something)
        return None
    last = words[-1]
    if not last[:1].isalpha() or last.lower() in (*WEEKDAYS, *_LONG_WEEKDAYS):
        return None
    if re.fullmatch(r"[A-Za-z]{3,9}([,.\-]+[A-Za-z]{3,9})+", last) and "/" not in last:
        return None
    try:
        load_zone(last)
    except ScheduleError as error:
        raise CalendarError(error.message) from error
    return words.pop()


def _weekday(word: str) -> int:
    lower = word.lower()
    for names in (WEEKDAYS, _LONG_WEEKDAYS):
        if lower in names:
            return names.index(lower)
    raise CalendarError(f"{word!r} is no weekday")


def _weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for term in text.rstrip(",").split(","):
        first, dots, last = term.partition("..") if ".." in term else term.partition("-")
        low = _weekday(first)
        high = _weekday(last) if dots else low
        if low > high:
            raise CalendarError(f"the weekdays {term!r} run backwards")
        found.update(range(low, high + 1))
    return frozenset(found)


def _date(
    text: str,
) -> tuple[frozenset[int] | None, frozenset[int], frozenset[int] | None, frozenset[int]]:
    found = _DATE.fullmatch(text)
    if not found:
        raise CalendarError(f"{text!r} is no date")
    years = _values(found["year"] or "*", 1970, _LAST_YEAR, "year")
    months = _values(found["month"], 1, 12, "month") or frozenset(range(1, 13))
    if found["mark"] == "~":
        return years, months, frozenset(), _from_the_end(found["day"])
    return years, months, _values(found["day"], 1, 31, "day"), frozenset()


def _time(text: str) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    parts = text.split(":")
    if len(parts) == 2:  # noqa: PLR2004 (hours and minutes)
        parts.append("00")
    if len(parts) != 3:  # noqa: PLR2004 (and seconds)
        raise CalendarError(f"{text!r} is no time")
    if re.search(r"\d\.\d", parts[2].replace("..", "-")):
        if re.search(r"\.\d*[1-9]", parts[2].replace("..", "-")):
            raise CalendarError("fractions of a second: a schedule fires at whole seconds")
        parts[2] = re.sub(r"(?<!\.)\.0+(?!\d)", "", parts[2])
    hours = _values(parts[0], 0, 23, "hour") or frozenset(range(24))
    minutes = _values(parts[1], 0, 59, "minute") or frozenset(range(60))
    seconds = _values(parts[2], 0, 59, "second") or frozenset(range(60))
    return hours, minutes, seconds


def _values(text: str, low: int, high: int, what: str) -> frozenset[int] | None:
    """Return the values of one component, ``None`` for ``*``."""
    if text == "*":
        return None
    found: set[int] = set()
    for term in text.split(","):
        first, last, step = _term(term, what)
        if what == "year" and first < _CENTURY:
            first += 2000 if first < _TURN else 1900
        stop = last if last is not None else high if step else first
        if not (low <= first <= high and stop <= high) or first > stop:
            raise CalendarError(f"{what} {term!r} is not between {low} and {high}")
        found.update(range(first, stop + 1, step or 1))
    return frozenset(found)


def _term(term: str, what: str) -> tuple[int, int | None, int]:
    found = _TERM.fullmatch(term)
    if not found or found[3] == "0":
        raise CalendarError(f"{what} {term!r} is not understood")
    return int(found[1]), int(found[2]) if found[2] else None, int(found[3] or 0)


def _from_the_end(text: str) -> frozenset[int]:
    """Return days counted back from the end; steps go on towards the end."""
    if text == "*":
        return frozenset(range(1, 32))
    found: set[int] = set()
    for term in text.split(","):
        first, last, step = _term(term, "day")
        high = first if last is None else last
        low = first if last is not None or not step else 1
        if not 1 <= low <= high <= 31:  # noqa: PLR2004 (days of a month)
            raise CalendarError(f"day '~{term}' is not between 1 and 31")
        found.update(range(high, low - 1, -(step or 1)))
    return frozenset(found)
