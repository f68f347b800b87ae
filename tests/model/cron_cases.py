"""Random cron expressions, zones and starts, and the comparison of one with the reference.

Half of the cases lie around the changes of the clock listed here, the others anywhere: in any
zone there is, in any year from 1900 to 2037. Expressions are drawn around what happens there, so that
many of them match.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from jobctl.model.cron import CronError, CronExpression
from tests.model.cron_reference import DAY, MINUTE, SECOND, Reference, walls_of

MARGIN = timedelta(hours=6)
NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
CHANGES = [
    # (zone, a UTC instant within a day of a clock change)
    ("America/New_York", "2012-03-11T07:00"),
    ("America/New_York", "2012-11-04T06:00"),
    ("America/New_York", "2021-03-14T07:00"),
    ("America/New_York", "2021-11-07T06:00"),
    ("Europe/Berlin", "2021-03-28T01:00"),
    ("Europe/Berlin", "2021-10-31T01:00"),
    ("Europe/London", "2019-03-31T01:00"),
    ("Europe/London", "2019-10-27T01:00"),
    ("Europe/Dublin", "2018-03-25T01:00"),
    ("Europe/Dublin", "2018-10-28T01:00"),
    ("Europe/Moscow", "2010-10-30T23:00"),
    ("Europe/Moscow", "2014-10-25T22:00"),
    ("Europe/Riga", "2021-03-28T01:00"),
    ("Australia/Lord_Howe", "2021-04-03T15:00"),
    ("Australia/Lord_Howe", "2021-10-02T15:30"),
    ("Antarctica/Troll", "2021-03-28T01:00"),
    ("Antarctica/Troll", "2021-10-31T01:00"),
    ("Africa/Cairo", "2014-05-15T22:00"),
    ("Africa/Cairo", "2023-04-27T22:00"),
    ("Africa/Cairo", "2023-10-26T21:00"),
    ("Africa/Casablanca", "2021-04-11T02:00"),
    ("Africa/Casablanca", "2021-05-16T02:00"),
    ("Asia/Beirut", "2021-03-27T22:00"),
    ("Asia/Beirut", "2021-10-30T21:00"),
    ("Asia/Tehran", "2021-03-21T20:30"),
    ("Asia/Pyongyang", "2015-08-14T15:00"),
    ("Asia/Pyongyang", "2018-05-04T15:00"),
    ("Asia/Kathmandu", "1985-12-31T18:30"),
    ("America/Santiago", "2021-09-05T04:00"),
    ("America/Santiago", "2021-04-04T03:00"),
    ("America/Sao_Paulo", "2018-11-04T03:00"),
    ("America/Sao_Paulo", "2018-02-18T02:00"),
    ("America/Havana", "2021-03-14T05:00"),
    ("America/Caracas", "2007-12-09T07:00"),
    ("America/St_Johns", "2008-03-09T03:31"),
    ("Pacific/Chatham", "2021-04-03T14:00"),
    ("Pacific/Chatham", "2021-09-25T14:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Pacific/Kwajalein", "1993-08-21T12:00"),
    ("Asia/Kolkata", "2021-06-01T00:00"),
    ("UTC", "2020-02-29T00:00"),
]


@cache
def window(index: int, unit: timedelta) -> tuple[ZoneInfo, datetime, list[datetime]]:
    """Return zone, start and every wall time around one clock change."""
    name, change = CHANGES[index]
    zone = ZoneInfo(name)
    middle = datetime.fromisoformat(change).replace(tzinfo=UTC)
    before, after = (2 * DAY, 2 * DAY) if unit == MINUTE else (MARGIN + 2 * MINUTE, 70 * MINUTE)
    start = middle - before
    return zone, start, walls_of(zone, start, middle + after, unit)


def random_field(rng: random.Random, low: int, high: int, near: list[int]) -> str:
    """Return a list of terms around the values at which the clock change happens."""

    def value() -> int:
        return rng.choice(near) if rng.random() < 0.6 else rng.randint(low, high)

    def term() -> str:
        kind = rng.randrange(6)
        if kind == 0:
            return f"*/{rng.randint(1, high + 2)}"
        if kind == 1:
            first, last = sorted((value(), value()))
            return f"{first}-{last}" + rng.choice(["", f"/{rng.randint(1, high)}"])
        if kind == 2 and rng.random() < 0.3:
            return f"{value()}/{rng.randint(1, high)}"
        if kind == 3 and rng.random() < 0.2:
            return rng.choice(["*", "?", f"?/{rng.randint(1, high)}", f"{value():03}"])
        return str(value())

    if rng.random() < 0.3:
        return "*"
    return ",".join(term() for _ in range(rng.choice([1, 1, 1, 2, 3])))


def random_days(rng: random.Random, wall: datetime) -> str:
    """Return day of month, month and day of week, so that the days at hand often match."""
    date = str(wall.day)
    weekday = str(wall.isoweekday())
    nth = (wall.day + 6) // 7
    doms = [
        "*",
        "*",
        "*",
        "?",
        date,
        f"{date},L",
        "LW",
        f"{date}W",
        f"0{date}" if wall.day < 10 else date,
        f"{date}/5",
        "*/2",
        "1-31/3",
        "*/100,1-7",
        "L",
    ]
    dows = [
        "*",
        "*",
        "*",
        weekday,
        "fri-sun",
        "1-5",
        "*/2",
        f"{weekday}#{nth}",
        f"{weekday}L",
        "sat",
        "Sun-SAT",
        "0-7/3",
        "mon,WED,5-7",
        f"{NAMES[int(weekday) % 7]}#{nth},friL",
    ]
    dom, dow = rng.choice(doms), rng.choice(dows)
    month = rng.choice(
        ["*", "*", "*", str(wall.month), "jan-jun", "*/2", "oct,nov,mar,apr", "Jan-DEC/3", "2/2"]
    )
    return f"{dom} {month} {dow}"


def random_expression(rng: random.Random, walls: list[datetime], unit: timedelta) -> str:
    jumps = [(a, b) for a, b in pairwise(walls) if b - a != unit]
    around = list(rng.choice(jumps)) if jumps else [rng.choice(walls)]
    wall = rng.choice(around)
    minutes = [around[0].minute, around[-1].minute, 0, 15, 30, 45, 59, 1]
    hours = [around[0].hour, around[-1].hour, (wall.hour + 1) % 24, (wall.hour - 1) % 24]
    minute = random_field(rng, 0, 59, minutes)
    hour = random_field(rng, 0, 23, hours)
    second = random_field(rng, 0, 59, [0, 1, 30, 59]) + " " if unit == SECOND else ""
    return f"{second}{minute} {hour} {random_days(rng, wall)}"


class Case(NamedTuple):
    """One question, and every wall time in the window it is asked of."""

    text: str
    zone: ZoneInfo
    start: datetime
    begin: datetime
    walls: list[datetime]
    unit: timedelta

    @property
    def end(self) -> datetime:
        """The first instant after the window."""
        return self.begin + len(self.walls) * self.unit

    def expected(self) -> list[datetime]:
        """Return the reference's instants after the start."""
        fires = Reference(self.text).fires(self.walls)
        found = [self.begin + position * self.unit for position in fires]
        return [instant for instant in found if instant > self.start]


@cache
def zone_names() -> list[str]:
    return sorted(available_timezones() - {"localtime", "Factory"})


def draw(seed: str) -> Case:
    """Return the case of a seed."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        unit = SECOND if rng.random() < 0.05 else MINUTE
        zone, begin, walls = window(rng.randrange(len(CHANGES)), unit)
    else:
        zone, begin, walls, unit = anywhere(rng)
    text = random_expression(rng, walls, unit)
    end = begin + len(walls) * unit
    start = begin + MARGIN + rng.random() * (end - begin - MARGIN)
    if rng.random() < 0.2:
        start = start.replace(second=0, microsecond=0)
    return Case(text, zone, start, begin, walls, unit)


def anywhere(rng: random.Random) -> tuple[ZoneInfo, datetime, list[datetime], timedelta]:
    """Return a window in any zone and year, most often around a change of its clock."""
    zone = ZoneInfo(rng.choice(zone_names()))
    first = datetime(rng.randint(1900, 2037), 1, 1, tzinfo=UTC)
    days = [first + n * DAY for n in range(367)]
    changed = [a for a, b in pairwise(days) if offset(zone, a) != offset(zone, b)]
    middle = rng.choice(days)
    if changed and rng.random() < 0.8:
        middle = change_after(zone, rng.choice(changed))
    broken = {offset(zone, middle + n * DAY).total_seconds() % 60 for n in (-2, -1, 0, 1, 2)}
    if broken != {0} or rng.random() < 0.02:
        # Before standard time clocks differ by seconds: then every second is looked at.
        begin = middle - MARGIN - rng.randint(0, 4) * MINUTE
        return zone, begin, walls_of(zone, begin, middle + 70 * MINUTE, SECOND), SECOND
    begin = middle.replace(second=0) - MARGIN - rng.randint(60, 2000) * MINUTE
    return zone, begin, walls_of(zone, begin, middle + 2 * DAY, MINUTE), MINUTE


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


def change_after(zone: ZoneInfo, day: datetime) -> datetime:
    """Return the instant of the change within the day after ``day``, hour by hour, then finer."""
    for step in (timedelta(hours=1), MINUTE, SECOND):
        while offset(zone, day + step) == offset(zone, day):
            day += step
    return day + SECOND


def check_case(seed: str) -> bool:
    """Compare one random case; tell whether the expression was usable."""
    case = draw(seed)
    text, zone, start = case.text, case.zone, case.start
    context = (seed, text, zone.key, start.isoformat())
    try:
        expression = CronExpression.parse(text)
    except CronError as error:
        if "never run" not in error.message:
            raise
        return never(Reference(text), context)
    expected = case.expected()
    last = case.end - case.unit
    assert expression.count(start, last, zone) == len([e for e in expected if e <= last]), context
    found = []
    at: datetime | None = start
    for _ in range(min(len(expected), 8)):
        assert at is not None, context
        at = expression.next_after(at, zone)
        found.append(at)
    assert found == expected[: len(found)], context
    if len(found) == len(expected):
        at = expression.next_after(found[-1] if found else start, zone)
        assert at is None or at >= case.end, context
    return True


def never(reference: Reference, context: object) -> bool:
    """Check that no day of 29 years matches, and return False."""
    first = date(1999, 1, 1)
    assert not any(reference.day(first + n * DAY) for n in range(29 * 366)), context
    return False
