"""Python attempts obey the same limits as commands, and keep their interpreter warm."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest
from real_attempts import Attempts, alive, own_children, until

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.slot import Slot
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


JOBS = """
import os, signal, subprocess, sys, time

def add(a, b=1):
    print("adding", a, b)
    return a + b

def me():
    return os.getpid()

def fails():
    raise LookupError("nothing there")

def leaves(setsid):
    command = ["sleep", "60"]
    child = subprocess.Popen(["setsid"] + command if setsid else command)
    return child.pid

def endless(deaf=False):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    with open("pid", "w") as file:
        file.write(str(child.pid))
    time.sleep(60)

def dies(code):
    os._exit(code)

def closes_everything():
    os.closerange(3, 100)
    time.sleep(60)

def floods():
    line = "y" * 999
    for _ in range(5000):
        print(line)
    print("the end")

def writes_result():
    with open(os.environ["JOBCTL_RESULT_FILE"], "w") as file:
        file.write("7")

def mask():
    return os.umask(0)

def sees():
    return [os.environ["JOBCTL_RUN_ID"], os.environ.get("DAEMON_SECRET"), os.getcwd()]
"""


@pytest.fixture
def python(attempts: Attempts) -> Callable[..., JobDef]:
    (attempts.directory / "jobs.py").write_text(JOBS)

    def define(function: str, **more: object) -> JobDef:
        return JobDef(name="py", python=f"jobs:{function}", cwd=str(attempts.directory), **more)

    return define


def inside(
    attempts: Attempts, scenario: Callable[[Slot], Awaitable[None]], **slot_options: object
) -> None:
    async def whole() -> None:
        before = own_children()
        place = Workplace.open(dirs=attempts.dirs, clock=SYSTEM_CLOCK)
        slot = Slot(name="test.0", workplace=place, **slot_options)
        await scenario(slot)
        await slot.close()
        place.close()
        assert own_children() <= before

    asyncio.run(whole())


def test_function_returns_and_prints(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    outcome = attempts.execute(python("add"), args=(1,), kwargs={"b": 2})
    assert (outcome.kind, outcome.result, outcome.exit_code) == (OutcomeKind.SUCCEEDED, "3", 0)
    assert attempts.log == "adding 1 2\n"
    assert outcome.usage.max_rss > 1_000_000


def test_function_sees_the_environment_of_its_attempt(
    attempts: Attempts, python: Callable[..., JobDef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAEMON_SECRET", "x")
    outcome = attempts.execute(python("sees"))
    assert outcome.result == f'["{attempts.spec.run_id}",null,"{attempts.directory}"]'


def test_exception_is_a_failure_with_its_classes(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    outcome = attempts.execute(python("fails"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.EXCEPTION)
    assert (outcome.exception or "").split()[:2] == ["LookupError", "Exception"]
    assert (outcome.error or "").endswith("LookupError: nothing there")


def test_written_result_counts_as_well(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    assert attempts.execute(python("writes_result")).result == "7"


def test_condition_holds_for_functions_too(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    outcome = attempts.execute(python("add", only_if="false"))
    assert outcome.reason is Reason.CONDITION


def test_umask_is_as_for_commands(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    before = os.umask(0o077)
    try:
        assert attempts.execute(python("mask")).result == str(0o022)
    finally:
        os.umask(before)


def test_interpreter_stays_warm_and_is_replaced_in_time(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    async def scenario(slot: Slot) -> None:
        pids = [(await slot.execute(attempts.specify(python("me")))).result for _ in range(5)]
        assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4]

    inside(attempts, scenario, max_runs_per_child=3)


def test_large_interpreter_is_replaced(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    async def scenario(slot: Slot) -> None:
        pids = {(await slot.execute(attempts.specify(python("me")))).result for _ in range(2)}
        assert len(pids) == 2

    inside(attempts, scenario, max_rss_per_child=1)


def test_another_environment_of_start_needs_another_interpreter(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    async def scenario(slot: Slot) -> None:
        pids = {
            (await slot.execute(attempts.specify(python("me", env=env)))).result
            for env in ({}, {"PYTHONOPTIMIZE": "1"})
        }
        assert len(pids) == 2

    inside(attempts, scenario)


@pytest.mark.parametrize("setsid", [False, True])
def test_what_a_function_leaves_running_goes_with_its_interpreter(
    attempts: Attempts, python: Callable[..., JobDef], *, setsid: bool
) -> None:
    async def scenario(slot: Slot) -> None:
        outcome = await slot.execute(attempts.specify(python("leaves"), args=(setsid,)))
        assert outcome.kind is OutcomeKind.SUCCEEDED
        assert not alive(int(outcome.result or 0))
        assert not alive(outcome.pid or 0)
        assert (await slot.execute(attempts.specify(python("me")))).kind is OutcomeKind.SUCCEEDED

    inside(attempts, scenario)


@pytest.mark.parametrize("deaf", [False, True])
def test_function_without_end_is_killed_with_its_tree(
    attempts: Attempts, python: Callable[..., JobDef], *, deaf: bool
) -> None:
    async def scenario(slot: Slot) -> None:
        job = python("endless", stop_timeout=0.2)
        outcome = await slot.execute(attempts.specify(job, args=(deaf,), timeout=0.5))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert outcome.signal == (9 if deaf else 15)
        assert outcome.duration < 2
        assert not alive(attempts.pid_from("pid"))
        assert (await slot.execute(attempts.specify(python("me")))).kind is OutcomeKind.SUCCEEDED

    inside(attempts, scenario)


def test_revoked_function_ends(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    async def stop(slot: Slot) -> None:
        await until(lambda: attempts.pid_from("pid"))
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

    outcome = attempts.execute(python("endless"), meanwhile=stop)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
    assert not alive(attempts.pid_from("pid"))


def test_cancelled_function_ends(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    async def scenario(slot: Slot) -> None:
        attempt = asyncio.ensure_future(
            slot.execute(attempts.specify(python("endless"), args=(True,)))
        )
        await until(lambda: attempts.pid_from("pid"))
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert not alive(attempts.pid_from("pid"))

    inside(attempts, scenario)


@pytest.mark.parametrize("code", [0, 3])
def test_interpreter_that_ends_without_an_answer_is_a_failure(
    attempts: Attempts, python: Callable[..., JobDef], code: int
) -> None:
    outcome = attempts.execute(python("dies"), args=(code,))
    assert (outcome.kind, outcome.reason, outcome.exit_code) == (
        OutcomeKind.FAILED,
        Reason.EXIT,
        code,
    )
    assert outcome.error == f"the Python process ended before its function did: exit code {code}"


def test_interpreter_that_cannot_answer_is_killed(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    started = time.monotonic()
    outcome = attempts.execute(python("closes_everything"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SIGNAL)
    assert time.monotonic() - started < 10


def test_flood_of_a_function_is_cut(attempts: Attempts, python: Callable[..., JobDef]) -> None:
    outcome = attempts.execute(python("floods"), max_output=100_000)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert outcome.log_truncated
    assert attempts.log.endswith("y\nthe end\n")
    assert len(attempts.log) <= 100_000


def test_unknown_interpreter_is_a_clear_error(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    outcome = attempts.execute(python("me", interpreter="/no/such/venv"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
    assert "/no/such/venv" in (outcome.error or "")


def test_unknown_function_is_a_clear_error(
    attempts: Attempts, python: Callable[..., JobDef]
) -> None:
    outcome = attempts.execute(python("none"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.SPAWN)
    assert "'none'" in (outcome.error or "")
