"""The loop of a supervisor's duty."""

from __future__ import annotations

import asyncio

from jobctl.engine.service import Service


class Counting(Service):
    """Counts its turns, and waits for long between them."""

    name = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.turned_once = asyncio.Event()

    async def tick(self) -> float:
        self.turns += 1
        self.turned_once.set()
        return 3600.0


def test_duty_that_is_woken_and_stopped_in_one_moment_ends() -> None:
    async def story() -> int:
        service = Counting()
        service.start(lambda _error: None)
        await service.turned_once.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        service.wake()
        async with asyncio.timeout(10):
            await service.stop()
        return service.turns

    assert asyncio.run(story()) == 1


def test_woken_duty_takes_its_turn_at_once() -> None:
    async def story() -> int:
        service = Counting()
        service.start(lambda _error: None)
        await service.turned_once.wait()
        await asyncio.sleep(0)
        service.turned_once.clear()
        service.wake()
        async with asyncio.timeout(10):
            await service.turned_once.wait()
        await service.stop()
        return service.turns

    assert asyncio.run(story()) == 2
