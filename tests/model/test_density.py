from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from jobctl.model.config import Config, Settings
from jobctl.model.density import crowds, density
from jobctl.model.job import JobDef, ScheduleDef
from jobctl.model.rules import ScheduleEntry, schedule_entries
from jobctl.model.schedule import CronRule

START = datetime(2021, 3, 27, 18, tzinfo=UTC)
DAY = 24 * 60


def entries(*schedules: tuple[str, dict[str, object]], zone: str = "Europe/Berlin"):
    jobs = {}
    for number, (rule, options) in enumerate(schedules):
        name = f"job{number}"
        job_options = {key: options.pop(key) for key in ("enabled",) if key in options}
        definition = ScheduleDef(name=name, rule=rule, **options)
        jobs[name] = JobDef(name=name, command="true", schedules=(definition,), **job_options)
    config = Config(settings=Settings(state_dir="/nowhere"), jobs=jobs)
    return schedule_entries(config, host="h", timezone=zone)


def walked(found: list[ScheduleEntry], minutes: int) -> list[int]:
    """Count by asking for one instant after the other."""
    counts = [0] * minutes
    for entry in found:
        left = entry.definition.max_runs or 10**9
        shift = timedelta(seconds=entry.jitter)
        at = entry.next_after(START - shift - timedelta(milliseconds=1), anchor=START)
        while at is not None and left:
            minute = (at + shift - START) // timedelta(minutes=1)
            if minute >= minutes:
                break
            counts[minute] += 1
            left -= 1
            at = entry.next_after(at, anchor=START)
    return counts


def test_counts_are_those_of_a_walk_over_every_instant() -> None:
    rng = random.Random(4)
    rules = ["0 * * * *", "*/7 2 * * *", "30 2 * * *", "* * * * *", "*/20 * * * * *", "@every 90s",
             "@every 1.5s", "@at 2021-03-28T01:00:00Z", "0 0 * * sun", "H H * * *", "~ * * * *",
             "* * * * * *", "@daily"]  # fmt: skip
    schedules = []
    for _ in range(24):
        options: dict[str, object] = {}
        if rng.random() < 0.4:
            options["jitter"] = rng.choice([30.0, 600.0, 7200.0])
        if rng.random() < 0.2:
            options["max_runs"] = rng.randint(1, 50)
        if rng.random() < 0.2:
            options["not_before"] = "2021-03-28T00:10:30Z"
        if rng.random() < 0.2:
            options["not_after"] = "2021-03-28T03:30:15Z"
        schedules.append((rng.choice(rules), options))
    found = entries(*schedules)
    for minutes in (DAY, 2 * DAY):
        assert density(found, start=START, minutes=minutes).minutes == walked(found, minutes)


def test_a_minute_that_the_clock_skips_has_no_start() -> None:
    found = density(entries(("*/30 * * * *", {})), start=START, minutes=DAY)
    # 24 hours from 19:00 on the eve of summer time: every half-hour that existed.
    assert found.total == 48
    fixed = density(entries(("30 2 * * *", {})), start=START, minutes=DAY)
    assert [fixed.at(n) for n, starts in enumerate(fixed.minutes) if starts] == [
        datetime(2021, 3, 28, 1, tzinfo=UTC)
    ]


def test_schedules_without_instants_are_named() -> None:
    found = density(entries(("@reboot", {}), ("@start", {})), start=START, minutes=DAY)
    assert found.uncounted == ("job0", "job1")
    assert found.total == 0


def test_crowds_are_named_and_get_a_jitter_their_gaps_allow() -> None:
    daily = [("0 2 * * *", {}) for _ in range(12)]
    with_jitter = [("0 2 * * *", {"jitter": 3600.0}) for _ in range(30)]
    found = entries(*daily, *with_jitter)
    drawn = density(found, start=START, minutes=DAY)
    first = crowds(drawn, found, most=3, start=START)[0]
    assert first.at == datetime(2021, 3, 28, 1, tzinfo=UTC)  # 02:00 is skipped, 03:00 is it
    assert first.starts >= 12
    assert set(first.without_jitter) == {f"job{n}" for n in range(12)}
    assert first.jitter == 900.0
    assert sum(number for _, number in first.schedules) == first.starts


@pytest.mark.parametrize(
    ("rule", "number", "jitter"),
    [
        ("0 2 * * *", 4, None),
        ("0 2 * * *", 5, 300.0),
        ("*/10 * * * *", 30, 300.0),
        ("* * * * *", 30, None),
        ("@every 1h", 30, None),
    ],
)
def test_jitter_is_suggested_where_it_helps(rule: str, number: int, jitter: float | None) -> None:
    found = entries(*[(rule, {})] * number)
    drawn = density(found, start=START, minutes=DAY)
    assert crowds(drawn, found, most=1, start=START)[0].jitter == jitter


def test_busiest_minutes_of_the_same_schedules_are_shown_once() -> None:
    found = entries(("0 * * * *", {}), ("0 5 * * *", {}))
    drawn = density(found, start=START, minutes=DAY)
    assert [crowd.starts for crowd in crowds(drawn, found, most=5, start=START)] == [2, 1]


def test_what_is_dense_is_counted_and_what_is_the_same_is_evaluated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = CronRule.next_after

    def listening(rule: CronRule, after: datetime, *, anchor: datetime) -> datetime | None:
        asked.append(rule.text)
        return real(rule, after, anchor=anchor)

    monkeypatch.setattr(CronRule, "next_after", listening)
    found = entries(*[("* * * * * *", {})] * 3, *[("0 * * * *", {})] * 500)
    drawn = density(found, start=START, minutes=DAY)
    assert drawn.total == 3 * 86_400 + 500 * 24
    assert asked == ["0 * * * *"] * 25
