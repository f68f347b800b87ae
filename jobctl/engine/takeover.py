"""How a supervisor comes and goes.

First it ends and rescues what an earlier one of its state directory left behind.
The directory's lock proves that the earlier one is dead, so nothing has to be waited for but its
pools, which stop their attempts by themselves when their supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from jobctl.engine import leftovers
from jobctl.engine.rescuer import take_back
from jobctl.errors import JobctlError
from jobctl.store import membership

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.engine.lock import StateLock
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

POOLS_GONE = 15.0
"""Seconds that pools of an earlier supervisor get to end by themselves."""
LOOK_EVERY = 0.05
LEAVE_TRIES = 20
LEAVE_PAUSE = 0.1


async def take_over(
    lock: StateLock, *, spool: Path, store: AsyncStore, keys: Keys, clock: Clock
) -> None:
    """Return when nothing of an earlier supervisor runs, and its runs are taken back.

    ``spool`` is emptied: what is in it belongs to attempts that are gone.
    """
    earlier = str(lock.facts().get("supervisor", ""))
    deadline = clock.monotonic() + POOLS_GONE
    while not lock.acquire_pools():
        if clock.monotonic() > deadline:
            log.warning("pools of the earlier supervisor %s do not end; killing them", earlier)
            await asyncio.to_thread(leftovers.end_pools, lock.facts())
            deadline += POOLS_GONE
        await asyncio.sleep(LOOK_EVERY)
    _clear(spool)
    if not earlier:
        return
    ended = await asyncio.to_thread(leftovers.end, earlier)
    moved = await take_back(store, keys, supervisor=earlier)
    if ended or moved:
        log.warning(
            "supervisor %s ended without notice: took back %s runs, ended %d processes",
            earlier, moved, ended,
        )  # fmt: skip


def _clear(spool: Path) -> None:
    for path in spool.iterdir():
        with contextlib.suppress(OSError):
            path.unlink()


async def leave(store: AsyncStore, keys: Keys, *, supervisor: str) -> bool:
    """Take a supervisor that has stopped off the list; return whether the store knows."""
    for _ in range(LEAVE_TRIES):
        with contextlib.suppress(JobctlError):
            if await store.run(membership.leave(keys, supervisor=supervisor)) == 0:
                return True
            await take_back(store, keys, supervisor=supervisor)
        await asyncio.sleep(LEAVE_PAUSE)
    return False
