"""The fast evaluator against the brute-force one and against peers.

``JOBCTL_CRON_CASES`` sets the number of random cases (default 300), ``JOBCTL_CRON_SEED`` the seed;
``python -m tests.model.differential`` plays far more of them.
"""

from __future__ import annotations

import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobctl.model.cron import CronError, CronExpression
from tests.model.cron_cases import CHANGES, MARGIN, Case, check_case, random_expression, window
from tests.model.cron_reference import DAY, MINUTE, Reference, next_instants
from tests.model.differential import PAGE, PEERS, Peer, compare
from tests.model.peers import MOST

CASES = int(os.environ.get("JOBCTL_CRON_CASES", "300"))
SEED = int(os.environ.get("JOBCTL_CRON_SEED", "1"))


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


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_disagreement_of_a_peer_has_a_named_reason(peer: Peer) -> None:
    if peer.name == "systemd" and shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (tally,) = compare(max(CASES // 4, 75), str(SEED), peers=(peer,))
    assert tally.unnamed == []
    assert tally.same > tally.asked / 3
    assert tally.same + tally.refused.total() + tally.differing == tally.asked


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_peers_agree_on_plain_expressions_where_the_clock_does_not_change(peer: Peer) -> None:
    """No reason is good enough here: ranges, steps and lists, one day field, no clock change."""
    if peer.name == "systemd" and shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    rng = random.Random(SEED)
    for _ in range(max(CASES // 5, 60)):
        zone = ZoneInfo(rng.choice(["UTC", "Asia/Kolkata", "America/New_York", "Asia/Tokyo"]))
        start = datetime(2019, 6, 1, tzinfo=UTC) + rng.random() * 90 * DAY
        days = rng.choice(["* * *", "1-15 * *", "* jun-aug *", "* * 1-5", "* * sat,0", "*/3 * *"])
        minute = rng.choice(["0", "*/7", "3-50/9", "1,2,58", "*", "59"])
        text = f"{minute} {rng.choice(['*', '2', '0-22/3', '*/6', '4,23'])} {days}"
        case = Case(text, zone, start, start, [start] * (9 * 24 * 60), MINUTE)
        expression = CronExpression.parse(text)
        ours = []
        at = expression.next_after(start, zone)
        while at is not None and at < case.end and len(ours) < MOST:
            ours.append(at)
            at = expression.next_after(at, zone)
        assert peer.ask(case) == ours, (text, zone.key, start.isoformat())


def test_the_page_about_differences_names_every_reason_and_no_unnamed_case() -> None:
    page = PAGE.read_text()
    for peer in PEERS:
        part = page.split(f"## {peer.name}\n")[1].split("\n## ")[0]
        for reason in peer.reasons:
            assert f"{reason.name}{'*' * (reason.seen is not None)}: {reason.why} |" in part
        assert "| 0 | none | - |" in part


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
