"""When a burst (``jobctl daemon --burst``) has nothing left to do."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine.pools import queues_of
from jobctl.errors import JobctlError
from jobctl.store import queries

if TYPE_CHECKING:
    from jobctl.engine.fleet import Fleet
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

LOOK_EVERY = 0.1
RETRIES_SEEN = 1000
"""Entries of the timetable looked at for retries that are still to come."""


async def wait_idle(store: AsyncStore, keys: Keys, fleet: Fleet, config: Config) -> None:
    """Return when nothing is ready, parked, running or about to be retried.

    Runs that wait for a later time of their own do not hold it up.
    """
    while True:
        try:
            if await _idle(store, keys, fleet, config):
                return
        except JobctlError as error:
            log.debug("burst: %s", error)
        await asyncio.sleep(LOOK_EVERY)


async def _idle(store: AsyncStore, keys: Keys, fleet: Fleet, config: Config) -> bool:
    served = {queue for name in config.pools for queue in queues_of(config, name)}
    lengths = [
        queries.ready_length(keys, queue, priority)
        for queue in served
        for priority in queries.PRIORITIES
    ]
    lengths += [
        queries.parked_length(keys, limit) for limit in await store.run(queries.limit_sizes(keys))
    ]
    lengths += [queries.parked_length(keys, f"o:{job}") for job in config.jobs]
    if any(await store.run_many(lengths)):
        return False
    if any(await store.run_many([queries.owned(keys, owner) for owner in fleet.owners()])):
        return False
    waiting = await store.run(queries.due_ids(keys, most=RETRIES_SEEN))
    runs = await store.run_many([queries.run_or_broken(keys, run_id) for run_id in waiting])
    return not any(run is not None and run.attempt > 0 for run in runs)
