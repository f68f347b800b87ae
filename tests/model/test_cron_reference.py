"""The fast evaluator against the brute-force one and, where the rules agree, against cronsim.

``JOBCTL_CRON_CASES`` sets the number of random cases (default 300), ``JOBCTL_CRON_SEED`` the seed.
"""

from __future__ import annotations

import os
import random
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cron_reference import DAY, MINUTE, SECOND, Reference, next_instants, walls_of
from cronsim import CronSim

from jobctl.model.cron import CronError, CronExpression

CASES = int(os.environ.get("JOBCTL_CRON_CASES", "300"))
SEED = int(os.environ.get("JOBCTL_CRON_SEED", "1"))
MARGIN = timedelta(hours=6)
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
    ]
    dom, dow = rng.choice(doms), rng.choice(dows)
    month = rng.choice(["*", "*", "*", str(wall.month), "jan-jun", "*/2", "oct,nov,mar,apr"])
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


def check_case(seed: str) -> bool:
    """Compare one random case; tell whether the expression was usable."""
    rng = random.Random(seed)
    unit = SECOND if rng.random() < 0.05 else MINUTE
    zone, begin, walls = window(rng.randrange(len(CHANGES)), unit)
    text = random_expression(rng, walls, unit)
    try:
        expression = CronExpression.parse(text)
    except CronError as error:
        if "never run" not in error.message:
            raise
        return False
    end = begin + len(walls) * unit
    start = begin + MARGIN + rng.random() * (end - begin - MARGIN)
    expected = [begin + position * unit for position in Reference(text).fires(walls)]
    expected = [instant for instant in expected if instant > start]
    context = (seed, text, zone.key, start.isoformat())
    assert expression.count(start, end - unit, zone) == len(expected), context
    found = []
    at: datetime | None = start
    for _ in range(min(len(expected), 8)):
        at = expression.next_after(at, zone)
        found.append(at)
    assert found == expected[: len(found)], context
    if len(found) == len(expected):
        at = expression.next_after(found[-1] if found else start, zone)
        assert at is None or at >= end, context
    return True


@pytest.mark.parametrize("part", range(10))
def test_random_expressions_match_a_walk_over_every_instant(part: int) -> None:
    usable = sum(check_case(f"{SEED}/{part}/{case}") for case in range(max(CASES // 10, 1)))
    assert usable > CASES // 10 * 0.8


def test_random_dates_match_a_walk_over_every_day() -> None:
    rng = random.Random(SEED)
    noon = datetime(2015, 12, 31, 12, tzinfo=UTC)
    zone = ZoneInfo("UTC")
    for _ in range(max(CASES // 20, 15)):
        doms = ["*", "31", "L", "LW", "1W", "31W", "15W", "*/9", "29-31", "L,1", "30"]
        dows = ["*", "1#5", "sun#1", "5L", "sat-sun", "*/7", "7L,3#2", "?", "5-7/2"]
        months = ["*", "2", "feb-apr", "*/5", "2,4"]
        text = f"0 12 {rng.choice(doms)} {rng.choice(months)} {rng.choice(dows)}"
        reference = Reference(text)
        days = [noon + n * DAY for n in range(1, 9 * 366)]
        expected = [day for day in days if reference.day(day.date())]
        try:
            expression = CronExpression.parse(text)
        except CronError:
            assert not expected, text
            continue
        assert expression.count(noon, days[-1], zone) == len(expected), text
        at = noon
        for day in expected[:60]:
            at = expression.next_after(at, zone)
            assert at == day, text


@pytest.mark.parametrize(
    "zone_name", ["UTC", "Asia/Kolkata", "America/New_York", "Europe/Berlin", "Europe/London"]
)
def test_cronsim_agrees_where_the_rules_do(zone_name: str) -> None:
    """Left out are cronsim 2.8's own ways.

    It returns instants before a start in a fold's second pass and midnights that a gap swallowed,
    loses fires after a gap that ends within an hour, makes no fixed times of expressions with
    seconds, reads ``5-5/16`` as ``5/16``, and knows no ``nW``.
    """
    rng = random.Random(f"{SEED}/{zone_name}")
    zone = ZoneInfo(zone_name)
    for _ in range(max(CASES // 5, 40)):
        start = (datetime(2019, 1, 1, 12, tzinfo=UTC) + rng.random() * 1460 * DAY).astimezone(zone)
        text = random_expression(rng, [start.replace(tzinfo=None)], MINUTE)
        if start.fold or re.search(r"\dW|\b(\d+)-\1/", text):
            continue
        try:
            expression = CronExpression.parse(text)
        except CronError:
            continue
        peer = CronSim(text.replace("?", "*").replace("fri-sun", "5-7"), start)
        at: datetime | None = start
        for _ in range(20):
            at = expression.next_after(at, zone)
            theirs = next(peer, None)
            # Compared in UTC: across zones, Python calls no two times equal that lie in a fold.
            assert at == (theirs and theirs.astimezone(UTC)), (text, start.isoformat())


def test_instants_increase_and_exist_and_fixed_times_come_once() -> None:
    rng = random.Random(SEED + 1)
    for _ in range(max(CASES // 2, 100)):
        zone, begin, walls = window(rng.randrange(len(CHANGES)), MINUTE)
        text = random_expression(rng, walls, MINUTE)
        try:
            expression = CronExpression.parse(text)
        except CronError:
            continue
        fixed = text.split()[0][0] != "*" and text.split()[1][0] != "*"
        seen: set[datetime] = set()
        at = begin + MARGIN
        for _ in range(30):
            following = expression.next_after(at, zone)
            if following is None:
                break
            assert following > at
            assert following.utcoffset() == timedelta(0)
            wall = following.astimezone(zone).replace(tzinfo=None)
            assert not (fixed and wall in seen), (text, zone.key, following)
            seen.add(wall)
            at = following


@pytest.mark.parametrize("index", range(0, len(CHANGES), 3))
def test_every_minute_fires_in_each_minute_that_exists(index: int) -> None:
    zone, begin, walls = window(index, MINUTE)
    expression = CronExpression.parse("* * * * *")
    end = begin + (len(walls) - 1) * MINUTE
    assert expression.count(begin, end, zone) == len(walls) - 1


def test_the_reference_itself_knows_the_spring_gap() -> None:
    zone = ZoneInfo("America/New_York")
    found = next_instants("30 2 * * *", zone, datetime(2021, 3, 14, 5, tzinfo=UTC), 2)
    assert [at.astimezone(zone).isoformat() for at in found] == [
        "2021-03-14T03:00:00-04:00",
        "2021-03-15T02:30:00-04:00",
    ]
