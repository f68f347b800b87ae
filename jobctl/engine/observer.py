"""Looks after what a pool runs: samples, progress, output, and claims that wait too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobctl.engine.host_journal import COMPACT_AT
from jobctl.engine.ledger import PATIENCE
from jobctl.engine.pump import RECONCILE_EVERY
from jobctl.engine.tree import TreeTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.pool import Pool
    from jobctl.engine.repose import Repose
    from jobctl.engine.slot import Slot

WATCH_EVERY = 0.25
SAMPLE_EVERY = 1.0


class Observer:
    """One loop beside the pool's work.

    ``tidy`` collects orphans that have ended; it is called about once a second.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        journal: HostJournal,
        tidy: Callable[[], None],
        repose: Repose,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._journal = journal
        self._tidy = tidy
        self._repose = repose
        self._clock = clock
        self._sampled = self._checked = clock.monotonic()
        self._compacted = 0

    async def run(self) -> None:
        """Look again and again, more often while there is something to see."""
        pool = self._pool
        while True:
            await asyncio.sleep(WATCH_EVERY if pool.busy or pool.ledger.backlog else PATIENCE * 2)
            now = self._clock.monotonic()
            pool.obey_lease()
            for held in pool.ledger.overdue(now):
                pool.pump.release(held.claim.id, held.claim.epoch)
            if now - self._checked >= RECONCILE_EVERY:
                self._checked = now
                if pool.ledger.known():
                    pool.pump.check()
            every = now - self._sampled >= SAMPLE_EVERY
            if every:
                self._sampled = now
                self._tidy()
                pool.rest(self._repose)
                self._prune()
            # The first look comes early, so that attempts below a second have a peak too.
            fresh = any(not held.sampled and held.pid for held in pool.ledger.running.values())
            table = TreeTable() if fresh or (every and pool.busy) else None
            for run_id, slot in list(pool.busy.items()):
                self._observe(run_id, slot, table, every=every)

    def _observe(self, run_id: str, slot: Slot, table: TreeTable | None, *, every: bool) -> None:
        pool = self._pool
        held = pool.ledger.running[run_id]
        progress = slot.poll_progress()
        if progress is not None:
            pool.pump.note(held, progress)
        held_up_by = slot.held_up_by()
        if held_up_by != held.held_up_by:
            held.held_up_by = held_up_by
            pool.pump.tell_held_up(run_id, held.claim.epoch, held_up_by)
        if pool.work.shipper is not None:
            pool.work.shipper.poll(run_id, held.attempt, slot)
        if table is not None and held.pid and (every or not held.sampled):
            held.sampled = True
            slot.sample(table)

    def _prune(self) -> None:
        """Keep the journal small: empty when nothing is open, else without what is settled."""
        if not self._journal.size:
            return
        if self._pool.settled:
            self._journal.forget()
        elif self._journal.size > max(COMPACT_AT, 2 * self._compacted):
            ledger = self._pool.ledger
            self._journal.compact(ledger.running, ledger.unsettled)
            self._compacted = self._journal.size
