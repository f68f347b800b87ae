"""SAQ: coroutines, no results kept."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from counting import enter
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

# What it says of each job costs a third of its time.
logging.getLogger("saq").setLevel(logging.WARNING)

TOGETHER = 500
"""Enqueued at once, over as many connections as the queue allows itself."""

# Its from_url refuses unix:, its queue takes any client.
queue = RedisQueue(Redis.from_url("unix://" + os.environ["PEER_SOCKET"]))


async def noop(ctx: Any, *, number: int = -1) -> None:  # noqa: ANN401, ARG001 - its signature
    """Do nothing."""
    enter(number)


settings = {
    "queue": queue,
    "functions": [noop],
    "concurrency": int(os.environ.get("PEER_CONCURRENCY", "10")),
}


async def connect() -> None:
    """Open the connection."""
    await queue.connect()
    await queue.redis.ping()


async def submit_many(count: int) -> None:
    """Enqueue many at once; it has no pipeline."""
    for start in range(0, count, TOGETHER):
        many = min(TOGETHER, count - start)
        await asyncio.gather(*(queue.enqueue("noop", ttl=-1) for _ in range(many)))


async def submit_one(number: int) -> None:
    """Enqueue one; a ttl below zero keeps no result."""
    await queue.enqueue("noop", ttl=-1, number=number)
