from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.engine.attempt import AttemptSpec
from jobctl.engine.environment import (
    DEFAULT_PATH,
    Account,
    EnvFileError,
    argument_text,
    attempt_environment,
    job_environment,
    read_env_file,
    variable_name,
)
from jobctl.model.job import JobDef

if TYPE_CHECKING:
    from pathlib import Path

ANNA = Account(name="anna", home="/home/anna")


def test_base_is_small_fixed_and_free_of_the_daemons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    found = job_environment(
        JobDef(name="j", command="true"), account=ANNA, timezone="Europe/Berlin", tools=None
    )
    assert found == {
        "HOME": "/home/anna",
        "USER": "anna",
        "LOGNAME": "anna",
        "SHELL": "/bin/sh",
        "PATH": DEFAULT_PATH,
        "LANG": "C.UTF-8",
        "TZ": "Europe/Berlin",
    }


def test_directory_of_jobctl_comes_last_in_path() -> None:
    found = job_environment(JobDef(name="j"), account=ANNA, timezone="UTC", tools="/opt/jobctl/bin")
    assert found["PATH"] == f"{DEFAULT_PATH}:/opt/jobctl/bin"


def test_directory_of_jobctl_is_not_repeated() -> None:
    found = job_environment(JobDef(name="j"), account=ANNA, timezone="UTC", tools="/usr/bin")
    assert found["PATH"] == DEFAULT_PATH


def test_env_wins_over_env_file_which_wins_over_the_base(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("LANG=de_DE\nA=file\nB=file\n")
    job = JobDef(name="j", env_file=(str(file),), env={"A": "env"})
    found = job_environment(job, account=ANNA, timezone="UTC", tools=None)
    assert (found["LANG"], found["A"], found["B"]) == ("de_DE", "env", "file")


def test_attempt_sees_who_it_is() -> None:
    spec = AttemptSpec(
        run_id="r1",
        job=JobDef(name="j"),
        number=2,
        max_attempts=4,
        queue="q",
        trigger="schedule",
        scheduled_at="2026-03-29T02:30:00+02:00",
        supervisor="host-1",
        tags={"team-name": "ops"},
        kwargs={"max-width": 3, "note.text": "a b", "flags": [1, "ü"]},
    )
    found = attempt_environment(spec, {"A": "1"}, result_file="/r", progress_file="/p")
    assert found == {
        "A": "1",
        "JOBCTL_RUN_ID": "r1",
        "JOBCTL_JOB": "j",
        "JOBCTL_ATTEMPT": "2",
        "JOBCTL_MAX_ATTEMPTS": "4",
        "JOBCTL_QUEUE": "q",
        "JOBCTL_TRIGGER": "schedule",
        "JOBCTL_SCHEDULED_AT": "2026-03-29T02:30:00+02:00",
        "JOBCTL_RESULT_FILE": "/r",
        "JOBCTL_PROGRESS_FILE": "/p",
        "JOBCTL_SUPERVISOR": "host-1",
        "JOBCTL_TAG_TEAM_NAME": "ops",
        "JOBCTL_ARG_MAX_WIDTH": "3",
        "JOBCTL_ARG_NOTE_TEXT": "a b",
        "JOBCTL_ARG_FLAGS": '[1,"ü"]',
    }


def test_scheduled_at_is_empty_without_a_schedule() -> None:
    spec = AttemptSpec(run_id="r1", job=JobDef(name="j"))
    found = attempt_environment(spec, {}, result_file="", progress_file="")
    assert found["JOBCTL_SCHEDULED_AT"] == ""


def test_jobs_cannot_hide_who_they_are() -> None:
    spec = AttemptSpec(run_id="r1", job=JobDef(name="j"))
    found = attempt_environment(spec, {"JOBCTL_RUN_ID": "x"}, result_file="", progress_file="")
    assert found["JOBCTL_RUN_ID"] == "r1"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a b", "a b"), (1, "1"), (None, "null"), (True, "true"), ({"a": 1}, '{"a":1}')],
)
def test_strings_stay_as_they_are_and_the_rest_becomes_json(value: object, text: str) -> None:
    assert argument_text(value) == text


def test_names_become_shell_variables() -> None:
    assert variable_name("max-width.é") == "MAX_WIDTH__"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("  export A = spaced out  ", "spaced out"),
        ("A=", ""),
        ("A=with # comment", "with"),
        ("A=with#hash", "with#hash"),
        ("A='single $x \\n # kept'", "single $x \\n # kept"),
        ('A="tab\\tquote\\" back\\\\ # kept" # comment', 'tab\tquote" back\\ # kept'),
        ("A=a=b", "a=b"),
    ],
)
def test_env_file_line(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"# comment\n\n{line}\n")
    assert read_env_file(str(file)) == {"A": value}


@pytest.mark.parametrize("line", ["no equals", "1A=x", "A='open", 'A="closed" more'])
def test_env_file_error_names_file_and_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"OK=1\n{line}\n")
    with pytest.raises(EnvFileError, match=rf"{file}:2: "):
        read_env_file(str(file))


def test_missing_env_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match=r"cannot be read: No such file.*; create it"):
        read_env_file(str(tmp_path / "none"))


def test_binary_env_file_is_an_error_too(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"A=\xff\xfe")
    with pytest.raises(EnvFileError, match="not UTF-8"):
        read_env_file(str(file))
