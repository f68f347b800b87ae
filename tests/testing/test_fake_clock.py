from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobctl import NoSuchJob
from jobctl.errors import UsageError
from jobctl.testing import FakeClock, starts_between

JOBS = """
[jobctl]
name = "a"

[jobs.backup]
command = "true"
schedule = ["0 2 * * *", "@reboot"]
timezone = "Europe/Berlin"

[jobs.poll]
command = "true"
schedule = "@every 8h"

[jobs.spread]
command = "true"
schedule = "@daily"
timezone = "UTC"
jitter = "1h"

[jobs.off]
command = "true"
schedule = "* * * * *"
enabled = false
"""


@pytest.fixture
def jobs(tmp_path):
    path = tmp_path / "jobs.toml"
    path.write_text(JOBS)
    return path


def test_it_moves_only_when_it_is_told_to() -> None:
    clock = FakeClock("2026-03-01T12:00:00+01:00")

    assert clock.now() == datetime(2026, 3, 1, 11, tzinfo=UTC) == clock.start
    assert clock.advance("1h30m") == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert clock.monotonic() == clock.boottime() == 5400
    assert clock.advance(timedelta(days=1)).timestamp() == clock.epoch()
    assert clock.move_to("2026-03-03T00:00:00Z") == clock.now() == datetime(2026, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "words"),
    [("2026-03-01T12:00", "with a zone"), ("soon", "with a zone"), (12, "with a zone")],
)
def test_instants_without_a_zone_are_refused(value, words) -> None:
    with pytest.raises(UsageError, match=words):
        FakeClock(value)


def test_it_does_not_go_back() -> None:
    clock = FakeClock()

    with pytest.raises(UsageError, match="only moved on"):
        clock.move_to(clock.now() - timedelta(seconds=1))
    with pytest.raises(UsageError, match="only moved on"):
        clock.advance(timedelta(seconds=-1))
    with pytest.raises(UsageError, match="not between 0"):
        clock.advance(-1)
    with pytest.raises(UsageError, match="soon"):
        clock.advance("soon")


def test_starts_are_told_in_order_and_without_what_is_off(jobs) -> None:
    clock = FakeClock("2026-10-24T00:00:00+02:00")
    clock.advance("1d")

    found = clock.starts(jobs)

    assert [one.job for one in found if one.job != "spread"] == ["backup", "poll", "poll", "poll"]
    assert [one.at for one in found] == sorted(one.at for one in found)
    (backup,) = clock.starts(jobs, job="backup")
    assert backup.at == backup.instant == datetime.fromisoformat("2026-10-24T02:00:00+02:00")
    assert backup.at.utcoffset() == timedelta(hours=2)
    with pytest.raises(NoSuchJob):
        clock.starts(jobs, job="nobody")


def test_jitter_moves_the_start_and_not_the_instant(jobs) -> None:
    (first,) = starts_between("2026-01-01T12:00Z", "2026-01-02T12:00Z", jobs, job="spread")

    assert first.instant == datetime(2026, 1, 2, tzinfo=UTC)
    assert first.instant < first.at < first.instant + timedelta(hours=1)
    assert starts_between(first.at, "2026-01-02T12:00Z", jobs, job="spread") == []
    (again,) = starts_between(first.at - timedelta(milliseconds=1), first.at, jobs, job="spread")
    assert again == first


def test_backup_starts_once_in_the_night_with_two_clocks(jobs) -> None:
    found = starts_between("2026-10-25T00:00+02:00", "2026-10-25T12:00+01:00", jobs, job="backup")

    assert len(found) == 1


LIMITED = """
[jobs.few]
command = "true"
schedules = [{ schedule = "@hourly", max_runs = 3 }, { schedule = "30 * * * *", max_runs = 1 }]
"""


def test_schedule_starts_no_more_than_its_max_runs(tmp_path) -> None:
    path = tmp_path / "jobs.toml"
    path.write_text(LIMITED)
    clock = FakeClock("2026-03-01T00:10:00Z")
    clock.advance("2h")
    assert [start.schedule for start in clock.starts(path)] == ["few#2", "few", "few"]
    clock.advance("10h")
    assert [start.schedule for start in clock.starts(path)] == ["few#2", "few", "few", "few"]
    assert starts_between(clock.start, clock.now(), path) == clock.starts(path)
