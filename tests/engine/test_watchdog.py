"""Loops that stop turning, on a clock that the test moves and in real services."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jobctl.clock import Clock
from jobctl.engine.service import Service
from jobctl.engine.watchdog import StuckError, Watchdog
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from jobctl.store.embedded import EmbeddedStore

PING = Call(("PING",), lambda reply: reply)


class SetClock(Clock):
    """A clock that stands until it is set."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Loop:
    """A loop that turns when told to."""

    def __init__(self, clock: SetClock, dog: Watchdog, *, longest: float = 10.0) -> None:
        self.clock = clock
        self.recovered = 0
        self.turned_at = clock.at
        dog.watch("loop", longest=longest, turned_at=lambda: self.turned_at, recover=self._recover)

    def turn(self) -> None:
        self.turned_at = self.clock.at

    def _recover(self) -> None:
        self.recovered += 1


class Yard:
    """A watchdog that looks every five seconds."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.stuck: list[StuckError] = []
        self.dog = Watchdog(clock=self.clock, on_stuck=self.stuck.append)

    def pass_by(self, seconds: float, *turning: Loop) -> None:
        end = self.clock.at + seconds
        while self.clock.at < end:
            self.clock.at += 5
            for loop in turning:
                loop.turn()
            self.dog.look()


@pytest.fixture
def yard() -> Yard:
    return Yard()


def test_a_loop_that_turns_is_left_alone(yard: Yard):
    loop = Loop(yard.clock, yard.dog)
    yard.pass_by(1000, loop)
    assert loop.recovered == 0
    assert yard.dog.well


def test_a_loop_that_stands_for_three_times_its_wait_is_begun_anew(yard: Yard):
    loop = Loop(yard.clock, yard.dog)
    yard.pass_by(30)
    assert loop.recovered == 0
    yard.pass_by(5)
    assert loop.recovered == 1
    assert yard.dog.well
    yard.pass_by(1000, loop)
    assert loop.recovered == 1
    assert not yard.stuck


def test_a_loop_that_stands_still_after_that_ends_the_process(yard: Yard):
    loop = Loop(yard.clock, yard.dog)
    yard.pass_by(80)
    assert loop.recovered == 1
    assert not yard.dog.well
    assert [str(error) for error in yard.stuck] == [
        "loop has not turned for 35 s though it was started again"
    ]
    yard.pass_by(200)
    assert len(yard.stuck) == 1


def test_a_loop_that_went_on_gets_a_second_chance_again(yard: Yard):
    loop = Loop(yard.clock, yard.dog)
    for expected in range(1, 4):
        yard.pass_by(35)
        assert loop.recovered == expected
        yard.pass_by(10, loop)
    assert yard.dog.well


def test_a_process_that_was_stopped_blames_no_loop(yard: Yard):
    """After SIGCONT nobody has turned for long, the watchdog itself included."""
    loop = Loop(yard.clock, yard.dog)
    yard.pass_by(20, loop)
    yard.clock.at += 600
    yard.dog.look()
    yard.pass_by(25)
    assert loop.recovered == 0


def test_a_loop_that_is_forgotten_is_not_missed(yard: Yard):
    loop = Loop(yard.clock, yard.dog)
    yard.dog.forget("loop")
    yard.dog.forget("another")
    yard.pass_by(200)
    assert loop.recovered == 0


class Stuck(Service):
    """A duty that waits for what never comes, a number of times."""

    name = "stuck"
    longest_wait = 0.01

    def __init__(self, store: AsyncStore, times: int) -> None:
        super().__init__(store)
        self.store = store
        self.times = times
        self.done = asyncio.Event()

    async def tick(self) -> float:
        await self.store.run(PING)
        if self.times:
            self.times -= 1
            await asyncio.Event().wait()
        self.done.set()
        return 0.01


async def look_until(dog: Watchdog, over: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        while not over.is_set():
            dog.look()
            await asyncio.sleep(0.01)


def test_a_stuck_service_loses_its_connection_and_works_again(server: EmbeddedStore):
    async def story() -> None:
        stuck: list[StuckError] = []
        dog = Watchdog(clock=Clock(), on_stuck=stuck.append)
        async with AsyncStore(server.address) as store:
            service = Stuck(store, times=1)
            service.start(stuck.append, watchdog=dog)  # type: ignore[arg-type]
            await look_until(dog, service.done)
            await service.stop()
            assert store.generation == 2
            assert not stuck

    asyncio.run(story())


def test_a_service_that_sticks_again_is_given_up(server: EmbeddedStore):
    async def story() -> None:
        over = asyncio.Event()
        dog = Watchdog(clock=Clock(), on_stuck=lambda _error: over.set())
        async with AsyncStore(server.address) as store:
            service = Stuck(store, times=1000)
            service.start(lambda _error: None, watchdog=dog)
            await look_until(dog, over)
            await service.stop()
        assert not dog.well

    asyncio.run(story())
