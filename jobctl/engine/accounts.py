"""Whether the store and a pool agree on what the pool has claimed, and what to do when not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.returned import is_same
from jobctl.store import membership, queries, transitions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.engine.ledger import Ledger
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import ClaimReply

_log = logging.getLogger(__name__)

LAG_MOST = 300.0
"""Seconds by which a server that becomes the primary is behind at the most, we suppose."""
MOST = 100
"""Runs that one call takes back."""


class _Lost(NamedTuple):
    """A claim of a process that died."""

    epoch: int
    begun: bool
    """Whether its run had been started. One of a short run is told of with its end; but the host
    journal knows it, and those that it knows are not lost."""


class Accounts:
    """Compares a pool's own set in the store with its ledger.

    ``release`` gives a claim back, ``on_claims`` takes runs of ours that the store took for
    waiting, ``on_stale`` is told of runs that are not ours any more, ``on_gone`` of outcomes that
    the store had taken and has no record of. ``hush`` returns when no claim of somebody else's is
    under way.
    """

    def __init__(  # noqa: PLR0913 - the seams of the pump
        self,
        store: AsyncStore,
        keys: Keys,
        ledger: Ledger,
        *,
        supervisor: str,
        owner: str,
        release: Callable[[str, int], None],
        on_claims: Callable[[ClaimReply], None],
        on_stale: Callable[[str, int], None],
        on_gone: Callable[[Settlement], None],
        hush: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._keys = keys
        self._ledger = ledger
        self._supervisor = supervisor
        self._owner = owner
        self._release = release
        self._on_claims = on_claims
        self._on_stale = on_stale
        self._on_gone = on_gone
        self._hush = hush
        self._generation = 0
        self.inherited = False
        """True until what a dead process of this pool had claimed has been looked at."""

    @property
    def moved(self) -> bool:
        """Whether the connection is another one than at the last look."""
        return self._store.generation != self._generation

    async def settle(self, releasing: set[str]) -> None:
        """Find claims whose answer was lost, outcomes the store has lost, and runs taken from us.

        ``releasing`` are ids on their way back.
        """
        if self.moved:
            # Noted afterwards: what was refused, as by a store that loads, is asked again.
            generation = self._store.generation
            await self._miss_outcomes()
            self._generation = generation
        # What is claimed and begins while we ask is in none of the answers.
        running = {run_id: held.claim.epoch for run_id, held in self._ledger.running.items()}
        waiting = [(held, held.claim) for held in self._ledger.backlog]
        owned = set(await self._store.run(queries.owned(self._keys, self._owner)))
        for held, claim in waiting:
            # It is in its queue again, or somebody else has it: it must not begin here as well.
            if claim.id not in owned and held.claim is claim and self._ledger.drop(held):
                _log.warning("run %s: the store has lost that it was claimed here", claim.id)
        unknown = owned - self._ledger.known() - releasing
        if unknown:
            await self._hush()  # it may be a claim whose answer is on its way
            unknown -= self._ledger.known()
        found = [(run_id, await self._lost_claim(run_id)) for run_id in unknown]
        lost = [(run_id, claim.epoch) for run_id, claim in found if claim is not None]
        for start in range(0, len(lost), MOST):
            await self._store.run(
                membership.rescue(
                    self._keys,
                    supervisor=self._supervisor,
                    owner=self._owner,
                    items=lost[start : start + MOST],
                )
            )
        if lost:
            begun = sum(claim is not None and claim.begun for _, claim in found)
            _log.warning(
                "taken back from a process that died: %d run%s under way, %d only claimed",
                begun, " that was" if begun == 1 else "s that were", len(lost) - begun,
            )  # fmt: skip
        self.inherited = False
        for run_id, epoch in running.items():
            over = run_id not in self._ledger.running or run_id in self._ledger.unsettled
            if over or run_id in owned:
                continue
            known = await self._store.run(queries.exists(self._keys, run_id))
            if known and not await self._taken_again(run_id):
                self._on_stale(run_id, epoch)

    async def _miss_outcomes(self) -> None:
        """After a new connection, which may lead to another server: look for what it has lost.

        Nobody else would miss a run that had ended.
        """
        since = SYSTEM_CLOCK.monotonic() - LAG_MOST
        recent = [one.item for one in self._ledger.recent.values() if one.at > since]
        items = [item for item in recent if item.stays]
        calls = [queries.exists(self._keys, item.id) for item in items]
        for item, there in zip(items, await self._store.run_many(calls), strict=True):
            if not there:
                del self._ledger.recent[item.id]
                self._on_gone(item)

    async def _taken_again(self, run_id: str) -> bool:
        """Claim a run that is under way here if the store has it waiting; tell whether it did."""
        reply = await self._store.run(
            transitions.claim_again(
                self._keys, supervisor=self._supervisor, owner=self._owner, ids=[run_id]
            )
        )
        self._on_claims(reply)
        return bool(reply.claims)

    async def _lost_claim(self, run_id: str) -> _Lost | None:
        """Deal with a run that the store says we hold; return the claim if it is to be taken back."""
        run = await self._store.run(queries.run_or_broken(self._keys, run_id))
        if run is None or run.owner != self._owner or run.letter not in {"c", "r"}:
            # Only the entry in our set is removed.
            self._release(run_id, 0)
            return None
        recent = self._ledger.recent.get(run_id)
        item = None if recent is None else recent.item
        if item is not None and item.epoch == run.epoch and is_same(item, run.submitted_at):
            _log.warning("run %s: the store has lost its outcome; sending it again", run_id)
            self._ledger.unsettled[run_id] = item
            return None
        if run.letter == "c" and not self.inherited:
            _log.info("run %s: its claim was never answered; giving it back", run_id)
            self._release(run_id, run.epoch)
            return None
        return _Lost(run.epoch, begun=run.letter == "r")
