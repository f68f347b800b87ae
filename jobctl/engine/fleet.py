"""All pools of a supervisor: keeps them running, replaces crashed ones, drains them at the end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine import leftovers
from jobctl.engine.pools import Identity, PoolHandle, queues_of
from jobctl.engine.rescuer import take_back
from jobctl.errors import JobctlError
from jobctl.model.config import to_plain
from jobctl.store import membership
from jobctl.store.aio import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

STEADY = 10.0
"""Seconds after which a pool counts as healthy, so that its next crash is answered quickly."""
HURRY_EXTRA = 30.0
"""Seconds beyond every grace after which a pool that does not end is killed."""


class Fleet:
    """The pools of one supervisor.

    ``on_change`` is told the process ids whenever they change, ``on_fenced`` when the store
    refuses one of them.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        store: AsyncStore,
        keys: Keys,
        on_change: Callable[[list[int]], None],
        on_fenced: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._store = store
        self._keys = keys
        self._on_change = on_change
        self._on_fenced = on_fenced
        self._clock = clock
        self._config: Config | None = None
        self._pools: dict[str, PoolHandle] = {}
        self._leaving: set[PoolHandle] = set()
        self._born: dict[str, float] = {}
        self._backoff: dict[str, Backoff] = {}
        self._serial = 0
        self._draining = False
        self._repairs: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Attempts that run now, as last reported."""
        return sum(pool.running for pool in self._all())

    @property
    def unrecorded(self) -> int:
        """Outcomes that the store has not taken yet, as last reported."""
        return sum(pool.unrecorded for pool in self._all())

    def load(self) -> dict[str, object]:
        """Return what each pool does, for the heartbeat."""
        assert self._config is not None  # noqa: S101 - set by start
        slots = {name: pool.slots for name, pool in self._config.pools.items()}
        return {
            "draining": self._draining,
            "unrecorded": self.unrecorded,
            "pools": {
                name: {"running": pool.running, "slots": slots.get(name, 0), "pid": pool.pid}
                for name, pool in self._pools.items()
            },
        }

    def owners(self) -> list[str]:
        """Owner ids of all pools, those that are being drained included."""
        return [pool.owner for pool in self._all()]

    def pids(self) -> list[int]:
        """Process ids of all pools."""
        return [pool.pid for pool in self._all() if pool.pid]

    async def start(self, config: Config) -> None:
        """Start a pool process for each ``[pools.*]``."""
        self._config = config
        for name in config.pools:
            await self._start_one(name)

    async def configure(self, config: Config) -> None:
        """Apply a new configuration: pools whose own definition changed are replaced gently."""
        old, self._config = self._config, config
        assert old is not None  # noqa: S101 - set by start
        for name, pool in list(self._pools.items()):
            if name not in config.pools or config.pools[name] != old.pools[name]:
                del self._pools[name]
                self._leaving.add(pool)
                pool.send({"do": "drain", "deadline": None})
            else:
                pool.send(
                    {
                        "do": "configure",
                        "config": to_plain(config),
                        "queues": queues_of(config, name),
                    }
                )
        for name in config.pools:
            if name not in self._pools:
                await self._start_one(name)

    async def readmit(self) -> None:
        """Tell a store that lost its data of the pools; what they run goes on."""
        for pool in self._all():
            await self._store.run(
                membership.add_pool(
                    self._keys, supervisor=self._identity.supervisor, owner=pool.owner
                )
            )
            pool.send({"do": "resume"})

    async def renew(self, identity: Identity) -> None:
        """Stop what runs, which others have taken over, and start pools under a new identity."""
        assert self._config is not None  # noqa: S101 - set by start
        self._identity = identity
        for name, pool in list(self._pools.items()):
            del self._pools[name]
            self._leaving.add(pool)
            pool.send({"do": "hurry"})
        for name in self._config.pools:
            await self._start_one(name)

    def revoke(self, run_id: str, epoch: int, order: str) -> None:
        """Pass a stop order on; only the pool that holds the run acts on it."""
        for pool in self._all():
            pool.send({"do": "revoke", "id": run_id, "epoch": epoch, "order": order})

    def hurry(self) -> None:
        """Stop everything that runs."""
        self._draining = True
        for pool in self._all():
            pool.send({"do": "hurry"})

    async def drain(self, deadline: float | None) -> None:
        """Let what runs finish for ``deadline`` seconds (``None``: for ever), then stop it; wait for the end."""
        self._draining = True
        for pool in self._all():
            pool.send({"do": "drain", "deadline": deadline})
        for repair in list(self._repairs):
            repair.cancel()
        waits = [pool.ended.wait() for pool in self._all()]
        if not waits:
            return
        limit = None if deadline is None else deadline + self._longest_grace() + HURRY_EXTRA
        try:
            async with asyncio.timeout(limit):
                await asyncio.gather(*waits)
        except TimeoutError:
            for pool in self._all():
                log.error("pool %s does not end; killing it", pool.name)  # noqa: TRY400 - nothing to trace
                pool.kill()
            await asyncio.gather(*(pool.ended.wait() for pool in self._all()))

    def _longest_grace(self) -> float:
        assert self._config is not None  # noqa: S101 - set by start
        return max((job.stop_timeout for job in self._config.jobs.values()), default=0.0)

    def _all(self) -> list[PoolHandle]:
        return [*self._pools.values(), *self._leaving]

    async def _start_one(self, name: str) -> None:
        assert self._config is not None  # noqa: S101 - set by start
        self._serial += 1
        owner = f"{self._identity.supervisor}/{name}.{self._serial}"
        await self._store.run(
            membership.add_pool(self._keys, supervisor=self._identity.supervisor, owner=owner)
        )
        pool = PoolHandle(name, owner, on_end=self._on_end, on_fenced=self._on_fenced)
        self._pools[name] = pool
        self._born[name] = self._clock.monotonic()
        await pool.start(self._config, self._identity)
        self._on_change(self.pids())

    def _on_end(self, pool: PoolHandle) -> None:
        self._leaving.discard(pool)
        current = self._pools.get(pool.name) is pool
        if current:
            del self._pools[pool.name]
        wanted = self._draining or not current
        if wanted and pool.finished and pool.returncode == 0:
            return
        log.error(
            "pool %s (pid %d) ended unexpectedly: %s", pool.name, pool.pid, _how(pool.returncode)
        )
        repair = asyncio.create_task(self._repair(pool, restart=current and not self._draining))
        self._repairs.add(repair)
        repair.add_done_callback(self._repairs.discard)

    async def _repair(self, pool: PoolHandle, *, restart: bool) -> None:
        """End what a crashed pool left, take its runs back, start another in its place."""
        backoff = self._backoff.setdefault(pool.name, Backoff())
        if self._clock.monotonic() - self._born.get(pool.name, 0.0) > STEADY:
            backoff.reset()
        await asyncio.to_thread(leftovers.end, pool.owner)
        while True:
            try:
                moved = await take_back(
                    self._store, self._keys, supervisor=self._identity.supervisor, owner=pool.owner
                )
                log.warning("pool %s: took back %s runs", pool.name, moved)
                if restart:
                    await asyncio.sleep(backoff.next())
                    await self._start_one(pool.name)
            except JobctlError as error:
                log.warning("pool %s: %s; trying again", pool.name, error)
                await asyncio.sleep(backoff.next())
            else:
                return


def _how(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit code {returncode}"
