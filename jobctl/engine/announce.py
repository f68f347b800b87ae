"""What a supervisor says of itself in the store, and what may not change while it runs."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import jobctl
from jobctl.engine.pools import queues_of
from jobctl.errors import UnreachableError
from jobctl.model.admission import limit_sizes
from jobctl.store import membership, transitions

if TYPE_CHECKING:
    from jobctl.engine.identity import Identity
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

FIXED = ("redis", "namespace", "state_dir")
"""Settings that need a restart."""


class Registration:
    """A supervisor's entry in the store; ``started_at`` is epoch seconds."""

    def __init__(self, store: AsyncStore, keys: Keys, *, started_at: float) -> None:
        self._store = store
        self._keys = keys
        self._started_at = started_at
        self._reloads = 0

    async def write(
        self,
        config: Config,
        identity: Identity,
        *,
        error: str | None = None,
        load: dict[str, object] | None = None,
    ) -> None:
        """Tell the store who we are; with ``error`` (maybe empty) that we have reloaded.

        ``load`` is what a beat says: whoever waits for the reload looks at it before the next one.
        """
        facts = _facts(config, identity, started_at=self._started_at)
        if error is not None:
            self._reloads += 1
            facts |= {"reloads": str(self._reloads), "reload_error": error}
        if load is not None:
            facts["load"] = json.dumps(load, separators=(",", ":"))
        await self._store.run(
            membership.register(self._keys, supervisor=identity.supervisor, facts=facts)
        )
        await self._store.run(transitions.set_limits(self._keys, limit_sizes(config)))


def _facts(config: Config, identity: Identity, *, started_at: float) -> dict[str, str]:
    """Return the fields of ``sup:<sid>``; ``started_at`` is epoch seconds."""
    pools = {
        pool.name: {
            "slots": pool.first_slots,
            "queues": queues_of(config, pool.name),
            "python": pool.python,
        }
        for pool in config.pools.values()
    }
    return {
        "host": identity.host,
        "pid": str(os.getpid()),
        "version": jobctl.__version__,
        "started": f"{started_at:.3f}",
        "zone": config.settings.timezone or identity.timezone,
        "state_dir": config.settings.state_dir,
        "config": config.path,
        "pools": json.dumps(pools, separators=(",", ":")),
    }


def check_unchanged(old: Config, new: Config) -> None:
    """Raise ``UnreachableError`` when a reload would change what a running daemon cannot."""
    for name in FIXED:
        if getattr(new.settings, name) != getattr(old.settings, name):
            raise UnreachableError(f"{name} in [jobctl] changed; restart the daemon to use it")
