"""What has to be true of a store before a supervisor works with it, and the patience until it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

from jobctl.engine.complaints import Complaints
from jobctl.errors import ConfigError, NotAcceptedError, NotPermittedError, UnreachableError
from jobctl.store import queries
from jobctl.store.aio import Backoff
from jobctl.store.calls import Call
from jobctl.store.failures import StoreBusyError, StoreError, first_word

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.engine.condition import Condition
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

T = TypeVar("T")
START = "start"
"""Name under which the start's trouble is noted."""
PING = Call(("PING",), lambda reply: reply)


class Patience:
    """Repeats what a store refuses or does not hear at a supervisor's start, until ``stop`` is set.

    Wrong credentials, and what else waiting would not mend, are raised at once.
    """

    def __init__(
        self, store: AsyncStore, keys: Keys, *, condition: Condition, stop: asyncio.Event
    ) -> None:
        self._store = store
        self._keys = keys
        self._condition = condition
        self._stop = stop

    async def insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what ``work`` returns once it works; raises its last error after ``stop``."""
        backoff, complaints = Backoff(), Complaints()
        while True:
            try:
                result = await work()
            except (UnreachableError, NotAcceptedError) as error:
                log.log(complaints.failed(error), "%s; waiting for it", error)
                self._condition.failed(START, error)
                if isinstance(error, StoreBusyError) and first_word(error.reply) == "LOADING":
                    await self._condition.ask(self._store, self._keys)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), backoff.next())
                if self._stop.is_set():
                    raise
            else:
                self._condition.worked(START)
                return result

    async def wait_ready(self, *, shared: bool) -> None:
        """Return when the store answers and takes commands.

        Raises ``ConfigError`` for a ``shared`` one that throws runs away when it is full.
        """
        await self.insist(lambda: self._store.run(PING))
        if shared:
            await self.insist(lambda: check_eviction(self._store, self._keys))


async def check_eviction(store: AsyncStore, keys: Keys) -> None:
    """Raise ``ConfigError`` when the store evicts keys; one that does not tell is only warned of."""
    policy = await _policy(store, keys)
    if not policy:
        log.warning(
            "the store does not tell its maxmemory-policy; make sure that it is %s, "
            "for any other throws runs away",
            queries.NO_EVICTION,
        )
    elif policy != queries.NO_EVICTION:
        raise ConfigError(
            f"{store.address}: maxmemory-policy is {policy}, so a full store throws runs away; "
            f"CONFIG SET maxmemory-policy {queries.NO_EVICTION}, and in the server's "
            "configuration file"
        )


async def _policy(store: AsyncStore, keys: Keys) -> str:
    """Return the eviction policy, by either of two ways: a hosted store may refuse both."""
    for call, name in (
        (queries.server_info(keys), "maxmemory_policy"),
        (queries.server_settings(keys, "maxmemory-policy"), "maxmemory-policy"),
    ):
        with contextlib.suppress(NotPermittedError, StoreError):
            policy = (await store.run(call)).get(name, "")
            if policy:
                return policy
    return ""
