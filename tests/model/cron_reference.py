"""A cron evaluator too simple to be wrong: it looks at every minute (or second) there is.

It shares nothing with the product: its own parser (of valid text only), days found with
``datetime``, clock changes seen as jumps between neighbouring wall times.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
CORRECTION = timedelta(hours=3)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


class Reference:
    """The meaning of one expression."""

    def __init__(self, text: str) -> None:
        words = text.lower().split()
        self.unit = SECOND if len(words) == 6 else MINUTE
        words = words if len(words) == 6 else ["0", *words]
        second, minute, hour, self.dom, month, self.dow = words
        self.seconds = plain(second, 0, 59)
        self.minutes = plain(minute, 0, 59)
        self.hours = plain(hour, 0, 23)
        self.months = plain(month, 1, 12, MONTHS)
        self.fixed = minute[0] not in "*?" and hour[0] not in "*?"
        self.day = cache(self._day)

    def _day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date = any(date_term(term, day) for term in self.dom.split(","))
        by_weekday = any(weekday_term(term, day) for term in self.dow.split(","))
        if self.dom[0] in "*?" or self.dow[0] in "*?":
            return by_date and by_weekday
        return by_date or by_weekday

    def matches(self, wall: datetime) -> bool:
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.second in self.seconds
            and self.day(wall.date())
        )

    def fires(self, walls: list[datetime]) -> list[int]:
        """Return the positions that fire; the walk starts afresh at 0, which never does."""
        found = []
        floor = datetime.min  # noqa: DTZ901 (a wall time)
        matches, fixed, unit = self.matches, self.fixed, self.unit
        previous = walls[0]
        for position, wall in enumerate(walls):
            if wall - previous == unit or not fixed:
                fire = wall >= floor and matches(wall)
            else:
                fire, floor = self._jump(previous, wall, floor)
            if fire and position:
                found.append(position)
            previous = wall
        return found

    def _jump(self, previous: datetime, wall: datetime, floor: datetime) -> tuple[bool, datetime]:
        fire = self.matches(wall)
        jump = wall - previous - self.unit
        if timedelta(0) < jump <= CORRECTION:
            skipped = previous + self.unit
            while skipped < wall and not fire:
                fire = self.matches(skipped)
                skipped += self.unit
        elif -CORRECTION <= jump < timedelta(0):
            return False, previous + self.unit
        return fire, floor


def walls_of(zone: ZoneInfo, start: datetime, end: datetime, unit: timedelta) -> list[datetime]:
    """Return the wall time of every minute or second from ``start`` to ``end``, both in UTC."""
    walls = []
    while start < end:
        walls.append(start.astimezone(zone).replace(tzinfo=None))
        start += unit
    return walls


def next_instants(text: str, zone: ZoneInfo, start: datetime, count: int) -> list[datetime]:
    """Return the first instants after ``start``; slow: dense expressions or short waits only."""
    reference = Reference(text)
    unit = reference.unit
    begin = start.astimezone(UTC).replace(second=0, microsecond=0) - timedelta(hours=6)
    found: list[datetime] = []
    span = timedelta(days=3) if unit == MINUTE else timedelta(hours=12)
    while len(found) < count:
        walls = walls_of(zone, begin, begin + span, unit)
        instants = [begin + position * unit for position in reference.fires(walls)]
        found += [instant for instant in instants if instant > max([start, *found[-1:]])]
        begin += span - timedelta(hours=6)
    return found[:count]


def plain(text: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    values: set[int] = set()
    for term in text.split(","):
        body, slash, step = term.partition("/")
        if body in "*?":
            first, last = low, high
        elif "-" in body:
            first, last = (number(word, low, names) for word in body.split("-"))
        else:
            first = number(body, low, names)
            last = high if slash else first
        values |= set(range(first, last + 1, int(step or 1)))
    return values


def number(word: str, low: int, names: list[str] | None) -> int:
    return names.index(word) + low if names and word in names else int(word)


def date_term(term: str, day: date) -> bool:
    if term == "l":
        return (day + DAY).day == 1
    if term.endswith("w"):
        month = [day.replace(day=1) + n * DAY for n in range(31)]
        month = [other for other in month if other.month == day.month]
        wanted = len(month) if term == "lw" else int(term[:-1])
        workdays = [other for other in month if other.isoweekday() < 6]
        return wanted <= len(month) and day == min(workdays, key=lambda d: abs(d.day - wanted))
    return day.day in plain(term, 1, 31)


def weekday_term(term: str, day: date) -> bool:
    today = day.isoweekday() % 7
    if term.endswith("l"):
        return number(term[:-1], 0, WEEKDAYS) % 7 == today and (day + 7 * DAY).month != day.month
    if "#" in term:
        weekday, nth = term.split("#")
        return number(weekday, 0, WEEKDAYS) % 7 == today and (day.day + 6) // 7 == int(nth)
    body, _, step = term.partition("/")
    if body.endswith("-sun") and not body.startswith("sun"):
        body = body[:-3] + "7"
    text = f"{body}/{step}" if step else body
    return today in {value % 7 for value in plain(text, 0, 6 if body in "*?" else 7, WEEKDAYS)}
