"""``submit``: what it accepts, what it refuses, and how it answers."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from project import Project, Worker, environment

from jobctl.model.ids import derived_id, is_id, new_id
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_id_stands_alone_on_stdout(project: Project, worker: Worker):
    result = project.jobctl("submit", "hello")
    assert is_id(result.id)
    assert result.out == f"{result.id}\n"
    assert result.err == ""
    assert result.code == 0


def test_without_supervisor_the_run_is_kept_and_a_note_says_so(project: Project):
    result = project.jobctl("submit", "hello")
    assert result.code == 0
    assert "no supervisor is up" in result.err
    assert project.run(result.id).state == "queued"


def test_a_queue_that_nobody_serves_is_worth_a_note(project: Project, worker: Worker):
    assert (
        "no supervisor serves queue nobody"
        in project.jobctl("submit", "hello", "--queue", "nobody").err
    )
    assert project.jobctl("submit", "hello", "--queue", "slow").err == ""


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--spool",)])
def test_a_queue_that_does_not_exist_is_refused(
    project: Project, worker: Worker, more: tuple[str, ...]
):
    result = project.jobctl("submit", "hello", "--queue", "slwo", *more)
    assert (result.code, result.out) == (2, "")
    assert (
        f"no queue 'slwo' in {project.path}, and no pool that is up takes from it; did you mean slow?"
        in result.err
    )
    assert "it has default, nobody, slow" in project.jobctl("submit", "hello", "--queue", "x").err
    assert project.jobctl("submit", "hello", "--queue", "x", "--json").error["code"] == "usage"


def test_a_queue_that_only_a_pool_of_another_host_has_is_one(project: Project):
    assert project.jobctl("submit", "hello", "--queue", "reports").code == 2
    other = Worker(project, host="h2", queues=("reports",))
    run_id = project.submit("hello", "--queue", "reports")
    assert project.run(run_id).request.queue == "reports"
    assert "did you mean reports" in project.jobctl("submit", "hello", "--queue", "report").err
    other.leave()
    assert project.jobctl("submit", "hello", "--queue", "reports").code == 2


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_arguments_that_a_command_ignores_are_told_of(project: Project, worker: Worker, verb: str):
    result = project.jobctl(verb, "hello", "x")
    assert result.code == 0
    assert "job hello: its command uses no arguments in order, so they are ignored" in result.err
    assert "ignored" not in project.jobctl(verb, "hello", "name=x").err
    assert "ignored" not in project.jobctl("submit", "typed", "x").err


def test_a_command_of_ones_own_names_a_queue_that_exists(make_project: Callable[..., Project]):
    project = make_project(settings="allow_exec = true")
    assert project.jobctl("exec", "--queue", "slow", "--", "true").code == 0
    refused = project.jobctl("exec", "--queue", "slo", "--", "true")
    assert (refused.code, refused.out) == (2, "")
    assert "did you mean slow" in refused.err


def test_a_job_whose_queue_nobody_serves_is_worth_a_note(project: Project):
    Worker(project, queues=("default",))
    assert "no supervisor serves queue slow" in project.jobctl("submit", "other").err


def test_names_that_are_one_variable_are_refused(project: Project):
    result = project.jobctl("submit", "hello", "max-width=1", "MAX_WIDTH=2")
    assert result.code == 2
    assert "MAX_WIDTH: is the same variable as max-width" in result.err


def test_quiet_leaves_out_the_note(project: Project):
    assert project.jobctl("submit", "hello", "-q").err == ""


def test_words_become_positional_and_named_arguments(project: Project, worker: Worker):
    run = project.run(
        project.submit("hello", "a b", "x=1", "http://h/?q=1", "y=2=3", "--", "z=9", "-n")
    )
    assert run.request.args == ("a b", "http://h/?q=1", "z=9", "-n")
    assert run.request.kwargs == {"x": "1", "y": "2=3"}


def test_options_may_stand_before_and_after_the_words(project: Project, worker: Worker):
    run = project.run(
        project.submit(
            "--queue", "nobody", "hello", "a", "--priority=9", "b", "--tag", "k=v", "--tag", "l=w"
        )
    )
    assert run.request.args == ("a", "b")
    assert (run.request.queue, run.request.priority) == ("nobody", 9)
    assert run.request.tags == {"k": "v", "l": "w"}


def test_the_definition_gives_what_the_command_leaves_out(project: Project, worker: Worker):
    request = project.run(project.submit("other")).request
    assert (request.queue, request.priority, request.max_attempts) == ("slow", 7, 3)
    assert request.tags == {"team": "ops"}


def test_options_override_the_definition(project: Project, worker: Worker):
    request = project.run(project.submit("other", "--retries", "-1", "--timeout", "90s")).request
    assert request.max_attempts == -1
    assert request.timeout == 90.0


def test_delay_and_expiry_are_kept_with_the_run(project: Project, worker: Worker):
    run = project.run(project.submit("hello", "--in", "10m", "--expires", "1h"))
    assert run.state == "scheduled"
    assert run.not_before == pytest.approx(run.submitted_at + 600, abs=0.01)
    assert run.expires_at == pytest.approx(run.submitted_at + 3600, abs=0.01)


def test_a_time_without_offset_is_in_the_zone_of_the_file(project: Project, worker: Worker):
    naive = project.run(project.submit("hello", "--at", "2031-01-01T12:00"))
    aware = project.run(project.submit("hello", "--at", "2031-01-01T12:00:00+01:00"))
    assert naive.not_before == aware.not_before == 1925031600


def test_a_run_id_is_used_as_it_is(project: Project, worker: Worker):
    wanted = new_id()
    assert project.submit("hello", "--id", wanted) == wanted


def test_the_same_key_never_makes_a_second_run(project: Project, worker: Worker):
    first = project.jobctl("submit", "hello", "--id", "invoice 7")
    second = project.jobctl("submit", "hello", "--id", "invoice 7")
    assert first.id == second.id == derived_id("t", "hello", "invoice 7")
    assert second.code == 0
    assert "submitted before" in second.err


def test_the_same_key_of_another_job_is_another_run(project: Project, worker: Worker):
    assert project.submit("hello", "--id", "k") != project.submit("other", "--id", "k")


def test_the_id_of_another_jobs_run_is_refused(project: Project, worker: Worker):
    taken = project.submit("hello")
    result = project.jobctl("submit", "other", "--id", taken)
    assert (result.code, result.out) == (2, "")
    assert (
        f"job other: nothing was submitted, the id {taken} is that of a run of job hello"
        in result.err
    )
    assert "leave out --id" in result.err
    assert project.run(taken).job == "hello"


def test_a_key_is_known_when_its_record_is_gone(project: Project, worker: Worker):
    run_id = project.submit("hello", "--id", "invoice 8")
    project.jobctl("revoke", run_id)
    worker.store.run(Call(("DEL", project.keys.run(run_id)), lambda _: None))
    again = project.jobctl("submit", "hello", "--id", "invoice 8")
    assert (again.code, again.id) == (0, run_id)
    assert "submitted before; nothing new was made" in again.err
    shown = project.jobctl("inspect", run_id)
    assert shown.code == 66
    assert "was accepted, has ended (revoked), and its record is gone" in shown.err


def test_a_unique_job_answers_with_the_run_that_waits(project: Project, worker: Worker):
    first = project.jobctl("submit", "single", "a")
    second = project.jobctl("submit", "single", "a")
    third = project.jobctl("submit", "single", "b")
    assert second.id == first.id != third.id
    assert second.code == 0
    assert "unique" in second.err


def test_an_overlapping_run_is_recorded_as_skipped(project: Project, worker: Worker):
    project.submit("alone")
    result = project.jobctl("submit", "alone")
    assert result.code == 75
    assert project.run(result.id).state == "skipped"
    assert "--force" in result.err


def test_force_lets_runs_overlap(project: Project, worker: Worker):
    project.submit("alone")
    assert project.run(project.submit("alone", "--force")).state == "queued"


def test_a_full_queue_refuses(make_project: Callable[..., Project]):
    project = make_project(more="[queues.default]\nmax_length = 1")
    project.submit("hello")
    result = project.jobctl("submit", "hello")
    assert (result.out, result.code) == ("", 75)
    assert "full" in result.err


def test_an_unknown_job_is_answered_with_the_nearest_name(project: Project):
    result = project.jobctl("submit", "helo")
    assert result.code == 66
    assert "did you mean hello?" in result.err


def test_errors_are_json_where_json_is_asked_for(project: Project):
    result = project.jobctl("submit", "helo", "--json")
    assert result.out == ""
    assert result.error["code"] == "not_found"
    assert json.loads(result.err)["schema"] == 1


def test_wrong_options_are_json_too(project: Project):
    result = project.jobctl("submit", "hello", "--frobnicate", "--json")
    assert result.error["code"] == "usage"
    assert result.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--priority", "10"], "0 to 9"),
        (["--priority", "high"], "whole number"),
        (["--in", "soon"], "--in"),
        (["--in", "1m", "--at", "2031-01-01T00:00"], "exclude"),
        (["--at", "tomorrow"], "2030-12-24T18:00"),
        (["--at", "0001-01-01T00:00"], "0001"),
        (["--tag", "novalue"], "NAME=VALUE"),
        (["--retries", "-2"], "whole number"),
        (["--timeout", "0"], "more than 0"),
        (["--queue", ""], "queue"),
        (["--id", ""], "id"),
        (["--id", "x" * 500], "id"),
        (["x=1", "x=2"], "twice"),
        (["--args-json", "{"], "not JSON"),
        (["--args-json", "7"], "list or an object"),
        (["--args-json", "[NaN]"], "NaN"),
        (["--args-json", "@/nowhere"], "cannot be read"),
        (["--args-json", '["\\ud800"]'], "bytes that are no text"),
        (["--args-json", '["\\u0000"]'], "NUL"),
        (["--from-ndjson", "/nowhere"], "cannot be read"),
        (["--from-ndjson", "-", "word"], "brings the arguments"),
        (["--from-ndjson", "-", "--wait"], "jobctl wait"),
        (["--args-json", "[" * 100000], "nested too deeply"),
        (["--args-json", "[" * 900 + "]" * 900], "nested too deeply"),
    ],
)
def test_wrong_values_are_refused_with_the_option_named(
    project: Project, words: list[str], said: str
):
    result = project.jobctl("submit", "hello", *words)
    assert result.code == 2
    assert said in result.err
    assert result.out == ""


def test_parameters_are_checked_and_converted(project: Project, worker: Worker):
    run = project.run(project.submit("typed", "path=a.jpg", "width=64"))
    assert run.request.kwargs == {"path": "a.jpg", "width": 64, "token": "none"}
    result = project.jobctl("submit", "typed", "width=wide")
    assert result.code == 2
    assert "path" in result.err
    assert "width" in result.err


def test_arguments_come_as_json_from_words_files_and_stdin(
    project: Project, worker: Worker, tmp_path: Path
):
    (tmp_path / "f").write_text('{"args": [1, null], "kwargs": {"a": [2]}}')
    from_file = project.run(project.submit("hello", "--args-json", f"@{tmp_path}/f", "more"))
    assert from_file.request.args == (1, None, "more")
    assert from_file.request.kwargs == {"a": [2]}
    named = project.jobctl("submit", "hello", "--args-json", "-", stdin=b'{"b": true}')
    assert project.run(named.id).request.kwargs == {"b": True}


def test_arguments_above_the_limit_are_refused(make_project: Callable[..., Project]):
    project = make_project(settings='max_args = "1K"')
    result = project.jobctl("submit", "hello", "x" * 2000)
    assert result.code == 2
    assert "1024" in result.err


def test_a_million_bytes_and_ten_thousand_arguments_pass(project: Project, worker: Worker):
    big = "x" * 120_000
    run = project.run(project.submit("hello", *[big] * 8))
    assert run.request.args == (big,) * 8
    many = project.run(project.submit("hello", *map(str, range(10_000))))
    assert len(many.request.args) == 10_000


def test_binary_garbage_is_refused_and_named(project: Project):
    result = project.process("submit", "hello", "fine", b"\xff\xfe\x80")
    assert result.returncode == 2
    assert b"argument 2" in result.stderr
    assert result.stdout == b""
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["job", "--queue", "--tag", "--id"])
def test_binary_garbage_anywhere_never_crashes(project: Project, place: str):
    words = [b"\xff"] if place == "job" else ["hello", place, b"k=\xff"]
    result = project.process("submit", *words)
    assert result.returncode in (2, 66)
    assert b"Traceback" not in result.stderr
    assert b"unexpected" not in result.stderr


def test_a_dry_run_shows_the_run_and_sends_nothing(project: Project):
    result = project.jobctl("submit", "typed", "path=x", "--dry-run", "--json")
    assert result.json["run"]["kwargs"]["width"] == 320
    assert project.jobctl("list", "--ids").out == ""


def test_json_has_the_id_and_the_answer(project: Project, worker: Worker):
    result = project.jobctl("submit", "hello", "--json")
    assert result.json["answer"] == "ok"
    assert project.run(result.json["id"]).job == "hello"


def test_unreachable_redis_exits_69_and_names_the_address(make_project: Callable[..., Project]):
    project = make_project("/nowhere/socket")
    result = project.jobctl("submit", "hello")
    assert result.code == 69
    assert "/nowhere/socket" in result.err


def test_no_daemon_exits_69_and_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.toml").write_text(
        f'[jobctl]\nstate_dir = "{tmp_path}/s"\n[jobs.a]\ncommand = "true"\n'
    )
    result = subprocess.run(
        [*Project.command(_at(tmp_path), "submit", "a")], capture_output=True, check=False
    )
    assert result.returncode == 69
    assert b"no daemon is running" in result.stderr
    assert b"jobctl daemon" in result.stderr


def _at(directory: Path) -> Project:
    found = Project.__new__(Project)
    found.path = directory / "jobs.toml"
    return found


def test_a_broken_configuration_exits_78_with_every_problem(project: Project):
    project.path.write_text('[jobs.a]\ncomand = "x"\ntimeout = "long"\n')
    result = project.jobctl("submit", "a")
    assert result.code == 78
    assert "comand" in result.err
    assert "timeout" in result.err
    assert len(project.jobctl("submit", "a", "--json").error["problems"]) >= 2


def test_exec_needs_permission(project: Project):
    result = project.jobctl("exec", "--", "ls")
    assert result.code == 77
    assert "allow_exec" in result.err


def test_exec_passes_the_command_on(make_project: Callable[..., Project]):
    project = make_project(settings="allow_exec = true")
    result = project.jobctl("exec", "--timeout", "5m", "--", "ls", "-l", "a=b")
    run = project.run(result.id)
    assert run.job == "@exec"
    assert run.request.args == ("ls", "-l", "a=b")
    assert run.request.trigger == "exec"
    assert project.jobctl("exec").code == 2


def test_wait_exits_with_the_code_of_the_job(project: Project, worker: Worker):
    with worker.soon(lambda other: other.finish("x", reason="exit", rc=3)):
        result = project.jobctl("submit", "hello", "--wait")
    assert result.code == 3
    assert is_id(result.id)


def test_wait_gives_up_after_its_time_and_the_run_goes_on(project: Project, worker: Worker):
    result = project.jobctl("submit", "hello", "--timeout-wait", "50ms")
    assert result.code == 124
    assert "goes on" in result.err
    assert project.run(result.id).state == "queued"


def test_follow_shows_the_output_and_exits_as_the_job(project: Project, worker: Worker):
    def work(other: Worker) -> None:
        claim = other.start()
        other.project.log(claim.id, b"one\n")
        other.settle(claim, "x", reason="exit", rc=4)

    with worker.soon(work):
        result = project.jobctl("submit", "hello", "--follow")
    assert result.code == 4
    assert result.out.splitlines()[1:] == ["one"]


def test_a_submit_imports_nothing_that_is_dear(project: Project, worker: Worker):
    project.until_cached()
    words = project.command("submit", "hello", "x=1", "--tag", "a=b")
    program = (
        "import sys; sys.argv = ['jobctl', *sys.argv[1:]]\n"
        "from jobctl.cli.start import start\ncode = start(sys.argv[1:])\n"
        "dear = {'typer','rich','pydantic','asyncio','dataclasses','inspect','typing','pathlib',"
        "'redis','zoneinfo','argparse','tomllib','ssl','urllib.parse','logging','subprocess'}\n"
        "print(code, sorted(dear & set(sys.modules)))"
    )
    result = subprocess.run(
        [words[0], "-c", program, *words[3:]], capture_output=True, check=True, text=True
    )
    assert result.stdout.splitlines()[1] == "0 []"


def test_no_traceback_without_debug(project: Project):
    program = (
        "import sys, jobctl.client.submit as s\n"
        "def boom(*a, **k): raise ZeroDivisionError('oops')\n"
        "s.prepare = boom\n"
        "import jobctl.cli.submit as c; c.prepare = boom\n"
        "from jobctl.cli.start import start; sys.exit(start(sys.argv[1:]))"
    )
    words = [project.command()[0], "-c", program, "-c", str(project.path), "submit", "hello"]
    plain = subprocess.run(words, capture_output=True, check=False, text=True)
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    assert "ZeroDivisionError: oops" in plain.stderr
    debug = subprocess.run(
        words, capture_output=True, check=False, text=True, env=environment(JOBCTL_DEBUG="1")
    )
    assert "Traceback" in debug.stderr
