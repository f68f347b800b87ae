"""Keeps the number of a pool's slots where its policy and its operators want it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine.autoscale import Autoscale, Load
from jobctl.errors import JobctlError
from jobctl.store import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.clock import Clock
    from jobctl.engine.pool import Pool
    from jobctl.engine.slot import Slot
    from jobctl.model.pool import PoolDef
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

LOOK_EVERY = 1.0
"""Seconds between two looks of a pool with ``autoscale``; two commands to the store each."""
MOST_SLOTS = 10_000

log = logging.getLogger(__name__)


class Scaling:
    """The slots of one pool. ``make`` makes the slot of a number.

    ``on_resized`` is called at once when there are more or fewer: what runs is seen at once too.
    """

    def __init__(
        self,
        pool: Pool,
        definition: PoolDef,
        *,
        make: Callable[[int], Slot],
        store: AsyncStore,
        keys: Keys,
        clock: Clock,
        on_resized: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._name = definition.name
        self._make = make
        self._store = store
        self._keys = keys
        self._clock = clock
        self._on_resized = on_resized
        self.ordered = 0
        """Orders so far."""
        self._fixed = definition.python == "inline"
        self._policy: Autoscale | None = None
        if definition.min is not None:
            self._policy = Autoscale(
                definition.min, definition.slots, by=definition.autoscale or "depth"
            )

    @property
    def automatic(self) -> bool:
        """Whether the pool changes its size by itself."""
        return self._policy is not None

    @property
    def most(self) -> int:
        """Most slots it may have by itself."""
        return self._pool.size if self._policy is None else self._policy.most

    def change(self, by: int) -> None:
        """Add or take away slots, as an operator says; at least one stays.

        A pool whose functions never overlap keeps its one slot, whatever is said.
        """
        self.ordered += 1
        if self._fixed:
            log.warning(
                'pool %s: python = "inline" has one slot; the order was dropped', self._name
            )
            return
        least, most = (
            (1, MOST_SLOTS) if self._policy is None else (self._policy.least, self._policy.most)
        )
        self._resize(min(max(self._pool.size + by, least), most), why="as ordered")
        self._on_resized()  # who gave the order waits for it, also where another undoes it at once

    async def run(self) -> None:
        """Follow the policy, until cancelled."""
        if self._policy is None:
            return
        # 0.8 MB that no other pool needs.
        from psutil import cpu_percent  # noqa: PLC0415

        cpu_percent()  # the first answer is for the time since this one
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                load = await self._load(self._pool.pump.queues, cpu=cpu_percent)
            except JobctlError:
                continue  # without a store there is nothing to add slots for
            self._resize(self._policy.decide(load, now=self._clock.monotonic()), why="by its load")

    async def _load(self, queues: Sequence[str], *, cpu: Callable[[], float]) -> Load:
        calls = [
            queries.ready_length(self._keys, queue, priority)
            for queue in queues
            for priority in queries.PRIORITIES
        ]
        lengths = await self._store.run_many(calls)
        return Load(
            slots=self._pool.size,
            busy=self._pool.size - self._pool.free,
            waiting=sum(lengths) + len(self._pool.ledger.backlog),
            cpu=cpu() / 100,
        )

    def _resize(self, size: int, *, why: str) -> None:
        if size != self._pool.size:
            log.info("pool %s: %d slots instead of %d, %s", self._name, size, self._pool.size, why)
            self._pool.resize(size, self._make)
            self._on_resized()
