from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobctl.model.clock_changes import clock_notes
from jobctl.model.schedule import CronRule, parse_rule


def rule(text: str, zone: str) -> CronRule:
    found = parse_rule(text, timezone=zone)
    assert isinstance(found, CronRule)
    return found


def notes(text: str, zone: str, year: int) -> list[tuple[str, str]]:
    start, end = (datetime(number, 1, 1, tzinfo=UTC) for number in (year, year + 1))
    return [(note.code, note.text) for note in clock_notes(rule(text, zone), start, end)]


@pytest.mark.parametrize(
    ("text", "zone", "year", "expected"),
    [
        (
            "30 2 * * *",
            "Europe/Berlin",
            2021,
            [
                (
                    "moved",
                    (
                        "28 March 2021 02:30 does not exist (clocks in Europe/Berlin go forward from "
                        "02:00 to 03:00): runs at 03:00"
                    ),
                ),
                (
                    "once",
                    (
                        "31 October 2021 02:30 comes twice (clocks in Europe/Berlin go back from "
                        "03:00 to 02:00): runs in the first pass only"
                    ),
                ),
            ],
        ),
        (
            "0,20,40 2,3 14 3 *",
            "America/New_York",
            2021,
            [
                (
                    "moved",
                    (
                        "14 March 2021 02:00, 02:20 and 02:40 do not exist (clocks in "
                        "America/New_York go forward from 02:00 to 03:00): run once at 03:00, "
                        "with what is due then anyway"
                    ),
                )
            ],
        ),
        (
            "*/15 2 * * *",
            "America/New_York",
            2021,
            [
                (
                    "skipped",
                    (
                        "14 March 2021 02:00 to 02:45 (4 times) do not exist (clocks in "
                        "America/New_York go forward from 02:00 to 03:00): nothing runs then"
                    ),
                )
            ],
        ),
        (
            "45 * * * *",
            "Australia/Lord_Howe",
            2021,
            [
                (
                    "twice",
                    (
                        "4 April 2021 01:45 comes twice (clocks in Australia/Lord_Howe go back from "
                        "02:00 to 01:30): runs in both passes"
                    ),
                )
            ],
        ),
        (
            "45 23 * * *",
            "Asia/Pyongyang",
            2018,
            [
                (
                    "moved",
                    (
                        "4 May 2018 23:45 does not exist (clocks in Asia/Pyongyang go forward from "
                        "4 May 2018 23:30 to 5 May 2018 00:00): runs at 5 May 2018 00:00"
                    ),
                )
            ],
        ),
        (
            "0 12 * * *",
            "Pacific/Apia",
            2011,
            [
                (
                    "lost",
                    (
                        "30 December 2011 12:00 does not exist (clocks in Pacific/Apia go forward from "
                        "30 December 2011 00:00 to 31 December 2011 00:00): too far to be made up for"
                    ),
                )
            ],
        ),
        (
            "30 59 2 14 3 *",
            "America/New_York",
            2021,
            [
                (
                    "moved",
                    (
                        "14 March 2021 02:59:30 does not exist (clocks in America/New_York go forward "
                        "from 02:00 to 03:00): runs at 03:00"
                    ),
                )
            ],
        ),
        ("30 4 * * *", "Europe/Berlin", 2021, []),
        ("30 2 1 * *", "Europe/Berlin", 2021, []),
        ("30 2 * * *", "UTC", 2021, []),
    ],
)
def test_clock_changes_are_put_in_words(
    text: str, zone: str, year: int, expected: list[tuple[str, str]]
) -> None:
    found = notes(text, zone, year)
    assert found[-1:] == expected[-1:]
    assert [note for note in found if note in expected] == expected


def test_a_repeated_hour_that_is_not_over_is_still_told_of() -> None:
    berlin = rule("30 2 * * *", "Europe/Berlin")
    change = datetime(2021, 10, 31, 1, tzinfo=UTC)
    within, over = change + timedelta(minutes=59), change + timedelta(minutes=61)
    assert [note.code for note in clock_notes(berlin, within, within)] == ["once"]
    assert clock_notes(berlin, over, over + timedelta(days=30)) == []


def test_the_window_bounds_what_is_told() -> None:
    berlin = rule("30 2 * * *", "Europe/Berlin")
    change = datetime(2021, 3, 28, 1, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert clock_notes(berlin, change - 2 * second, change - second) == []
    assert len(clock_notes(berlin, change - second, change)) == 1
    assert clock_notes(berlin, change, change + second) == []


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll",
         "Africa/Cairo", "Pacific/Apia", "Asia/Pyongyang"]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_told_is_what_happens(zone: str) -> None:
    """Runs around the change, by the evaluator, against the code and the times of the note."""
    rng = random.Random(zone)
    told = 0
    for _ in range(120):
        minute = rng.choice(["0", "30", "*/15", "*", "5,45", "17"])
        hour = rng.choice(["*", "0", "1", "2", "0-3", "*/2", "23", "1,2"])
        subject = rule(f"{minute} {hour} * * *", zone)
        year = {"Pacific/Apia": 2011, "Asia/Pyongyang": 2018, "Africa/Cairo": 2023}.get(zone, 2021)
        start = datetime(year, 1, 2, tzinfo=UTC)
        for note in clock_notes(subject, start, start + timedelta(days=364)):
            told += 1
            before = note.instant - timedelta(seconds=1)
            at_change = subject.next_after(before, anchor=before) == note.instant
            due = subject.expression.wall_from(wall(note.instant, zone)) == wall(note.instant, zone)
            shift = abs(wall(note.instant, zone) - wall(before, zone) - 1)
            reach = note.instant + timedelta(seconds=shift - 1)
            second_pass = subject.count(before, reach, anchor=before)
            if note.code == "moved":
                assert at_change
            elif note.code in ("skipped", "lost"):
                assert at_change == due
            elif note.code == "once":
                assert second_pass == 0
            else:
                assert note.code == "twice"
                assert second_pass > 0
    assert told > 10


def wall(instant: datetime, zone: str) -> int:
    local = instant.astimezone(rule("* * * * *", zone).zone).replace(tzinfo=UTC)
    return int(local.timestamp())
