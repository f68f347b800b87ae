"""``jobs``, ``next``, ``check``, ``init``, ``progress``: what needs no store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jobctl.cli.start import start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project, Worker


def test_jobs_have_schedule_next_last_and_average(project: Project, worker: Worker):
    project.submit("hello")
    worker.finish("x", reason="exit", rc=1)
    project.submit("hello")
    worker.finish()
    rows = {item["job"]: item for item in project.jobctl("jobs", "--json").json["jobs"]}
    assert rows["hello"]["last_state"] == "succeeded"
    assert rows["hello"]["average_duration"] == 0.5
    assert rows["nightly"]["schedules"] == ["30 2 * * *"]
    assert rows["nightly"]["next"].startswith("20")
    assert rows["other"]["kind"] == "exec"


def test_functions_are_looked_at_unless_that_is_not_wanted(
    make_project: Callable[..., Project], tmp_path: Path
):
    project = make_project(more=f'[jobs.far]\npython = "far:run"\ncwd = "{tmp_path}"')
    (tmp_path / "far.py").write_text("print('imported')\ndef walk(): pass\n")
    result = project.jobctl("check")
    assert result.code == 0
    assert "jobs.far.python: there is no function run in far" in result.err
    assert "imported" not in result.out
    said = [project.jobctl("check", "--json", *more).json for more in ((), ("--no-import",))]
    assert [
        [one["severity"] for one in found["problems"] if one["code"] == "target"] for found in said
    ] == [["warning"], []]


def test_what_cannot_be_judged_is_a_note_that_strict_lets_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hooks.py").write_text("def begin(): pass\n")
    (tmp_path / "jobs.toml").write_text(
        '[pools.default]\nchild_init = "hooks:begin"\n[jobs.far]\npython = "gone:run"\ncwd = "."\n'
    )
    (tmp_path / "jobs.toml").chmod(0o644)
    assert start(["check", "--strict"]) == 0
    said = capsys.readouterr()
    assert "note: jobs.far.python: importing gone failed" in said.err
    assert start(["check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["problems"]
    assert [(one["severity"], one["code"]) for one in found] == [("note", "unjudged")]


def test_jobs_are_listed_without_a_store(make_project: Callable[..., Project]):
    result = make_project("/nowhere").jobctl("jobs")
    assert result.code == 0
    assert "nightly" in result.out
    assert "last runs are not shown" in result.err


def test_next_of_an_expression(project: Project):
    result = project.jobctl(
        "next", "--schedule", "30 2 * * *", "--timezone", "Europe/Berlin",
        "--from", "2026-03-28T00:00:00+01:00", "-n", "3", "--json",
    )  # fmt: skip
    assert result.json == {
        "schema": 1,
        "next": [
            "2026-03-28T02:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-30T02:30:00+02:00",
        ],
    }


def test_an_expression_needs_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert (
        start(
            [
                "next",
                "--schedule",
                "@every 90s",
                "--timezone",
                "UTC",
                "--from",
                "2030-01-01T00:00:00Z",
                "-n",
                "1",
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert out.startswith("2030-01-01 00:01:30+00:00")
    assert "Every 1m30s" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--schedule", "61 * * * *"], "minute field (column 1)"),
        (["--schedule", "0 3 * * *", "--from", "0001-01-02"], "too long ago"),
        (["--schedule", "0 3 * * *", "--from", "1899-12-30T00:00"], "in or after 1900"),
        (["--schedule", "0 0 30 2 *"], "never"),
        (["--schedule", "@every x"], "duration"),
        (["--schedule", "* * * * *", "--timezone", "Europe/Berln"], "Europe/Berlin"),
        (["--schedule", "* * * * *", "hello"], "not both"),
        (["--from", "tomorrow"], "2030-12-24"),
        (["-n", "0"], "-n"),
        (["-n", "99999999"], "-n"),
    ],
)
def test_next_refuses_what_makes_no_sense(project: Project, words: list[str], said: str):
    result = project.jobctl("next", *words)
    assert result.code == 2
    assert said in result.err


def test_next_of_jobs_shows_the_jitter_apart(project: Project):
    found = project.jobctl(
        "next", "nightly", "-n", "2", "--from", "2026-06-01T00:00", "--json"
    ).json
    assert found["jobs"] == ["nightly", "nightly"]
    assert found["scheduled_at"][0] == "2026-06-01T02:30:00+02:00"
    assert found["next"][0].startswith("2026-06-01T02:3")
    assert " + " in project.jobctl("next", "nightly", "-n", "1").out


def test_next_puts_one_job_in_words(make_project: Callable[..., Project]):
    project = make_project(more="""
[jobs.tables]
command = "true"
[[jobs.tables.schedules]]
schedule = "0 0 13 * fri"
not_before = "2090-01-01T00:00:00Z"
max_runs = 1
[[jobs.tables.schedules]]
schedule = "*/35 2 * * *"
not_after = "2020-01-01T00:00:00Z"
[[jobs.tables.schedules]]
schedule = "@daily"
enabled = false
[[jobs.tables.schedules]]
schedule = "@reboot"
[[jobs.tables.schedules]]
schedule = "@every 7h"
not_after = "2090-01-01T00:00:00Z"

[jobs.off]
command = "true"
schedule = "@daily"
enabled = false
""")  # fmt: skip
    said = project.jobctl("next", "tables", "-n", "1").err
    for words in (
        "tables: At 00:00 on the 13th of the month and on every Friday, Europe/Berlin time",
        "warning: day-of-month and day-of-week: runs on the 13th",
        "begins with not_before, 2090-01-01",
        "stops after 1 run in all (max_runs)",
        "ended with not_after, 2020-01-01",
        "warning: minute: the step 35 does not divide 60",
        "the schedule is off (enabled = false)",
        "Once after each boot of the host",
        "no instant can be told in advance",
        "Every 7h, counted",
        "ends with not_after, 2090-01-01",
    ):
        assert words in said
    off = project.jobctl("next", "off")
    assert "job off is off" in off.err
    assert "nothing is scheduled" in off.err


def test_next_shows_skipped_times_of_a_job_as_the_one_run_they_are(
    make_project: Callable[..., Project],
):
    project = make_project(
        more='[jobs.a]\ncommand = "true"\ntimezone = "Europe/Berlin"\n'
        'schedule = ["0 2 * * *", "30 2 * * *"]\n'
    )
    found = project.jobctl("next", "a", "-n", "3", "--from", "2030-03-30T12:00:00Z", "--json").json
    assert found["next"] == [
        "2030-03-31T03:00:00+02:00", "2030-04-01T02:00:00+02:00", "2030-04-01T02:30:00+02:00",
    ]  # fmt: skip


def test_next_tells_what_the_clock_does_to_a_job(project: Project):
    result = project.jobctl("next", "nightly", "-n", "3", "--from", "2021-03-27T12:00")
    assert "28 March 2021 02:30 does not exist" in result.err
    assert "of a jitter of 10m" in result.err
    quiet = project.jobctl("next", "nightly", "-n", "3", "--from", "2021-03-27T12:00", "--quiet")
    assert (quiet.err, quiet.out.count("nightly")) == ("", 3)
    document = project.jobctl(
        "next", "-n", "3", "--from", "2021-03-27T12:00", "--json", "--explain"
    ).json
    (schedule,) = document["schedules"]
    assert schedule["schedule"] == "nightly"
    assert schedule["timezone"] == "Europe/Berlin"
    assert [note["code"] for note in schedule["clock_changes"]] == ["moved"]


def test_next_tells_what_the_clock_does_to_an_expression(project: Project):
    words = ("next", "--schedule", "*/30 2 * * *", "--from", "2021-10-30T12:00", "-n", "4")
    result = project.jobctl(*words)
    assert "31 October 2021 02:00 and 02:30 come twice" in result.err
    assert result.out.count("2021-10-31") == 4
    (schedule,) = project.jobctl(*words, "--json", "--explain").json["schedules"]
    assert schedule["kind"] == "cron"
    assert [note["code"] for note in schedule["clock_changes"]] == ["twice"]


def test_next_of_many_schedules_puts_only_some_in_words(make_project: Callable[..., Project]):
    more = "".join(f'[jobs.j{n}]\ncommand = "true"\nschedule = "@hourly"\n' for n in range(30))
    # At noon: close to its own time, the job of the night would be one of the twenty.
    said = make_project(more=more).jobctl("next", "-n", "30", "--from", "2030-01-01T12:00").err
    assert said.count("Every hour") == 20
    assert "10 more schedules not put in words" in said


def test_a_wrong_schedule_is_refused_with_its_place_in_json(project: Project):
    error = project.jobctl("next", "--schedule", "0 24 * * *", "--json").error
    assert (error["field"], error["column"]) == ("hour", 2)
    error = project.jobctl("next", "--schedule", "@every 0", "--json").error
    assert (error["field"], error["column"]) == (None, 7)
    assert "field" not in project.jobctl("next", "--from", "x", "--json").error


@pytest.mark.parametrize("words", [["--from", "2030-01-01T00:00"], ["nightly"], []])
def test_next_names_the_zone_that_does_not_exist(project: Project, words: list[str]):
    result = project.jobctl("next", *words, "--timezone", "Europe/Berln")
    assert result.code == 2
    assert "unknown time zone 'Europe/Berln': did you mean Europe/Berlin" in result.err


def test_next_of_a_job_without_schedule(project: Project):
    assert project.jobctl("next", "hello").code == 66
    assert project.jobctl("next", "nosuch").code == 66


def test_check_says_what_will_run(project: Project):
    result = project.jobctl("check")
    assert result.code == 0
    assert "At 02:30 every day, Europe/Berlin time" in result.out
    assert "is fine" in result.err


def test_check_shows_every_problem_with_place_and_exits_78(project: Project):
    project.path.write_text('[jobs.a]\ncomand = "x"\n\n[jobs.b]\ncommand = "x"\ntimeout = "long"\n')
    result = project.jobctl("check")
    assert result.code == 78
    for word in ("jobs.toml:2", "command", "jobs.toml:6", "timeout"):
        assert word in result.err
    problems = project.jobctl("check", "--json").json["problems"]
    assert {problem["line"] for problem in problems} >= {2, 6}


def test_check_of_no_file_exits_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert start(["check", "-c", str(tmp_path / "none.toml")]) == 78
    assert "none.toml" in capsys.readouterr().err


def test_warnings_are_errors_when_strict(project: Project):
    text = project.path.read_text() + '\n[jobs.far]\ncommand = "x"\ncwd = "/no/such/place"\n'
    project.path.write_text(text)
    assert project.jobctl("check").code == 0
    assert project.jobctl("check", "--strict").code == 78


def test_init_writes_a_file_that_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert start(["init"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/jobs.toml\n"
    assert "jobctl daemon" in err
    assert start(["check"]) == 0
    capsys.readouterr()
    assert start(["init"]) == 1
    assert "--force" in capsys.readouterr().err
    assert start(["init", "--force"]) == 0


def test_progress_appends_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "p"
    monkeypatch.setenv("JOBCTL_PROGRESS_FILE", str(path))
    assert start(["progress", "40", "resizing", "images"]) == 0
    assert start(["progress", "99.5%"]) == 0
    assert path.read_text() == "40 resizing images\n99.5\n"


@pytest.mark.parametrize("percent", ["101", "x", "nan", "-0.5", ""])
def test_progress_is_from_0_to_100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: str):
    monkeypatch.setenv("JOBCTL_PROGRESS_FILE", str(tmp_path / "p"))
    assert start(["progress", "--", percent]) == 2
    assert not (tmp_path / "p").exists()


def test_progress_outside_a_job_says_so(capsys: pytest.CaptureFixture[str]):
    assert start(["progress", "40"]) == 2
    assert "inside a job" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://u:hush@127.0.0.1:99999", "not a port number"),
        ("redis://u:hush@h?foo=bar", "unknown option"),
        ("redis+cluster://u:hush@h/3", "no databases but /0"),
    ],
)
def test_check_refuses_a_url_that_no_connection_would_take(
    project: Project, url: str, said: str
) -> None:
    project.path.write_text(f'[jobctl]\nredis = "{url}"\n[security]\nsign = "none"\n')

    done = project.jobctl("check")

    assert done.code == 78
    assert said in done.err
    assert "hush" not in done.err + done.out


def test_check_warns_of_a_key_file_that_cannot_be_used_here(project: Project, tmp_path: Path):
    path = tmp_path / "keys"
    text = f'[jobctl]\nredis = "redis://h"\n[security]\nkey_file = "{path}"\n'
    project.path.write_text(text)
    assert "there is no key file" in project.jobctl("check").err
    path.write_text("")
    path.chmod(0o644)
    done = project.jobctl("check")
    assert (done.code, "chmod 600" in done.err) == (0, True)
    assert project.jobctl("check", "--strict").code == 78


def test_next_says_that_an_expression_alone_draws_its_own_times(project: Project):
    words = ("next", "--timezone", "UTC", "-n", "1", "--schedule")
    for text in ("H 3 * * *", "~ 3 * * *", "0 3 h * thu"):
        assert "drawn here without a job" in project.jobctl(*words, text).err
    assert "drawn" not in project.jobctl(*words, "0 3 * mar Thu").err


def test_inspect_of_a_job_tells_the_version_of_the_zone_data(project: Project):
    assert "by zone data " in project.jobctl("inspect", "nightly").out
    assert project.jobctl("inspect", "nightly", "--json").json["zone_data"].startswith("zone data ")
    assert "zone data" not in project.jobctl("inspect", "hello").out
    assert project.jobctl("inspect", "hello", "--json").json["zone_data"] is None


def test_next_of_many_years_tells_of_the_first_changes_of_the_clock(project: Project):
    words = ("next", "--schedule", "30 2 * * *", "--from", "2001-01-01T00:00", "-n", "3700")
    said = project.jobctl(*words).err
    assert said.count("does not exist") == 3
    assert said.count("comes twice") == 3
    assert "14 more changes of the clock concern it" in said
