from __future__ import annotations

import gc
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from jobctl.model import zones
from jobctl.model.cron import CronExpression
from jobctl.model.zones import offset_at, piece_at


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("name", "change", "before", "after"),
    [
        ("America/New_York", "2021-03-14T07:00", -18000, -14400),
        ("America/New_York", "2021-11-07T06:00", -14400, -18000),
        ("Australia/Lord_Howe", "2021-10-02T15:30", 37800, 39600),
        ("Antarctica/Troll", "2021-03-28T01:00", 0, 7200),
        ("Pacific/Apia", "2011-12-30T10:00", -36000, 50400),
        ("America/St_Johns", "2008-03-09T03:31", -12600, -9000),
        ("Africa/Monrovia", "1972-01-07T00:44:30", -2670, 0),
        ("Africa/Casablanca", "2021-04-11T02:00", 3600, 0),
        ("Africa/Casablanca", "2021-05-16T02:00", 0, 3600),
        ("America/Recife", "2000-10-08T03:00", -10800, -7200),
        ("America/Recife", "2000-10-15T02:00", -7200, -10800),
    ],
)
def test_change_is_found_to_the_second(name: str, change: str, before: int, after: int) -> None:
    zone = ZoneInfo(name)
    instant = epoch(change)
    start, end, offset, previous = piece_at(zone, instant)
    assert (start, offset, previous) == (instant, after, before)
    assert end > instant
    start, end, offset, _ = piece_at(zone, instant - 1)
    assert (end, offset) == (instant, before)
    assert start < instant


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "Africa/Casablanca", "Asia/Hebron", "America/Recife"]
)
def test_pieces_leave_no_hole_and_agree_with_the_zone(name: str) -> None:
    zone = ZoneInfo(name)
    instant, end_of_time = epoch("1990-01-01"), epoch("2024-01-01")
    while instant < end_of_time:
        start, end, offset, _ = piece_at(zone, instant)
        assert start <= instant < end
        for probe in (instant, (instant + end) // 2, end - 1):
            assert offset_at(zone, probe) == offset
        instant = end


class Border(tzinfo):
    """Sets its clock an hour forward exactly where a chunk begins."""

    instant = 48 << zones._CHUNK_BITS
    wall = (zones.EPOCH + timedelta(seconds=instant)).replace(tzinfo=None)

    def fromutc(self, dt: datetime) -> datetime:
        return dt + timedelta(hours=dt.replace(tzinfo=None) >= self.wall)

    def utcoffset(self, dt: datetime) -> timedelta:
        return timedelta(hours=dt.replace(tzinfo=None) >= self.wall + timedelta(hours=1))


def test_change_at_a_chunk_border_is_found_from_both_sides() -> None:
    zone = Border()
    assert piece_at(zone, Border.instant)[0] == Border.instant
    assert piece_at(zone, Border.instant)[2:] == (3600, 0)
    assert piece_at(zone, Border.instant - 1)[1:3] == (Border.instant, 0)
    skipped = Border.wall + timedelta(minutes=30)
    expression = CronExpression.parse(f"{skipped.minute} {skipped.hour} * * *")
    start = datetime.fromtimestamp(Border.instant - 3600, UTC)
    assert expression.next_after(start, zone) == datetime.fromtimestamp(Border.instant, UTC)


def test_results_go_with_their_zone() -> None:
    zone = ZoneInfo.no_cache("Europe/Berlin")
    piece_at(zone, 0)
    gc.collect()
    count = len(zones._known)
    del zone
    gc.collect()
    assert len(zones._known) == count - 1


def test_ends_of_the_calendar_are_survived() -> None:
    zone = ZoneInfo("Pacific/Auckland")
    for instant in (-(10**12), 10**12):
        start, end, _, _ = piece_at(zone, instant)
        assert start <= instant < end
