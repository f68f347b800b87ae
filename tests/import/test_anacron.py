"""``jobctl import crontab --anacron``: periods, delays, and what is made up for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def anacrontab(jobctl: Callable) -> Callable:
    return lambda text, *words: jobctl("import", "crontab", "-", "--anacron", *words, stdin=text)


@pytest.mark.parametrize(
    ("line", "schedule", "window"),
    [
        ("1 5 a x", "35 7 * * *", "1d"),
        ("@daily 0 a x", "30 7 * * *", "1d"),
        ("7 45 a x", "15 8 * * 0", "7d"),
        ("@weekly 45 a x", "15 8 * * 0", "7d"),
        ("@monthly 15 a x", "45 7 1 * *", "31d"),
        ("@yearly 0 a x", "30 7 1 1 *", "366d"),
        ("3 10 a x", "@every 3d", "3d"),
    ],
)
def test_a_period_becomes_a_schedule_that_is_made_up_for_once(
    line: str, schedule: str, window: str, anacrontab: Callable
):
    done = anacrontab(f"{line}\n")
    assert done.code == 0
    job = done.job
    assert (job["schedule"], job["catchup_window"]) == (schedule, window)
    assert (job["missed"], job["overlap"], job["user"]) == ("once", "skip", "root")


def test_the_first_hour_of_the_range_counts(anacrontab: Callable):
    done = anacrontab("START_HOURS_RANGE=3-22\nRANDOM_DELAY=45\n1 5 a x\n")
    assert done.job["schedule"] == "5 3 * * *"
    assert done.job["jitter"] == "45m"
    assert "START_HOURS_RANGE" in done.err


def test_periods_that_anacron_counts_otherwise_are_warned_of(anacrontab: Callable):
    assert "<stdin>:1: warning: anacron counts" in anacrontab("7 5 a x\n").err
    assert "<stdin>:1: warning: anacron counts 3 days" in anacrontab("3 5 a x\n").err
    assert "warning" not in anacrontab("1 5 a x\n").err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1 5 a", "command: the field is missing"),
        ("1 x a b", "delay: 'x' is not a number"),
        ("0 5 a b", "period: '0' is neither"),
        ("@hourly 5 a b", "period: '@hourly' is neither"),
        ("1 5 a/b c", "this is not period, delay"),
    ],
)
def test_what_anacron_refuses_is_told(line: str, told: str, anacrontab: Callable):
    done = anacrontab(f"{line}\n1 5 good x\n")
    assert done.code == 78
    assert f"<stdin>:1: error: {told}" in done.err
    assert list(done.jobs) == ["good"]


def test_settings_mail_and_habits_are_as_in_a_crontab(anacrontab: Callable):
    text = "SHELL=/bin/bash\nMAILTO=ops\nHOME=/root\n1 5 a nice run-parts /etc/cron.daily\n"
    job = anacrontab(text, "--native").job
    assert (job["shell"], job["mail_to"], job["cwd"], job["nice"]) == (
        "/bin/bash",
        ["ops"],
        "/root",
        10,
    )
    assert job["command"] == "run-parts /etc/cron.daily"
    assert anacrontab("MAILTO=\n1 5 a x\n").job["mail_on"] == "never"
