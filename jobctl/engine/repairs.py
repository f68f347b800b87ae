"""Starts crashed pools again, and gives up those that crash again and again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine.crashes import QUICK, Crashes
from jobctl.errors import JobctlError
from jobctl.store.aio import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from jobctl.clock import Clock
    from jobctl.engine.pools import PoolHandle

log = logging.getLogger(__name__)


class Repairs:
    """What goes on for pools that have ended, a task for each.

    ``again`` starts a crashed pool under the same owner id, to go on with its journal; ``give_up``
    ends and takes back what it left; ``relieve`` has the store take no claim any more of a pool that
    ended in order. All are tried until they work. ``ours`` says whether a pool's id is one under
    which pools may still be started.
    """

    def __init__(
        self,
        *,
        again: Callable[[PoolHandle], Awaitable[None]],
        give_up: Callable[[PoolHandle], Awaitable[None]],
        relieve: Callable[[PoolHandle], Awaitable[None]],
        ours: Callable[[PoolHandle], bool],
        clock: Clock,
    ) -> None:
        self._again = again
        self._give_up = give_up
        self._relieve = relieve
        self._ours = ours
        self._clock = clock
        self._crashes: dict[str, Crashes] = {}
        """By owner id."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def begin(self, pool: PoolHandle) -> None:
        """Repair a pool whose process is gone; nothing happens after :meth:`close`."""
        if self._over:
            return
        log.error("pool %s ended unexpectedly: %s", pool.label(), pool.how())
        self._start(self._repair(pool))

    def follow_up(self, pool: PoolHandle) -> None:
        """See to what a pool that ended in order had claimed to the last; nothing after :meth:`close`."""
        if not self._over:
            self._start(self._until_relieved(pool))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, pool: PoolHandle) -> None:
        """Forget how often a pool crashed that is no more."""
        self._crashes.pop(pool.owner, None)

    def cancel(self) -> None:
        """Leave off what is under way."""
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Start nothing any more, not even in the place of what has died."""
        self._over = True
        self.cancel()

    async def _until_relieved(self, pool: PoolHandle) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._relieve(pool)
            except JobctlError as error:
                log.debug("pool %s: %s; asking again for what it had claimed", pool.name, error)
                await asyncio.sleep(backoff.next())
            else:
                return

    async def _repair(self, pool: PoolHandle) -> None:
        crashes = self._crashes.setdefault(pool.owner, Crashes())
        now = self._clock.monotonic()
        # One that was killed is not to blame for that.
        lived = QUICK if pool.killed else now - pool.born
        await asyncio.sleep(crashes.another(now, lived=lived))
        while True:
            try:
                if crashes.hopeless or not self._ours(pool):
                    log.error("pool %s does not come back; ending what it left", pool.owner)
                    await self._give_up(pool)
                else:
                    await self._again(pool)
            except (JobctlError, OSError) as error:
                log.warning("pool %s: %s; trying again", pool.name, error)
                await asyncio.sleep(crashes.backoff.next())
            else:
                return
