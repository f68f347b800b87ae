from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from jobctl.model.catchup import LISTED, Due, Plan, plan_due
from jobctl.model.schedule import parse_rule

NOON = datetime(2021, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CASES = int(os.environ.get("JOBCTL_CRON_CASES", "300"))


def plan(
    schedule: str,
    *,
    last: datetime,
    now: datetime,
    missed: str = "once",
    window: float = 86400.0,
    most: int = 100,
    timezone: str = "UTC",
) -> Plan:
    return plan_due(
        parse_rule(schedule, timezone=timezone),
        last=last,
        now=now,
        missed=missed,
        catchup_window=window,
        catchup_max=most,
    )


def kinds(found: Plan) -> list[tuple[datetime, str]]:
    return [(due.instant, due.kind) for due in found.due]


def test_nothing_is_due_before_its_instant() -> None:
    found = plan("0 * * * *", last=NOON, now=NOON + 59 * MINUTE)
    assert found == Plan((), unlisted=0, upcoming=NOON + HOUR)


def test_instant_fires_on_time() -> None:
    found = plan("0 * * * *", last=NOON - HOUR, now=NOON)
    assert found == Plan((Due(NOON, "fire"),), unlisted=0, upcoming=NOON + HOUR)


def test_decided_instant_does_not_fire_again() -> None:
    assert plan("0 * * * *", last=NOON, now=NOON + SECOND).due == ()


def test_start_within_a_second_is_on_time() -> None:
    assert kinds(plan("0 * * * *", last=NOON - HOUR, now=NOON + SECOND)) == [(NOON, "fire")]
    assert kinds(plan("0 * * * *", last=NOON - HOUR, now=NOON + 1.1 * SECOND)) == [(NOON, "late")]


def test_up_to_five_minutes_late_runs_everything_due() -> None:
    found = plan("* * * * *", last=NOON - HOUR, now=NOON, missed="skip")
    fires = [due for due in found.due if due.kind in ("fire", "late")]
    assert [due.instant for due in fires] == [NOON - n * MINUTE for n in range(5, -1, -1)]


def test_exactly_as_old_as_the_tolerance_still_fires() -> None:
    assert kinds(plan("0 * * * *", last=NOON - HOUR, now=NOON + 5 * MINUTE)) == [(NOON, "late")]
    later = NOON + 5 * MINUTE + timedelta(milliseconds=1)
    assert kinds(plan("0 * * * *", last=NOON - HOUR, now=later, missed="skip")) == [
        (NOON, "missed")
    ]


def test_missed_skip_lets_all_older_ones_go() -> None:
    found = plan("0 * * * *", last=NOON - 4 * HOUR, now=NOON + 10 * MINUTE, missed="skip")
    assert kinds(found) == [(NOON - n * HOUR, "missed") for n in (3, 2, 1, 0)]


def test_missed_once_makes_up_for_the_newest() -> None:
    found = plan("0 * * * *", last=NOON - 4 * HOUR, now=NOON + 10 * MINUTE)
    expected = [(NOON - n * HOUR, "missed") for n in (3, 2, 1)]
    assert kinds(found) == [*expected, (NOON, "catchup")]


def test_missed_all_makes_up_for_each_with_its_own_instant() -> None:
    found = plan("0 * * * *", last=NOON - 4 * HOUR, now=NOON + 10 * MINUTE, missed="all")
    assert kinds(found) == [(NOON - n * HOUR, "catchup") for n in (3, 2, 1, 0)]


def test_catchup_max_keeps_the_newest() -> None:
    found = plan("0 * * * *", last=NOON - 4 * HOUR, now=NOON + 10 * MINUTE, missed="all", most=2)
    assert [kind for _, kind in kinds(found)] == ["missed", "missed", "catchup", "catchup"]


def test_catchup_max_of_zero_makes_up_for_none() -> None:
    found = plan("0 * * * *", last=NOON - 2 * HOUR, now=NOON + 10 * MINUTE, missed="all", most=0)
    assert [kind for _, kind in kinds(found)] == ["missed", "missed"]


def test_catchup_window_bounds_how_far_back() -> None:
    found = plan("0 0 * * *", last=NOON - 3 * DAY, now=NOON, missed="all", window=86400.0)
    assert [kind for _, kind in kinds(found)] == ["missed", "missed", "catchup"]
    found = plan("0 0 1 * *", last=NOON - 3 * DAY, now=NOON + DAY)
    assert [kind for _, kind in kinds(found)] == ["missed"]


def test_new_schedule_does_not_replay_its_past() -> None:
    created = NOON - 10 * MINUTE
    assert plan("30 11 * * *", last=created, now=NOON, missed="all").due == ()


def test_late_fire_stays_with_older_ones_made_up() -> None:
    found = plan("0 * * * *", last=NOON - 2 * HOUR, now=NOON + 2 * MINUTE)
    assert kinds(found) == [(NOON - HOUR, "catchup"), (NOON, "late")]


def test_once_schedule_missed_in_downtime_is_made_up() -> None:
    found = plan("@at 2021-06-01T11:00:00Z", last=NOON - 3 * HOUR, now=NOON)
    assert found == Plan((Due(NOON - HOUR, "catchup"),), unlisted=0, upcoming=None)


def test_interval_counts_on_from_the_last_instant() -> None:
    last = NOON - 25 * MINUTE
    found = plan("@every 10m", last=last, now=NOON)
    assert kinds(found) == [(last + 10 * MINUTE, "catchup"), (last + 20 * MINUTE, "late")]
    assert found.upcoming == last + 30 * MINUTE


@pytest.mark.parametrize("schedule", ["@reboot", "@start"])
def test_boot_schedules_are_never_due(schedule: str) -> None:
    assert plan(schedule, last=NOON - DAY, now=NOON) == Plan((), unlisted=0, upcoming=None)


@pytest.mark.parametrize("back", [MINUTE, HOUR, 3 * HOUR])
def test_clock_set_back_a_little_repeats_nothing(back: timedelta) -> None:
    found = plan("*/10 * * * *", last=NOON, now=NOON - back)
    assert found == Plan((), unlisted=0, upcoming=NOON + 10 * MINUTE)


def test_clock_set_back_far_is_believed() -> None:
    found = plan("*/10 * * * *", last=NOON, now=NOON - 4 * HOUR)
    assert found == Plan((), unlisted=0, upcoming=NOON - 4 * HOUR + 10 * MINUTE)
    found = plan("@every 10m", last=NOON, now=NOON - 4 * HOUR)
    assert found.upcoming == NOON - 4 * HOUR + 10 * MINUTE


def test_sleep_of_a_day_and_more_applies_the_policy() -> None:
    found = plan("0 */6 * * *", last=NOON, now=NOON + 28 * HOUR)
    assert [kind for _, kind in kinds(found)] == ["missed", "missed", "missed", "catchup"]


def test_spring_gap_missed_is_one_instant() -> None:
    found = plan(
        "0,20,40 2 * * *",
        last=datetime(2021, 3, 14, 5, tzinfo=UTC),
        now=datetime(2021, 3, 14, 12, tzinfo=UTC),
        missed="all",
        timezone="America/New_York",
    )
    assert kinds(found) == [(datetime(2021, 3, 14, 7, tzinfo=UTC), "catchup")]


@pytest.mark.parametrize("schedule", ["* * * * * *", "@every 1s", "*/10 * * * * *"])
@pytest.mark.parametrize("missed", ["skip", "once", "all"])
def test_year_of_downtime_costs_little(schedule: str, missed: str) -> None:
    begin = time.process_time()
    found = plan(schedule, last=NOON - 365 * DAY, now=NOON, missed=missed, timezone="Europe/Berlin")
    assert time.process_time() - begin < 0.5
    listed = [due for due in found.due if due.kind == "missed"]
    assert len(listed) == LISTED
    step = 10 if schedule.startswith("*/10") else 1
    assert len(found.due) + found.unlisted == 365 * 86400 // step
    assert found.due[-1] == Due(NOON, "fire")


def test_cursor_at_the_beginning_of_time_is_survived() -> None:
    found = plan("* * * * * *", last=datetime(1, 1, 2, tzinfo=UTC), now=NOON)
    assert found.unlisted > 10**10


def naive(schedule: str, **settings: object) -> list[tuple[datetime, str]]:
    """Walk every instant and apply the rules one by one."""
    rule = parse_rule(schedule, timezone=str(settings["timezone"]))
    last, now = settings["last"], settings["now"]
    instants = []
    at = rule.next_after(last, anchor=last)
    while at is not None and at <= now:
        instants.append(at)
        at = rule.next_after(at, anchor=last)
    result = []
    left = {"skip": 0, "once": 1, "all": settings["most"]}[str(settings["missed"])]
    for instant in reversed(instants):
        age = (now - instant).total_seconds()
        if age <= 300:
            kind = "fire" if age <= 1 else "late"
        elif left and age <= settings["window"]:
            kind, left = "catchup", left - 1
        else:
            kind = "missed"
        result.append((instant, kind))
    return result[::-1]


def test_random_plans_equal_the_walk() -> None:
    rng = random.Random(5)
    for _ in range(max(CASES // 3, 60)):
        schedule = rng.choice(
            [
                "* * * * *",
                "*/7 1-3 * * *",
                "30 2 * * *",
                "@every 97s",
                "0 0 * * sun",
                "0,30 * * * *",
                "@daily",
                "*/20 * * * * *",
            ]
        )
        now = datetime(2021, 3, 27, tzinfo=UTC) + rng.random() * 3 * DAY
        settings = {
            "last": now - rng.random() ** 4 * 10 * DAY,
            "now": now,
            "missed": rng.choice(["skip", "once", "all"]),
            "window": rng.choice([60.0, 3600.0, 86400.0, 1e9]),
            "most": rng.choice([1, 5, 100, 1000]),
            "timezone": rng.choice(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
        }
        found = plan(schedule, **settings)
        expected = naive(schedule, **settings)
        assert kinds(found) == expected[len(expected) - len(found.due) :], (schedule, settings)
        hidden = expected[: len(expected) - len(found.due)]
        assert found.unlisted == len(hidden), (schedule, settings)
        assert {kind for _, kind in hidden} <= {"missed"}
        listed = sum(due.kind == "missed" for due in found.due)
        assert listed == LISTED if hidden else listed <= LISTED
