"""Nothing of an attempt survives it: limits, stops, and processes that try to get away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from real_attempts import Attempts, alive, own_children, until

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.slot import Slot
from jobctl.engine.tree import TreeTable
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.model.run import Outcome

ESCAPES = {
    "in the background": "sleep 60 & echo $! > pid",
    "in another session": "setsid sh -c 'echo $$ > pid; exec sleep 60' &",
    "twice forked": "(setsid sh -c 'sleep 60 & echo $! > pid' &)",
    "deaf": "setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > pid; while :; do sleep 1; done' &",
    "stopped": "sh -c 'echo $$ > pid; kill -STOP $$' &",
    "without environment": "(setsid env -i sh -c 'echo $$ > pid; sleep 60; :' &)",
}
WRITTEN = "while [ ! -s pid ]; do sleep 0.01; done; "


def a_job(attempts: Attempts, command: str, **more: object) -> JobDef:
    return JobDef(name="job", command=command, cwd=str(attempts.directory), **more)


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_nothing_outlives_a_normal_end(attempts: Attempts, escape: str) -> None:
    outcome = attempts.execute(a_job(attempts, f"{escape}\n{WRITTEN}echo done"))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.SUCCEEDED, 0)
    assert attempts.pid_from("pid") > 0
    assert not alive(attempts.pid_from("pid"))


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_nothing_outlives_a_timeout(attempts: Attempts, escape: str) -> None:
    job = a_job(attempts, f"trap '' TERM\n{escape}\n{WRITTEN}sleep 60", stop_timeout=0.3)
    started = time.monotonic()
    outcome = attempts.execute(job, timeout=0.5)
    assert time.monotonic() - started < 3
    assert (outcome.kind, outcome.reason, outcome.signal) == (
        OutcomeKind.FAILED,
        Reason.TIMEOUT,
        signal.SIGKILL,
    )
    assert 0.7 < outcome.duration < 2
    assert attempts.pid_from("pid") > 0
    assert not alive(attempts.pid_from("pid"))


def test_kernels_without_lists_of_children_are_searched(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("processes", "tree"):
        monkeypatch.setattr(f"jobctl.engine.{module}.kernel_lists_children", lambda: False)
    escape = ESCAPES["in another session"]
    outcome = attempts.execute(a_job(attempts, f"{escape}\n{WRITTEN}true"))
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert not alive(attempts.pid_from("pid"))


def test_process_that_may_not_be_signalled_holds_nobody_up(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is for a daemon that is not root and a job that calls sudo."""

    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    async def scenario(slot: Slot) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr("jobctl.engine.tree.signal.pidfd_send_signal", refuse)
            patch.setattr("jobctl.engine.processes.os.killpg", refuse)
            outcome = await slot.execute(attempts.specify(job))
        survivor = attempts.pid_from("pid")
        assert alive(survivor)
        os.kill(survivor, signal.SIGKILL)
        os.waitpid(survivor, 0)  # noqa: ASYNC222 - it is dead
        return outcome

    job = a_job(attempts, f"{ESCAPES['in another session']}\n{WRITTEN}true")
    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED
    survivor = attempts.pid_from("pid")
    assert caplog.text.count(f"process {survivor} runs as somebody else") == 1


def test_job_that_obeys_the_stop_signal_is_not_killed(attempts: Attempts) -> None:
    outcome = attempts.execute(
        a_job(attempts, "trap 'echo bye; exit 3' TERM; sleep 60 & wait"), timeout=0.2
    )
    assert (outcome.reason, outcome.exit_code) == (Reason.TIMEOUT, 3)
    assert attempts.log == "bye\n"
    assert outcome.duration < 2


def test_stop_signal_and_grace_reach_the_whole_tree(attempts: Attempts) -> None:
    worker = "trap 'sleep 0.3; echo cleaned up; exit' HUP; echo ready; while :; do sleep 0.02; done"
    job = a_job(attempts, f'setsid sh -c "{worker}" & wait; exit 1', stop_signal="HUP")

    async def stop(slot: Slot) -> None:
        await until(lambda: slot.log_size > 0, what="a ready worker")
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

    outcome = attempts.execute(job, meanwhile=stop)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
    assert attempts.log.endswith("cleaned up\n")


def test_soft_timeout_signals_once_and_does_not_kill(attempts: Attempts) -> None:
    command = "trap 'echo soon' TERM; n=0; while [ $n -lt 30 ]; do sleep 0.02; n=$((n+1)); done"
    job = a_job(attempts, command, soft_timeout=0.1, stop_timeout=0.0)
    outcome = attempts.execute(job)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert attempts.log.count("soon") == 1


def test_stopped_job_gets_its_signal_at_once(attempts: Attempts) -> None:
    job = a_job(attempts, "trap 'echo awake; exit' TERM; echo ready; kill -STOP $$")

    async def stop(slot: Slot) -> None:
        await until(lambda: slot.log_size > 0)
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

    outcome = attempts.execute(job, meanwhile=stop)
    assert attempts.log == "ready\nawake\n"
    assert outcome.duration < 5


def test_second_stop_hurries(attempts: Attempts) -> None:
    job = a_job(attempts, "trap '' TERM; echo ready; while :; do sleep 0.1; done")

    async def stop(slot: Slot) -> None:
        await until(lambda: slot.log_size > 0)
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)

    outcome = attempts.execute(job, meanwhile=stop)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
    assert outcome.duration < 5


def test_stop_without_kill_only_sends_its_signal(attempts: Attempts) -> None:
    job = a_job(
        attempts,
        "trap 'echo got it; touch got' USR1; echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 0",
        stop_timeout=0.0,
    )

    async def stop(slot: Slot) -> None:
        await until(lambda: slot.log_size > 0)
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER, signal="USR1", kill=False)
        await until((attempts.directory / "got").exists)
        (attempts.directory / "go").touch()

    outcome = attempts.execute(job, meanwhile=stop)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REVOKED, 0)
    assert attempts.log.startswith("ready\n")
    assert attempts.log.count("got it") == 1


def test_stop_before_the_start_keeps_it_from_starting(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        job = a_job(attempts, "touch ran", only_if="echo asked; sleep 60")
        attempt = asyncio.ensure_future(slot.execute(attempts.specify(job)))
        await until(lambda: slot.log_size > 0, what="the question")
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        return await attempt

    outcome = attempts.inside(scenario)
    assert (outcome.kind, outcome.pid, outcome.started_at) == (OutcomeKind.REVOKED, None, 0)
    assert not (attempts.directory / "ran").exists()


def test_stop_of_an_idle_slot_does_nothing(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        return await slot.execute(attempts.specify("true"))

    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED


def test_cancelled_attempt_takes_its_tree_along(attempts: Attempts) -> None:
    command = f"trap '' TERM; {ESCAPES['in another session']} {WRITTEN} touch ready; sleep 60"

    async def scenario(slot: Slot) -> Outcome:
        attempt = asyncio.ensure_future(slot.execute(attempts.specify(a_job(attempts, command))))
        await until((attempts.directory / "ready").exists)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert not alive(attempts.pid_from("pid"))
        return await slot.execute(attempts.specify("true"))

    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED


def test_fork_bomb_is_ended(attempts: Attempts) -> None:
    bomb = "f() { n=$1; [ $n -gt 7 ] && sleep 60; f $((n+1)) & f $((n+1)); }; trap '' TERM; f 0"
    job = a_job(attempts, bomb, stop_timeout=0.1)
    started = time.monotonic()
    outcome = attempts.execute(job, timeout=0.3)
    assert outcome.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 10


def test_survivor_cannot_write_into_the_next_log(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        # Its leftover holds the spool open until it is killed.
        await slot.execute(attempts.specify(a_job(attempts, ESCAPES["deaf"] + "\n" + WRITTEN)))
        spec = attempts.spec = attempts.specify("echo mine")
        return await slot.execute(spec)

    attempts.inside(scenario)
    assert attempts.log == "mine\n"


def test_other_attempts_keep_their_processes(attempts: Attempts) -> None:
    """An orphan that hides whose it is dies with the last attempt it may belong to."""

    async def scenario() -> None:
        place = Workplace.open(dirs=attempts.dirs, clock=SYSTEM_CLOCK)
        long, short = (Slot(name=f"test.{number}", workplace=place) for number in range(2))
        command = f"{ESCAPES['without environment']}\n{WRITTEN}touch ready\n"
        command += "while [ ! -e go ]; do sleep 0.01; done"
        waiting = asyncio.ensure_future(long.execute(attempts.specify(a_job(attempts, command))))
        await until((attempts.directory / "ready").exists)
        for _ in range(3):
            await short.execute(attempts.specify("sleep 0.01 & true"))
        assert alive(attempts.pid_from("pid"))
        (attempts.directory / "go").touch()
        await waiting
        assert not alive(attempts.pid_from("pid"))
        place.close()

    asyncio.run(scenario())


def test_dead_orphans_are_reaped_while_the_attempt_runs(attempts: Attempts) -> None:
    before = own_children()
    command = "for n in 1 2 3; do (setsid sh -c 'sleep 0.05; :' &); done; touch ready; sleep 60"

    async def watch(slot: Slot) -> None:
        await until((attempts.directory / "ready").exists)
        await until(lambda: len(own_children() - before) == 4, what="three orphans")

        def swept() -> bool:
            slot.sample(TreeTable())
            return len(own_children() - before) == 1

        await until(swept, what="the end of three orphans")
        slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

    attempts.execute(a_job(attempts, command), meanwhile=watch)


def test_children_of_the_daemon_itself_are_left_alone(attempts: Attempts) -> None:
    async def scenario(slot: Slot) -> Outcome:
        own = await asyncio.create_subprocess_exec("sleep", "60")
        outcome = await slot.execute(attempts.specify("sleep 0.02 & true"))
        assert alive(own.pid)
        own.kill()
        await own.wait()
        return outcome

    assert attempts.inside(scenario).kind is OutcomeKind.SUCCEEDED
