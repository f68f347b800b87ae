"""What a pool has claimed: from the claim to the acknowledged settlement. Pure bookkeeping."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.engine.batch import Mark
    from jobctl.model.run import Request
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import Claim

SHORT_RUN = 0.05
"""Seconds; when runs take less on average, some are claimed ahead of free slots."""
AHEAD_PER_SLOT = 4
"""Enough to keep slots busy while the store syncs its file, which takes 4 ms and often more."""
AHEAD = 0.02
"""Seconds of work claimed ahead for each slot when runs are shorter than that …"""
AHEAD_MOST = 64
"""… but not more runs."""
CLAIM_MOST = 256
"""Runs in one claim: the store does nothing else meanwhile."""
PATIENCE = 0.25
"""Seconds a run claimed ahead may wait for a slot before it is given back."""
RECENT_MOST = 1000
"""Outcomes kept after they were acknowledged, in case a failover of the store loses them."""
RECENT_EXTRA = 500
"""Outcomes beyond them that go together."""
_WEIGHT = 0.1


@dataclass(eq=False)
class Held:
    """A claimed run and what this pool knows of it.

    Made for every run: what few need is that of the class until it is set.
    """

    claim: Claim
    request: Request
    claimed_at: float
    """Monotonic."""
    attempt: int
    """Number of the attempt this claim is for."""
    signed: int | None = None
    """When it was signed, in epoch seconds; ``None`` when it was not, or nobody knows any more."""
    last_start: float = 0.0
    """Until when it may be tried again, in epoch seconds; 0 when it is not signed."""
    pid: int = 0
    started_at: float = 0.0
    counted: bool = field(default=False, init=False)
    """True once this host has counted its start; that of a short run is counted with its end."""
    sampled: bool = field(default=False, init=False)
    """True once its process tree was looked at."""
    progress: str | None = field(default=None, init=False)
    """What this attempt last reported."""
    held_up_by: tuple[str, ...] | None = field(default=None, init=False)
    """Which runs keep its function from beginning, as last told to the store."""
    taken_over: bool = field(default=False, init=False)
    """True when another supervisor has it; it must not begin here, and must not go on."""
    stop_order: str | None = field(default=None, init=False)
    """``reason signal grace kill`` of a revoke that came before the start."""

    def mark(self) -> Mark:
        """Return what tells the store that this attempt has begun."""
        return self.claim.id, self.claim.epoch, self.attempt, self.started_at, self.pid


class Recent(NamedTuple):
    """An outcome that the store has taken, and when, by the monotonic clock."""

    item: Settlement
    at: float


@dataclass(slots=True)
class Ledger:
    """Runs held by this pool, in three places: waiting for a slot, running, waiting to be settled."""

    slots: int
    prefetch: int = 0
    """Runs claimed ahead for each slot whatever they take, and kept until there is one."""
    backlog: deque[Held] = field(default_factory=deque)
    running: dict[str, Held] = field(default_factory=dict)
    unsettled: dict[str, Settlement] = field(default_factory=dict)
    recent: dict[str, Recent] = field(default_factory=dict)
    """Acknowledged outcomes, oldest first."""
    _average: float = 1.0

    def wanted(self, *, idle: int, coming: int = 0) -> int:
        """Return how many runs to claim now: free slots, and some ahead while runs are short.

        ``coming`` are claimed already.
        """
        ahead = self.slots * self.prefetch
        if self._average < SHORT_RUN:
            short = min(AHEAD_MOST, int(AHEAD / max(self._average, 1e-6)))
            ahead = max(ahead, self.slots * max(AHEAD_PER_SLOT, short))
        return max(0, min(CLAIM_MOST, idle + ahead - len(self.backlog) - coming))

    def finished(self, duration: float) -> None:
        """Take into account for how many seconds an attempt that has ended had its slot."""
        self._average += _WEIGHT * (min(duration, 1.0) - self._average)

    def overdue(self, now: float) -> list[Held]:
        """Remove and return the backlog when its oldest run has waited too long."""
        if self.prefetch or not self.backlog or now - self.backlog[0].claimed_at < PATIENCE:
            return []
        self._average = 1.0
        out = list(self.backlog)
        self.backlog.clear()
        return out

    def drop(self, held: Held) -> bool:
        """Forget a run that waits; returns whether it still did."""
        there = held in self.backlog
        if there:
            self.backlog.remove(held)
        return there

    def acknowledged(self, items: Iterable[Settlement], *, now: float) -> None:
        """Remember outcomes that the store has taken, for a while."""
        recent = self.recent
        for item in items:
            recent.pop(item.id, None)
            recent[item.id] = Recent(item, now)
        if len(recent) > RECENT_MOST + RECENT_EXTRA:
            # Many at a time: the first one of a dict is looked for among all that have been deleted.
            for run_id in [*islice(recent, len(recent) - RECENT_MOST)]:
                del recent[run_id]

    def find(self, run_id: str) -> Held | None:
        """Return the held run with this id, unless it only waits to be settled."""
        held = self.running.get(run_id)
        if held is None:
            held = next((item for item in self.backlog if item.claim.id == run_id), None)
        return held

    def known(self) -> set[str]:
        """Return the ids of all runs this pool answers for."""
        return {*self.running, *self.unsettled, *(held.claim.id for held in self.backlog)}
