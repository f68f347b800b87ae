"""Makes due runs ready, and takes back what dead supervisors had claimed.

Death is judged by watching: a supervisor whose beat counter did not change for a full TTL is dead,
if this observer watched all the time. It did not when its connection was made anew, when it did
not get to look for a while (it or its host was stopped, or the store did not answer), or when the
store did not take its own beats either. Then it starts to watch anew. No clocks are compared, so
neither a clock jump nor an outage of the store kills anybody.
"""

from __future__ import annotations

import json
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
GAP = 15.0
"""Seconds between two looks, or two beats of our own, after which we have not watched."""
LONGEST_WAIT = 15.0


class Promoter(Service):
    """Moves due runs to their queues at their time, expires what is too late."""

    name = "promoter"
    longest_wait = LONGEST_WAIT

    def __init__(self, store: AsyncStore, keys: Keys) -> None:
        super().__init__(store)
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
    """Watches the other supervisors and rescues the runs of dead ones.

    ``ttl`` is in seconds, as :data:`TTL`; looks and gaps are shortened with it.
    """

    name = "rescuer"
    longest_wait = LOOK_EVERY

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        supervisor: str,
        clock: Clock,
        ttl: float = TTL,
    ) -> None:
        super().__init__(store)
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._clock = clock
        self._ttl = ttl
        self._gap = GAP * ttl / TTL
        self._seen: dict[str, _Observation] = {}
        self._deciding: set[str] = set()
        self._own = _Observation("", 0.0)
        self._generation = -1
        self._looked_at = 0.0

    @property
    def alive(self) -> list[str]:
        """Ids of the other supervisors that show life."""
        return list(self._seen)

    @property
    def deciding(self) -> list[str]:
        """Ids of those among them that decide schedules.

        Not one that drains or leaves them to others, nor one that is dead while its pool sees its
        attempts to their ends and beats in its name.
        """
        return [sid for sid in self._seen if sid in self._deciding]

    async def tick(self) -> float:  # noqa: D102 - as in Service
        others = [
            sid
            for sid in await self._store.run(queries.supervisors(self._keys))
            if sid != self._supervisor
        ]
        own, *facts = await self._store.run_many(
            [queries.supervisor(self._keys, sid) for sid in (self._supervisor, *others)]
        )
        now = self._clock.boottime()
        self._watch_myself(own.get("beat", ""), now)
        for sid, fact in zip(others, facts, strict=True):
            beat = fact.get("beat", "")
            seen = self._seen.get(sid)
            if seen is None or seen.beat != beat:
                self._seen[sid] = _Observation(beat, now)
            elif now - seen.since >= self._ttl or fact.get("st") == "lost":
                await self._rescue(sid, beat, fact.get("host", "?"))
                self.turned()
        for sid in self._seen.keys() - set(others):
            del self._seen[sid]
        self._deciding = {
            sid for sid, fact in zip(others, facts, strict=True) if _decides(fact.get("load", ""))
        }
        return LOOK_EVERY * self._ttl / TTL

    def _watch_myself(self, own_beat: str, now: float) -> None:
        """Forget what was seen of others when we were not fit to judge them since.

        Called once everything was read: the connection may have been made anew meanwhile. A store
        that refuses beats (its disk is full, it lacks replicas) still answers who asks, so that
        everybody looks dead; then our own beat stands still too.
        """
        if own_beat != self._own.beat:
            self._own = _Observation(own_beat, now)
        unbroken = self._store.generation == self._generation
        watched = now - self._looked_at <= self._gap
        beats = now - self._own.since <= self._gap
        self._generation = self._store.generation
        self._looked_at = now
        if not (unbroken and watched and beats):
            self._seen.clear()

    async def _rescue(self, sid: str, beat: str, host: str) -> None:
        moved = await take_back(self._store, self._keys, supervisor=sid, seen_beat=beat)
        if moved is None:
            return
        log.warning("supervisor %s on %s is dead; took back %d runs", sid, host, moved)
        self._seen.pop(sid, None)


def _decides(load: str) -> bool:
    """Tell whether a supervisor said at its last beat that it decides schedules."""
    try:
        said = json.loads(load)
    except ValueError:
        return False
    return isinstance(said, dict) and "schedules" in said and not said.get("draining")


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
