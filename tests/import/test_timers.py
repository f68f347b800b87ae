"""``jobctl import systemd-timers``: the same instants as systemd's, the same command."""

from __future__ import annotations

import random
import shutil
import subprocess
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from instants import by_systemd, merged

from jobctl.client.migrate.calendar import CalendarError, parse_calendar
from jobctl.client.migrate.calendar_cron import schedules
from jobctl.model.schedule import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
COUNT = 25

EXACT = [
    "minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly",
    "Mon..Fri 22:30", "Sat,Sun 8:05", "Mon,Wed-Fri 10:00", "Fri", "Tuesday 5:0", "*:0/10", "*:7/15:30",
    "*-*-* 6,18:00", "*-*-1 4:00", "*-*-1..7 4:00", "Sun *-*-1..7 4:00", "Mon *-*-8..14 4:00",
    "Mon,Thu *-*-1..7,15..21 1:00", "Mon *-*-1,15 4:00", "Sun *-*-2..9 4:00", "*-*~1 4:00", "*-2~1",
    "Mon *-*~7/1 4:00", "Fri *-5~7/1 4:00", "*-4,6,12~3 4:00", "*-1,4~2..4",
    "*-1,4~7/3", "*-1/3-*", "*-*-1/4 00/6:00", "*-*-* 1..5/2:15", "*-*-* *:*:0/20", "00/2:00", "2026-*-1",
    "2025..2027-1,7-1 5:00", "2025,2027-*-5", "2026-12-24 18:00:30", "26-3-4 5:6", "@1795716396",
    "daily UTC", "*-*-* 3:00 Asia/Tokyo", "Mon *-*-* 0:30 America/New_York", "*-*-* *:*:05.000",
]  # fmt: skip
NOT_TO_BE_HAD = {
    "*:*:0.5": "whole seconds",
    "*-*~3": "February",
    "Mon *-*-2..9": "both",
    "Mon *-*~3": "last seven days",
}
REFUSED = [
    "Sat..Mon",
    "12",
    "*-*-* 22..2:00",
    "*-13-1",
    "",
    "*-*-* 25:00",
    "Xyz 5:00",
    "*:*:*/15",
    "daily Nowhere/Land",
]


def by_jobctl(expression: str, count: int = COUNT) -> list[datetime]:
    calendar = parse_calendar(expression)
    found: set[datetime] = set()
    for fire in schedules(calendar, host_zone="UTC"):
        rule = parse_rule(fire.schedule, timezone=calendar.zone or "UTC")
        first = datetime.fromisoformat(fire.not_before) if fire.not_before else None
        last = datetime.fromisoformat(fire.not_after) if fire.not_after else None
        many = count * (1 if first is None else 150)
        found |= {
            at
            for at in merged([rule], many)
            if (not first or at >= first) and (not last or at <= last)
        }
    return sorted(found)[:count]


@needs_systemd
@pytest.mark.parametrize("expression", EXACT)
def test_the_schedules_fire_when_systemd_would(expression: str):
    assert by_jobctl(expression) == by_systemd(expression)


def some_expression(draw: random.Random) -> str:
    """Make up an expression that systemd takes."""

    def values(low: int, high: int) -> str:
        first, second = sorted(draw.sample(range(low, high + 1), 2))
        return draw.choice(
            ["*", f"{first}", f"{first},{second}", f"{first}..{second}", f"{first}/{second - first}",
             f"{first}..{second}/{draw.randint(1, 5)}"]
        )  # fmt: skip

    weekday = draw.choice(["", "", "Mon ", "Sun ", "Tue..Thu ", "Sat,Sun "])
    mark = draw.choice("---~")
    # systemd refuses a step beyond the end of the month.
    day = draw.choice(["1", "2..4", "7/1", "7/3", "1..7"]) if mark == "~" else values(1, 28)
    date = f"*-{values(1, 12)}{mark}{day}"
    second = draw.choice(["", ":0", ":30", ":15/15"])
    return f"{weekday}{date} {values(0, 23)}:{values(0, 59)}{second}"


@needs_systemd
@pytest.mark.parametrize("seed", range(60))
def test_expressions_nobody_thought_of_fire_when_systemd_would(seed: int):
    expression = some_expression(random.Random(seed))
    why = reason_against(expression)
    if why:
        known = ("both these days", "February", "last seven days", "no month")
        assert any(word in why for word in known), expression
    else:
        assert by_jobctl(expression, 10) == by_systemd(expression, 10), expression


def reason_against(expression: str) -> str:
    """Return why an expression cannot be carried over, or an empty text."""
    try:
        schedules(parse_calendar(expression), host_zone="UTC")
    except CalendarError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("expression", NOT_TO_BE_HAD)
def test_what_no_schedule_says_is_refused_with_the_reason(expression: str):
    with pytest.raises(CalendarError, match=NOT_TO_BE_HAD[expression]):
        schedules(parse_calendar(expression), host_zone="UTC")


@pytest.mark.parametrize("expression", REFUSED)
def test_what_systemd_refuses_is_refused(expression: str):
    with pytest.raises(CalendarError):
        parse_calendar(expression)
    if ANALYZE:
        done = subprocess.run(
            [ANALYZE, "calendar", expression], capture_output=True, check=False, timeout=30
        )
        assert done.returncode != 0


@pytest.fixture
def units(tmp_path: Path, jobctl: Callable) -> Callable:
    """Write a timer and its service, and import them."""

    def run(
        timer: str, service: str = "[Service]\nType=oneshot\nExecStart=/bin/true\n", **more: str
    ):
        folder = tmp_path / "units"
        folder.mkdir(exist_ok=True)
        for name, text in {"x.timer": timer, "x.service": service, **more}.items():
            path = folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return jobctl("import", "systemd-timers", "units")

    return run


DAILY = "[Timer]\nOnCalendar=daily\n"


def test_a_timer_and_its_service_become_a_job(units: Callable):
    done = units(
        "[Unit]\nDescription=Nightly\n[Timer]\nOnCalendar=*-*-* 02:30\nOnCalendar=Sun 12:00\nPersistent=yes\n"
        "RandomizedDelaySec=10min\n",
        "[Service]\nType=oneshot\nUser=www-data\nGroup=adm\nWorkingDirectory=/srv\nNice=5\nUMask=027\n"
        'Environment=A=1 "B=two words"\nEnvironmentFile=/etc/default/x\nExecStart=/usr/bin/x --flag "a b" \\\n  c\n'
        "TimeoutStartSec=1h 30min\nTimeoutStopSec=20\nKillSignal=SIGINT\nSuccessExitStatus=3 TEMPFAIL\n",
    )
    assert done.code == 0
    assert done.jobs == {
        "x": {
            "description": "Nightly", "schedule": ["30 2 * * *", "0 12 * * 0"], "missed": "once",
            "catchup_window": "366d", "jitter": "10m", "user": "www-data", "group": "adm", "cwd": "/srv",
            "env": {"A": "1", "B": "two words"}, "env_file": ["/etc/default/x"],
            "command": ["/usr/bin/x", "--flag", "a b", "c"], "timeout": "1h30m", "stop_timeout": "20s",
            "stop_signal": "INT", "nice": 5, "umask": "027", "success_codes": [0, 3, 75], "overlap": "skip", "on_lost": "fail",
        }
    }  # fmt: skip


def test_drop_ins_add_and_an_empty_assignment_takes_back(units: Callable):
    done = units(
        DAILY,
        "[Service]\nType=oneshot\nExecStart=/bin/one\nEnvironment=A=1\n",
        **{
            "x.timer.d__10.conf": "[Timer]\nOnCalendar=\nOnCalendar=weekly\n",
            "x.service.d__10.conf": "[Service]\nExecStart=\nExecStart=/bin/two\nEnvironment=B=2\n",
        },
    )
    assert done.job["schedule"] == "0 0 * * 1"
    assert done.job["command"] == ["/bin/two"]
    assert done.job["env"] == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("lines", "printed"),
    [
        ("ExecStart=/bin/echo a\nExecStart=/bin/echo b", "a\nb\n"),
        ("ExecStart=-/bin/false\nExecStart=/bin/echo on", "on\n"),
        ("ExecStart=/bin/false\nExecStart=/bin/echo never", ""),
        ("Environment=A=x\\x20y\nExecStart=/bin/echo ${A} $A '$$A' a$A", "x y x y $A a$A\n"),
        ("ExecStart=/bin/echo %%d %n %N", "%d x.service x\n"),
        ("ExecStart=/bin/echo one ; /bin/echo two", "one\ntwo\n"),
        ("ExecStartPre=/bin/echo pre\nExecStart=@/bin/echo zero main\nExecStartPost=/bin/echo post", "pre\nmain\npost\n"),
        ('ExecStart=/bin/echo "a\\tb" \'c  d\' e\\\\f', "a\tb c  d e\\f\n"),
        ("ExecStart=:/bin/echo $A ${A}", "$A ${A}\n"),
    ],
)  # fmt: skip
def test_a_command_prints_what_the_service_prints(lines: str, printed: str, units: Callable):
    job = units(DAILY, f"[Service]\nType=oneshot\n{lines}\n").job
    command = job["command"]
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    done = subprocess.run(
        words, env=job.get("env", {}), capture_output=True, text=True, check=False, timeout=20
    )
    assert done.stdout == printed


def test_instances_get_their_name(units: Callable, tmp_path: Path, jobctl: Callable):
    units(DAILY, **{"b@.timer": DAILY, "b@.service": "[Service]\nExecStart=/bin/backup %i %p\n"})
    (tmp_path / "units" / "b@db.timer").symlink_to("b@.timer")
    jobs = jobctl("import", "systemd-timers", "units").jobs
    assert jobs["b-db"]["command"] == ["/bin/backup", "db", "b"]


def test_conditions_decide_whether_it_runs(units: Callable):
    job = units(
        DAILY,
        "[Unit]\nConditionPathExists=!/run/x\nConditionFileIsExecutable=/bin/x\n[Service]\nExecStart=/bin/x\n",
    ).job
    assert job["only_if"] == "! test -e /run/x && test -x /bin/x"


def test_monotonic_timers_are_near_and_told(units: Callable):
    done = units("[Timer]\nOnBootSec=15min\nOnUnitActiveSec=1d\n")
    assert done.job["schedule"] == ["@reboot", "@every 1d"]
    assert done.err.count(": warning: On") == 2


def test_a_calendar_that_cannot_be_said_leaves_the_job_off(units: Callable):
    done = units("[Timer]\nOnCalendar=daily\nOnCalendar=*-*~3\n")
    assert done.code == 0
    assert done.job["enabled"] is False
    assert "x.timer:3: warning: OnCalendar=*-*~3" in done.err


def test_zones_and_years_have_tables_of_their_own(units: Callable):
    done = units("[Timer]\nOnCalendar=*-*-* 1:00 Asia/Tokyo\nOnCalendar=2030-*-* 1:00 UTC\n")
    assert [table["timezone"] for table in done.job["schedules"]] == ["Asia/Tokyo", "UTC"]
    assert done.job["schedules"][1]["not_before"] == "2030-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("[Service]\nExecStart=/bin/x %m\n", "the specifier '%m'"),
        ("[Service]\nType=oneshot\n", "has no ExecStart="),
        ('[Service]\nExecStart=/bin/x "a\n', "a quote is not closed"),
    ],
)
def test_what_cannot_be_carried_over_is_a_comment_and_78(service: str, told: str, units: Callable):
    done = units(DAILY, service)
    assert done.code == 78
    assert told in done.err
    assert "# ExecStart" in done.out or "OnCalendar=daily" in done.out
    assert not done.jobs


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("Type=notify", "Type=notify"),
        ("RemainAfterExit=yes", "RemainAfterExit"),
        ("ProtectSystem=strict", "without a counterpart here: ProtectSystem"),
        ("EnvironmentFile=-/etc/x", "systemd goes on when the file is not there"),
        ("StandardOutput=append:/var/log/x", "output goes to the job's log"),
    ],
)
def test_what_differs_is_told_with_file_and_line(service: str, told: str, units: Callable):
    done = units(DAILY, f"[Service]\nExecStart=/bin/x\n{service}\n")
    assert told in done.err
    assert "x.service:3: warning" in done.err


def test_a_timer_without_its_service_is_told(units: Callable):
    done = units("[Timer]\nOnCalendar=daily\nUnit=nowhere.service\n")
    assert done.code == 78
    assert "nowhere.service is not there" in done.err


def test_units_of_a_user_s_own_manager_start_at_home(
    jobctl: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", "/home/alice")
    place = tmp_path / "systemd" / "user"
    place.mkdir(parents=True)
    (place / "x.timer").write_text(DAILY, encoding="utf-8")
    (place / "x.service").write_text("[Service]\nExecStart=%h/bin/x\n", encoding="utf-8")
    job = jobctl("import", "systemd-timers", str(place)).job
    assert job["command"] == ["/home/alice/bin/x"]
    assert "cwd" not in job
