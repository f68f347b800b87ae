"""Taskiq: coroutines over a plain list, no results."""

from __future__ import annotations

import asyncio
import os

from counting import enter
from taskiq_redis import ListQueueBroker

TOGETHER = 100
"""Sent at once, each over a connection of its own."""

broker = ListQueueBroker(
    "unix://" + os.environ["PEER_SOCKET"],
    # It waits for messages without end: with the client's default of five seconds an idle worker
    # dies of the timeout and is started anew, over and over.
    socket_timeout=None,
)


@broker.task(task_name="noop")
async def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)


async def connect() -> None:
    """Open the connections."""
    await broker.startup()


async def submit_many(count: int) -> None:
    """Send many at once; it has no pipeline."""
    for start in range(0, count, TOGETHER):
        many = min(TOGETHER, count - start)
        await asyncio.gather(*(noop.kiq() for _ in range(many)))


async def submit_one(number: int) -> None:
    """Send one."""
    await noop.kiq(number)
