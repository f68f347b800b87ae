"""``wait``: until runs are final, with the code of the job."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.store import transitions
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from project import Project, Worker


@pytest.mark.parametrize(
    ("letter", "fields", "code"),
    [
        ("k", {}, 0),
        ("x", {"reason": "exit", "rc": 3}, 3),
        ("x", {"reason": "signal", "sg": 9}, 137),
        ("x", {"reason": "timeout"}, 124),
        ("x", {"reason": "timeout", "rc": 143}, 124),
        ("x", {"reason": "exception"}, 1),
        ("x", {"reason": "spawn", "rc": 0}, 1),
        ("v", {"reason": "user"}, 1),
        ("s", {"reason": "code", "rc": 77}, 0),
        ("s", {"reason": "condition"}, 0),
        ("s", {"reason": "overlap"}, 1),
    ],
)
def test_the_end_of_a_run_as_an_exit_code(
    project: Project, worker: Worker, letter: str, fields: dict[str, Any], code: int
):
    project.submit("hello")
    run_id = worker.finish(letter, **fields)
    result = project.jobctl("wait", run_id)
    assert result.code == code
    assert result.out.startswith(run_id)


def test_an_expired_run_is_a_failure(project: Project, worker: Worker):
    run_id = project.submit("hello", "--expires", "1ms")
    time.sleep(0.01)
    project.session.store.run(transitions.promote(project.keys))
    assert project.jobctl("wait", run_id).code == 1


def test_it_waits_for_a_run_to_end(project: Project, worker: Worker):
    run_id = project.submit("hello")
    with worker.soon(lambda other: other.finish("x", reason="exit", rc=5)):
        assert project.jobctl("wait", run_id).code == 5


def test_of_several_the_first_failure_counts(project: Project, worker: Worker):
    ids = [project.submit("hello") for _ in range(3)]
    worker.finish()
    worker.finish("x", reason="exit", rc=4)
    with worker.soon(lambda other: other.finish("x", reason="exit", rc=6)):
        result = project.jobctl("wait", *ids)
    assert result.code == 4
    assert len(result.out.splitlines()) == 3


def test_any_ends_with_the_first(project: Project, worker: Worker):
    ids = [project.submit("hello") for _ in range(2)]
    with worker.soon(lambda other: other.finish()):
        result = project.jobctl("wait", "--any", *ids)
    assert result.code == 0
    assert len(result.out.splitlines()) == 1


def test_patience_has_an_end_and_the_run_goes_on(project: Project, worker: Worker):
    run_id = project.submit("hello")
    result = project.jobctl("wait", run_id, "--timeout", "50ms")
    assert result.code == 124
    assert "goes on" in result.err


def test_json_has_the_finished_runs(project: Project, worker: Worker):
    project.submit("hello")
    run_id = worker.finish()
    assert project.jobctl("wait", run_id, "--json").json["runs"][0]["state"] == "succeeded"


def clients(project: Project) -> int:
    return project.session.store.run(
        Call(("CLIENT", "LIST"), lambda reply: len(reply.splitlines()))
    )


def await_another_client(project: Project, before: int) -> None:
    deadline = time.monotonic() + 10
    while clients(project) <= before:
        assert time.monotonic() < deadline


def test_ctrl_c_leaves_the_run_alone(project: Project, worker: Worker):
    run_id = project.submit("hello")
    before = clients(project)
    with subprocess.Popen(
        project.command("wait", run_id), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        await_another_client(project, before)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert b"the run goes on" in err
    assert project.run(run_id).state == "queued"


def test_a_terminal_gets_a_bar_with_percent_and_message(project: Project, worker: Worker):
    project.submit("hello")
    claim = worker.start()
    note = (claim.id, claim.epoch, '{"percent": 40.0, "message": "resizing"}')
    worker.store.run(transitions.note(project.keys, owner=worker.owner, items=[note]))
    leader, follower = pty.openpty()
    with subprocess.Popen(
        project.command("wait", claim.id), stdout=subprocess.PIPE, stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        while b"resizing" not in shown:
            shown += os.read(leader, 4096)
        assert b"40%" in shown
        worker.settle(claim)
        while True:
            try:
                if not os.read(leader, 4096):
                    break
            except OSError:
                break
        out, _ = process.communicate(timeout=5)
    os.close(leader)
    assert process.returncode == 0
    assert out.startswith(claim.id.encode())
