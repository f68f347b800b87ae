"""A shared interpreter that one function keeps busy: what becomes of that run, and of the others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from real_attempts import Attempts, alive, until
from shared_slots import Common

from jobctl.engine import shared_child, shared_leader
from jobctl.model.run import Outcome, OutcomeKind, Reason

MODULE = """
import asyncio, ctypes, os, time

def pid(): return os.getpid()
async def apid(): return os.getpid()
async def number(n): return n

def block(name):
    \"\"\"Keep the interpreter busy until there is a file: with threads that takes the GIL.\"\"\"
    open(name + ".here", "w").close()
    path = (name + ".go").encode()
    usleep, access = ctypes.PyDLL(None).usleep, ctypes.PyDLL(None).access
    library = ctypes.PyDLL(None)
    if name.startswith("gil"):
        library.sleep(60)
    while access(path, 0): time.sleep(0.005)
    return os.getpid()

async def ablock(name): return block(name)
async def waits():
    open("waits", "w").close()
    await asyncio.sleep(60)
async def late():
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        time.sleep(60)
def dies(): os._exit(3)
async def adies(): os._exit(3)
async def short(): await asyncio.sleep(0.15); return "whole"
"""


class Busy:
    """A pool of 12 slots, each a run in one interpreter."""

    def __init__(self, attempts: Attempts, mode: str) -> None:
        self.common = Common(attempts, mode, slots=12)
        self.common.write(MODULE)
        self.directory = attempts.directory

    def there(self, name: str) -> bool:
        return (self.directory / name).exists()

    def release(self, name: str) -> None:
        (self.directory / f"{name}.go").touch()

    async def begin(self, function: str, *args: object, slot: int = 0, **more: object) -> Begun:
        return asyncio.create_task(self.common.run(function, *args, slot=slot, **more))


Begun = asyncio.Task[Outcome]

modes = pytest.mark.parametrize(
    ("mode", "block", "name"), [("async", "ablock", "loop"), ("thread", "block", "gil")]
)


@modes
def test_blocking_run_is_killed_at_its_timeout_and_what_had_not_begun_runs_elsewhere(
    attempts: Attempts, mode: str, block: str, name: str
) -> None:
    busy = Busy(attempts, mode)

    async def story(common: Common) -> None:
        pid = await common.result("pid")
        blocking = await busy.begin(block, name, timeout=0.3, stop_timeout=0.1)
        await until(lambda: busy.there(f"{name}.here"))
        others = [await busy.begin("apid", slot=n) for n in range(1, 12)]

        outcomes = await asyncio.gather(*others)
        assert [one.kind for one in outcomes] == [OutcomeKind.SUCCEEDED] * 11
        assert pid not in {int(one.result or 0) for one in outcomes}
        outcome = await blocking
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert not alive(pid)

    busy.common.inside(story)


def test_what_had_begun_beside_a_blocking_run_is_lost_and_not_failed(attempts: Attempts) -> None:
    busy = Busy(attempts, "async")

    async def story(_: Common) -> None:
        waiting = await busy.begin("waits", slot=1)
        await until(lambda: busy.there("waits"))
        blocking = await busy.begin("ablock", "loop", timeout=0.1, stop_timeout=0.1)

        outcome = await waiting
        assert (outcome.kind, outcome.reason) == (OutcomeKind.LOST, Reason.LOST)
        assert "did not answer" in (outcome.error or "")
        assert (await blocking).reason is Reason.TIMEOUT

    busy.common.inside(story)


def test_loop_blocked_while_a_cancelled_run_tidies_up_is_killed_too(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_child, "SILENCE", 0.2)
    monkeypatch.setattr(shared_child, "PULSE", 0.05)
    busy = Busy(attempts, "async")

    async def story(common: Common) -> None:
        waiting = await busy.begin("waits", slot=1)
        await until(lambda: busy.there("waits"))

        # Its loop still answers when it is asked to stop, and not any more afterwards.
        outcome = await common.run("late", timeout=0.1, stop_timeout=0.1)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert (await waiting).kind is OutcomeKind.LOST

    busy.common.inside(story)


def test_frozen_interpreter_is_replaced(attempts: Attempts) -> None:
    busy = Busy(attempts, "thread")

    async def story(common: Common) -> None:
        pid = await common.result("pid")
        begun = await busy.begin("block", "one", timeout=0.1, stop_timeout=0.1)
        await until(lambda: busy.there("one.here"))
        os.kill(pid, signal.SIGSTOP)
        others = [await busy.begin("pid", slot=n) for n in (1, 2)]

        assert {(await one).kind for one in others} == {OutcomeKind.SUCCEEDED}
        assert (await begun).reason is Reason.TIMEOUT

    busy.common.inside(story)


@pytest.mark.parametrize(("mode", "dies"), [("async", "adies"), ("thread", "dies")])
def test_death_of_an_interpreter_costs_nothing_that_had_not_begun(
    attempts: Attempts, mode: str, dies: str
) -> None:
    busy = Busy(attempts, mode)

    async def story(common: Common) -> None:
        await common.result("pid")
        # More of them than interpreters that one run may use up by its own fault.
        deadly = [await busy.begin(dies, slot=n) for n in range(6)]
        others = [await busy.begin("number", n, slot=n) for n in range(6, 12)]

        results = [json.loads((await one).result or "null") for one in others]
        ends = [await one for one in deadly]
        if mode == "async":  # threads begin at once, so all of them are in it
            assert results == list(range(6, 12))
        assert {(one.kind, one.exit_code) for one in ends} == {(OutcomeKind.FAILED, 3)}

    busy.common.inside(story)


def test_run_that_waits_behind_a_blocking_one_can_be_revoked_at_once(attempts: Attempts) -> None:
    busy = Busy(attempts, "async")

    async def story(common: Common) -> None:
        blocking = await busy.begin("ablock", "loop")
        await until(lambda: busy.there("loop.here"))
        waiting = await busy.begin("number", 1, slot=1)
        await until(lambda: common.slots[1].started_at is not None)

        common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await waiting).kind is OutcomeKind.REVOKED
        busy.release("loop")
        assert (await blocking).kind is OutcomeKind.SUCCEEDED
        assert await common.result("number", 7) == 7

    busy.common.inside(story)


def test_waiting_runs_go_to_another_interpreter_after_a_while(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_leader, "PATIENCE", 0.2)
    busy = Busy(attempts, "async")

    async def story(common: Common) -> None:
        blocking = await busy.begin("ablock", "loop")
        await until(lambda: busy.there("loop.here"))
        others = await asyncio.gather(*(common.result("apid", slot=n) for n in range(1, 12)))

        assert not blocking.done()
        assert len(set(others)) == 1
        busy.release("loop")
        pid = await blocking
        assert pid.kind is OutcomeKind.SUCCEEDED
        assert json.loads(pid.result or "null") not in others

    busy.common.inside(story)
    (said,) = [one.getMessage() for one in caplog.records]
    assert "nothing begins in it" in said


def test_blocking_runs_do_not_multiply_interpreters_without_end(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_leader, "PATIENCE", 0.05)
    busy = Busy(attempts, "async")

    async def story(common: Common) -> None:
        blocking = [await busy.begin("ablock", f"b{n}", slot=n) for n in range(8)]
        shared = common.nursery.shared
        assert shared is not None
        await until(lambda: shared.children == 4)
        for n in range(8):
            busy.release(f"b{n}")

        outcomes = await asyncio.gather(*blocking)
        assert {one.kind for one in outcomes} == {OutcomeKind.SUCCEEDED}
        assert len({one.result for one in outcomes}) <= 4

    busy.common.inside(story)


def test_time_limits_count_from_the_beginning_of_the_function(attempts: Attempts) -> None:
    busy = Busy(attempts, "async")

    async def story(common: Common) -> None:
        blocking = await busy.begin("ablock", "loop")
        await until(lambda: busy.there("loop.here"))
        waiting = await busy.begin("short", slot=1, timeout=0.3, soft_timeout=0.25)
        await until(lambda: common.slots[1].started_at is not None)
        await asyncio.sleep(0.4)  # longer than it may take by itself
        assert not waiting.done()
        busy.release("loop")

        assert (await blocking).kind is OutcomeKind.SUCCEEDED
        outcome = await waiting
        assert (outcome.kind, outcome.result) == (OutcomeKind.SUCCEEDED, '"whole"')

    busy.common.inside(story)


def test_dead_childs_file_of_entries_is_closed(attempts: Attempts) -> None:
    busy = Busy(attempts, "thread")

    def files() -> int:
        here = Path("/proc/self/fd")
        return sum("entries" in str(one.readlink()) for one in here.iterdir() if one.is_symlink())

    async def story(common: Common) -> None:
        for _ in range(3):
            await common.run("dies")
        await common.result("pid")
        assert files() == 1

    busy.common.inside(story)
    assert files() == 0
