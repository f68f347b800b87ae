"""arq: coroutines, no results kept, polled often."""

from __future__ import annotations

import asyncio
import os
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings
from counting import enter

TOGETHER = 100
"""Enqueued at once, each over a connection of its own."""


# It tells of each run twice: a third of its time.
QUIET = {"version": 1, "loggers": {"arq": {"level": "ERROR"}}}


async def noop(ctx: Any, number: int = -1) -> None:  # noqa: ANN401, ARG001 - its signature
    """Do nothing."""
    enter(number)


class WorkerSettings:
    """The worker."""

    functions: ClassVar = [noop]
    redis_settings = RedisSettings(unix_socket_path=os.environ["PEER_SOCKET"])
    max_jobs = int(os.environ.get("PEER_CONCURRENCY", "10"))
    # It only looks at its queue so often: the default half second is its latency, and its rate.
    poll_delay = 0.005
    # Looks at more than it can run at once, so that the next ones are known.
    queue_read_limit = 100
    keep_result = 0
    log_results = False


async def connect() -> None:
    """Open the connections."""
    global _pool  # noqa: PLW0603 - one process, one pool
    _pool = await create_pool(WorkerSettings.redis_settings)


async def submit_many(count: int) -> None:
    """Enqueue many at once; it has no pipeline."""
    for start in range(0, count, TOGETHER):
        many = min(TOGETHER, count - start)
        await asyncio.gather(*(_pool.enqueue_job("noop") for _ in range(many)))


async def submit_one(number: int) -> None:
    """Enqueue one."""
    await _pool.enqueue_job("noop", number)
