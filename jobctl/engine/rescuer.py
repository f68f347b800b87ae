"""Makes due runs ready, and takes back what dead supervisors had claimed.

Death is judged by watching: a supervisor whose beat counter did not change for a full TTL of this
observer's own unbroken connection is dead. No clocks are compared, and an observer that was cut
off itself starts to watch anew, so neither a clock jump nor an outage of the store kills anybody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine.service import Service
from jobctl.store import membership, queries, transitions

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

TTL = 30.0
"""Seconds without a new beat after which a supervisor is dead."""
LOOK_EVERY = 5.0
LONGEST_WAIT = 15.0


class Promoter(Service):
    """Moves due runs to their queues at their time, expires what is too late."""

    name = "promoter"

    def __init__(self, store: AsyncStore, keys: Keys) -> None:
        super().__init__()
        self._store = store
        self._keys = keys

    async def tick(self) -> float:  # noqa: D102 - as in Service
        reply = await self._store.run(transitions.promote(self._keys))
        if reply.again:
            return 0.0
        if reply.next_due is None:
            return LONGEST_WAIT
        return min(LONGEST_WAIT, max(0.0, reply.next_due - reply.now) + 0.001)


@dataclass(slots=True)
class _Observation:
    beat: str
    since: float


class Rescuer(Service):
    """Watches the other supervisors and rescues the runs of dead ones."""

    name = "rescuer"

    def __init__(self, store: AsyncStore, keys: Keys, *, supervisor: str, clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._clock = clock
        self._seen: dict[str, _Observation] = {}
        self._generation = -1

    @property
    def alive(self) -> list[str]:
        """Ids of the other supervisors that show life."""
        return list(self._seen)

    async def tick(self) -> float:  # noqa: D102 - as in Service
        others = [
            sid
            for sid in await self._store.run(queries.supervisors(self._keys))
            if sid != self._supervisor
        ]
        if self._store.generation != self._generation:
            self._generation = self._store.generation
            self._seen.clear()
        facts = await self._store.run_many([queries.supervisor(self._keys, sid) for sid in others])
        now = self._clock.monotonic()
        for sid, fact in zip(others, facts, strict=True):
            beat = fact.get("beat", "")
            seen = self._seen.get(sid)
            if seen is None or seen.beat != beat:
                self._seen[sid] = _Observation(beat, now)
            elif now - seen.since >= TTL or fact.get("st") == "lost":
                await self._rescue(sid, beat, fact.get("host", "?"))
        for sid in self._seen.keys() - set(others):
            del self._seen[sid]
        return LOOK_EVERY

    async def _rescue(self, sid: str, beat: str, host: str) -> None:
        moved = await take_back(self._store, self._keys, supervisor=sid, seen_beat=beat)
        if moved is None:
            return
        log.warning("supervisor %s on %s is dead; took back %d runs", sid, host, moved)
        self._seen.pop(sid, None)


async def take_back(
    store: AsyncStore, keys: Keys, *, supervisor: str, seen_beat: str = "", owner: str = ""
) -> int | None:
    """Rescue everything of a supervisor, or of one owner of it; return how many runs moved.

    ``None`` when it showed life since ``seen_beat``.
    """
    total = 0
    while True:
        reply = await store.run(
            membership.rescue(keys, supervisor=supervisor, seen_beat=seen_beat, owner=owner)
        )
        if not reply.fenced:
            return None
        total += reply.moved
        if reply.left == 0:
            return total
