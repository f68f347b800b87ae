"""``jobctl import celery-beat``: the schedule of an application, read by its own interpreter.

The quick tests read a stand-in that has the attributes of a celery application and nothing else;
the slow one installs celery itself.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from instants import of_the_job, of_the_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STAND_IN = """
import datetime

class Crontab:
    def __init__(self, minute=range(60), hour=range(24), dow=range(7), dom=range(1, 32), moy=range(1, 13)):
        self.minute, self.hour = set(minute), set(hour)
        self.day_of_week, self.day_of_month, self.month_of_year = set(dow), set(dom), set(moy)

class Schedule:
    relative = False
    def __init__(self, seconds):
        self.run_every = datetime.timedelta(seconds=seconds)

class Conf:
    broker_url = "redis://user:secret@nowhere"
    beat_schedule = {}

class App:
    def __init__(self):
        self.conf, self.tasks, self.timezone = Conf(), {}, "Europe/Berlin"
    def task(self, run):
        class Task:
            def __call__(self, *args, **kwargs):
                return run(*args, **kwargs)
        made = Task()
        made.run = run
        self.tasks[run.__module__ + "." + run.__name__] = made
        return made

app = App()

@app.task
def report(kind="x", n=0):
    return kind + str(n)

def crontab(**sets):
    return Crontab(**sets)
"""


@pytest.fixture
def beat(tmp_path: Path, jobctl: Callable) -> Callable:
    """Import a stand-in application with the entries that a text says."""

    def run(entries: str, *words: str):
        text = f"{STAND_IN}\napp.conf.beat_schedule = {{{entries}}}\n"
        (tmp_path / "shop.py").write_text(text, encoding="utf-8")
        return jobctl("import", "celery-beat", "shop:app", "--interpreter", sys.executable, *words)

    return run


def test_an_entry_becomes_a_job_that_calls_its_function(beat: Callable, tmp_path: Path):
    done = beat(
        "'nightly': {'task': 'shop.report', 'schedule': crontab(minute=[30], hour=[2]), 'args': ('a',),"
        " 'kwargs': {'n': 3}, 'options': {'queue': 'reports', 'expires': 3600, 'priority': 2}}"
    )
    assert done.code == 0
    assert done.job == {
        "description": "From shop:app 'nightly'", "python": "shop:report", "interpreter": sys.executable,
        "cwd": str(tmp_path), "schedule": "30 2 * * *", "timezone": "Europe/Berlin", "args": ["a"],
        "kwargs": {"n": 3}, "queue": "reports", "expires": "1h", "priority": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("30.0", "@every 30s"),
        ("Schedule(90)", "@every 1m30s"),
        ("datetime.timedelta(hours=2)", "@every 2h"),
        ("crontab(minute=range(0, 60, 15))", "*/15 * * * *"),
        ("crontab(minute=[0], hour=[4], dow=[1], dom=range(1, 8))", "0 4 * * MON#1"),
        ("crontab(minute=[0], hour=[4], dow=[0], moy=[6])", "0 4 * 6 0"),
    ],
)
def test_schedules_of_every_shape(schedule: str, expected: str, beat: Callable):
    assert (
        beat(f"'x': {{'task': 'shop.report', 'schedule': {schedule}}}").job["schedule"] == expected
    )


def test_all_fields_must_match_as_in_celery(beat: Callable):
    done = beat(
        "'x': {'task': 'shop.report', 'schedule': crontab(minute=[0], hour=[4], dow=[1], dom=[1, 15])}"
    )
    assert of_the_job(done.job, "UTC", 20) == of_the_line(
        "0 4 */100,1,15 * mon", "Europe/Berlin", 20
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("'task': 'no.such', 'schedule': 60", "'no.such' is no function"),
        ("'task': 'shop.report', 'schedule': 60, 'args': (None,)", "None cannot be written"),
        ("'task': 'shop.report', 'schedule': 60, 'kwargs': {'a': object()}", "is no plain value"),
    ],
)
def test_what_cannot_be_called_is_told_with_78(entry: str, told: str, beat: Callable):
    done = beat(f"'x': {{{entry}}}, 'good': {{'task': 'shop.report', 'schedule': 60}}")
    assert done.code == 78
    assert told in done.err
    assert list(done.jobs) == ["good"]


@pytest.mark.parametrize("schedule", ["object()", "0.5", "None"])
def test_an_unknown_schedule_leaves_the_job_off(schedule: str, beat: Callable):
    done = beat(f"'x': {{'task': 'shop.report', 'schedule': {schedule}}}")
    assert done.code == 0
    assert done.job["enabled"] is False
    assert "enabled = false" in done.err


def test_what_the_application_prints_is_not_mistaken_for_the_answer(beat: Callable):
    done = beat("'x': {'task': 'shop.report', 'schedule': (print('{}'), 60)[1]}")
    assert done.code == 0
    assert done.job["schedule"] == "@every 1m"


def test_an_application_that_fails_is_told_without_a_traceback(beat: Callable):
    done = beat("'x': 1 / 0")
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    assert "Traceback" not in done.err


def test_an_application_that_ends_the_interpreter_is_told(beat: Callable):
    done = beat("'x': __import__('os')._exit(3)")
    assert done.code == 1
    assert "ended with 3" in done.err


def test_a_missing_interpreter_is_told(jobctl: Callable):
    done = jobctl("import", "celery-beat", "shop:app", "--interpreter", "/no/such/venv")
    assert done.code == 66
    assert "/no/such/venv" in done.err


def test_the_password_of_the_broker_is_not_shown(beat: Callable):
    done = beat("'x': {'task': 'shop.report', 'schedule': 60}")
    assert "secret" not in done.out + done.err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_celery_itself_is_read_and_its_tasks_run(tmp_path: Path, jobctl: Callable):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    installed = subprocess.run(
        [venv / "bin" / "pip", "install", "-q", "celery"], check=False, capture_output=True
    )
    if installed.returncode:
        pytest.skip("celery cannot be installed here")
    (tmp_path / "tasks.py").write_text(
        "from celery import Celery\nfrom celery.schedules import crontab\n"
        "app = Celery('tasks', broker='memory://')\napp.conf.timezone = 'Europe/Berlin'\n"
        "@app.task(bind=True, name='renamed')\ndef report(self, name):\n    print('hello', name)\n"
        "app.conf.beat_schedule = {'r': {'task': 'renamed', 'args': ['you'],"
        " 'schedule': crontab(minute='*/15', hour='1-3,22', day_of_week='mon-fri')}}\n",
        encoding="utf-8",
    )
    done = jobctl("import", "celery-beat", "tasks", "--interpreter", str(venv))
    (tmp_path / "jobs.toml").write_text(done.out, encoding="utf-8")

    assert done.code == 0
    expected = of_the_line("*/15 1-3,22 * * mon-fri", "Europe/Berlin", 50)
    assert of_the_job(done.job, "UTC", 50) == expected
    ran = subprocess.run(
        [sys.executable, "-m", "jobctl", "run", "r", "you"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "hello you\n")
