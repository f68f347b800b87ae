"""Loops of a pool that get stuck in a turn, or only wait between two."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.loops import Loops, Turn, no_silent_death
from jobctl.engine.watchdog import StuckError, Watchdog


class Worker:
    """A loop whose first turns never end."""

    def __init__(self, *, stuck: int) -> None:
        self.turn = Turn()
        self.stuck = stuck
        self.dropped = 0
        self.begun = 0
        self.worked = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        with self.turn:
            if self.stuck:
                self.stuck -= 1
                await asyncio.Event().wait()
        self.worked.set()
        await asyncio.Event().wait()

    def drop(self) -> None:
        self.dropped += 1


async def watch(worker: Worker, *, looks: int) -> list[StuckError]:
    given_up: list[StuckError] = []
    dog = Watchdog(clock=SYSTEM_CLOCK, on_stuck=given_up.append)
    loops = Loops(dog, on_end=lambda _task: None)
    loops.add("worker", worker.run, turn=worker.turn, longest=0.01, drop=worker.drop)
    for _ in range(looks):
        await asyncio.sleep(0.02)
        dog.look()
        if given_up:
            break
    await loops.close()
    return given_up


def test_a_loop_stuck_in_a_turn_is_begun_anew_without_its_connection():
    async def story() -> None:
        worker = Worker(stuck=1)
        assert await watch(worker, looks=20) == []
        assert worker.worked.is_set()
        assert (worker.begun, worker.dropped) == (2, 1)

    asyncio.run(story())


def test_a_loop_that_waits_between_turns_is_left_alone():
    async def story() -> None:
        worker = Worker(stuck=0)
        assert await watch(worker, looks=20) == []
        assert (worker.begun, worker.dropped) == (1, 0)

    asyncio.run(story())


def test_a_loop_that_is_stuck_again_is_given_up():
    async def story() -> None:
        (error,) = await watch(Worker(stuck=9), looks=100)
        assert str(error).startswith("worker has not turned")

    asyncio.run(story())


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_task_that_nobody_cancelled_and_that_ends_as_cancelled_is_a_bug(
    *, cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def waiting(other: asyncio.Future[None]) -> None:
        await asyncio.shield(other)

    async def story() -> None:
        other = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(waiting(other))
        task.add_done_callback(no_silent_death)
        await asyncio.sleep(0)
        (task if cancelled else other).cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)

    with contextlib.nullcontext() if cancelled else pytest.raises(SystemExit):
        asyncio.run(story())
    assert ("unexpected end of" in caplog.text) is not cancelled
