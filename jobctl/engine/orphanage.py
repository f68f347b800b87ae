"""What a pool does while it has no supervisor: it keeps the lease, so that nobody takes its runs.

Every host beats through its supervisor; when that is dead, but its pools are not, the work still
goes on, and must not be started elsewhere. So the pools beat in its name until a new supervisor of
the same state directory comes, or until nothing runs any more. Orders to stop a run are heard too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from jobctl.engine.host_journal import since_boot
from jobctl.engine.orders import revocation
from jobctl.errors import JobctlError
from jobctl.store import membership

if TYPE_CHECKING:
    from jobctl.engine.pool import Pool
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

_log = logging.getLogger(__name__)

CALL_EVERY = 0.1
"""Seconds between two calls for the supervisor."""
BEAT_EVERY = 5.0
PATIENCE = 60.0
"""Seconds an idle pool waits for a supervisor; a service manager starts one within a few."""
UNHEARD = -1
"""No beat has this number: messages stay for the supervisor that comes."""


class Orphanage:
    """Beats for a supervisor that is gone, while its pool has work."""

    def __init__(
        self, pool: Pool, store: AsyncStore, keys: Keys, *, supervisor: str, name: str
    ) -> None:
        self._pool = pool
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._name = name
        self._idle_since: float | None = None
        self._next_beat = 0.0

    async def wait(self) -> bool:
        """Spend a moment without a supervisor; return whether there is no reason to go on."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(CALL_EVERY)
        now = loop.time()
        if self._pool.settled:
            self._idle_since = self._idle_since or now
            return now - self._idle_since > PATIENCE
        self._idle_since = None
        if now >= self._next_beat:
            self._next_beat = now + BEAT_EVERY
            await self._beat()
        return False

    async def leave(self) -> None:
        """Stop: a supervisor is there."""
        self._idle_since = None
        self._next_beat = 0.0
        await self._store.close()

    async def _beat(self) -> None:
        running = len(self._pool.busy)
        load = {"pools": {self._name: {"running": running, "slots": running}}, "alone": True}
        call = membership.beat(
            self._keys,
            supervisor=self._supervisor,
            load=json.dumps(load, separators=(",", ":")),
            owners=(),
            heard=UNHEARD,
        )
        sent = since_boot()
        try:
            reply = await self._store.run(call)
        except JobctlError as error:
            _log.debug("pool alone: %s", error)
            return
        if not reply.fenced:
            self._pool.lease.renew(sent)
        for message in reply.messages:
            word, _, rest = message.partition(" ")
            if word == "revoke":
                found = revocation(rest)
                if found is not None:
                    self._pool.revoke(*found)
