"""``logs``: output of runs, from files and from what was shipped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from jobctl.store.calls import Call

if TYPE_CHECKING:
    from project import Project, Worker


def ship(project: Project, run_id: str, offset: int, data: bytes, *, most: int = 64) -> None:
    key = project.keys.log(run_id)
    words = ("XADD", key, "MAXLEN", "=", most, "*", "a", 1, "o", offset, "d", data)
    project.session.store.run(Call(words, lambda reply: reply))


def test_bytes_come_out_as_they_went_in(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish()
    data = bytes(range(256)) + b"no newline at the end"
    project.log(run_id, data)
    assert project.process("logs", run_id).stdout == data


def test_a_run_that_printed_nothing_has_an_empty_log(project: Project, worker: Worker):
    project.submit("hello")
    result = project.jobctl("logs", worker.finish())
    assert (result.out, result.code) == ("", 0)


def test_a_run_that_has_not_started_says_so(project: Project, worker: Worker):
    result = project.jobctl("logs", project.submit("hello"))
    assert result.code == 0
    assert "has not started" in result.err


@pytest.mark.parametrize(
    ("lines", "data", "expected"),
    [
        ("1", b"a\nb\nc\n", "c\n"),
        ("2", b"a\nb\nc", "b\nc"),
        ("9", b"a\nb\n", "a\nb\n"),
        ("0", b"a\nb\n", ""),
        ("1", b"x" * 600_000 + b"\ny\n", "y\n"),
        ("1", b"a\n" + b"x" * 600_000, "x" * 600_000),
        ("2", b"\n\n\n", "\n\n"),
    ],
)
def test_the_last_lines(project: Project, worker: Worker, lines: str, data: bytes, expected: str):
    project.submit("hello")
    run_id = worker.finish()
    project.log(run_id, data)
    assert project.jobctl("logs", run_id, "-n", lines).out == expected


def test_attempts_have_logs_of_their_own(project: Project, worker: Worker):
    run_id = project.submit("hello", "--retries", "1")
    worker.finish("d", reason="exit")
    worker.finish()
    project.log(run_id, b"first\n", attempt=1)
    project.log(run_id, b"second\n", attempt=2)
    assert project.jobctl("logs", run_id).out == "second\n"
    assert project.jobctl("logs", run_id, "--attempt", "1").out == "first\n"
    result = project.jobctl("logs", run_id, "--attempt", "3")
    assert result.code == 66
    assert "it has 2" in result.err


def test_a_log_of_another_host_that_is_gone_says_where_it_was(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    entry = '{"n":1,"o":"succeeded","ho":"h1","lb":10}'
    worker.settle(claim, a1=entry)
    result = project.jobctl("logs", claim.id)
    assert result.code == 66
    assert "h1" in result.err


def test_the_tail_that_was_shipped_is_shown_elsewhere(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish()
    ship(project, run_id, 5000, b"the\nend\n", most=1)
    assert project.jobctl("logs", run_id).out == "the\nend\n"
    assert project.jobctl("logs", run_id, "-n", "1").out == "end\n"


def test_what_a_running_attempt_shipped_is_shown_elsewhere(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    ship(project, claim.id, 0, b"one\n")
    ship(project, claim.id, 4, b"two\n")
    assert project.jobctl("logs", claim.id).out == "one\ntwo\n"


def test_following_ends_with_the_run_and_misses_nothing(project: Project, worker: Worker):
    run_id = project.submit("hello")

    def work(other: Worker) -> None:
        claim = other.start()
        for number in range(20):
            project.log(claim.id, b"line %d\n" % number)
        project.log(claim.id, b"the very end")
        other.settle(claim, "x", reason="exit", rc=1)

    with worker.soon(work):
        result = project.jobctl("logs", "-f", run_id)
    assert result.out == "".join(f"line {number}\n" for number in range(20)) + "the very end"
    assert result.code == 0


def test_following_crosses_to_the_next_attempt(project: Project, worker: Worker):
    run_id = project.submit("hello", "--retries", "1")

    def work(other: Worker) -> None:
        claim = other.start()
        project.log(claim.id, b"first\n")
        other.settle(claim, "d", reason="exit")
        time.sleep(0.3)
        claim = other.start()
        project.log(claim.id, b"second\n", attempt=2)
        other.settle(claim)

    with worker.soon(work):
        result = project.jobctl("logs", "-f", run_id)
    assert result.out == "first\nsecond\n"
    assert "attempt 2" in result.err


def test_following_a_remote_run_reads_the_stream_and_then_the_tail(
    project: Project, worker: Worker
):
    run_id = project.submit("hello")

    def work(other: Worker) -> None:
        claim = other.start()
        ship(project, claim.id, 0, b"one\n")
        time.sleep(0.3)
        ship(project, claim.id, 4, b"two\n")
        time.sleep(0.3)
        ship(project, claim.id, 0, b"one\ntwo\nend\n", most=1)
        other.settle(claim)

    with worker.soon(work):
        assert project.jobctl("logs", "-f", run_id).out == "one\ntwo\nend\n"


def test_following_a_short_remote_run_shows_its_tail_once(project: Project, worker: Worker):
    run_id = project.submit("hello")

    def work(other: Worker) -> None:
        claim = other.start()
        ship(project, claim.id, 0, b"all of it\n", most=1)
        other.settle(claim)

    with worker.soon(work):
        assert project.jobctl("logs", "-f", run_id).out == "all of it\n"


def test_output_is_followed_within_half_a_second(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    project.log(claim.id, b"first\n")
    with subprocess.Popen(
        project.command("logs", "-f", claim.id), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        written = time.monotonic()
        project.log(claim.id, b"second\n")
        assert process.stdout.readline() == b"second\n"
        assert time.monotonic() - written < 0.5
        worker.settle(claim)
        assert process.wait(5) == 0


def test_ctrl_c_says_that_the_run_goes_on(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    project.log(claim.id, b"x\n")
    with subprocess.Popen(
        project.command("logs", "-f", claim.id), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
        assert process.returncode == 130
    assert b"the run goes on" in err
    assert b"Traceback" not in err


def test_a_log_that_may_not_be_read_is_a_matter_of_permission(
    project: Project, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    project.submit("hello")
    run_id = worker.finish()
    path = project.log(run_id, b"x")

    usual = os.open

    def refuse(name: str, *rest: int, **more: int) -> int:
        if name == str(path):
            raise PermissionError(13, "Permission denied", name)
        return usual(name, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert project.jobctl("logs", run_id).code == 77


def test_json_wraps_the_output(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish()
    project.log(run_id, b"a\xff\n")
    assert project.jobctl("logs", run_id, "--json").json == {"schema": 1, "output": "a\\xff\n"}
