"""Waits for the doorbells of a pool's queues, on a connection of its own.

A claim of one run travels with the wait: the store carries it out as soon as a bell has rung, so
that a run which comes to an idle pool is there after one answer instead of two. Somebody has to
know when such a claim may be under way: see :meth:`Listener.hush`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, NoReturn

from jobctl.engine.loops import Turn
from jobctl.errors import JobctlError
from jobctl.store import queries
from jobctl.store.transitions import ClaimReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.pump import Pump
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys

_log = logging.getLogger(__name__)

LISTEN = 15.0
"""Longest wait on the doorbells in seconds; also covers a token lost with another waiter."""
PAUSE = 0.5
"""Seconds after an error of the store."""
HUSH = 0.05
"""Seconds until a connection that was only just being made is dropped, too."""


class Listener:
    """Listens while there is room in the pool and nothing to claim."""

    def __init__(
        self,
        pump: Pump,
        ears: AsyncStore,
        keys: Keys,
        *,
        on_bell: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_bell`` is called when a bell has rung, before the claim is looked at."""
        self._on_bell = on_bell
        self._pump = pump
        self._ears = ears
        self._keys = keys
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.turn = Turn()
        """Tells whoever watches the loop that it listens."""

    async def run(self) -> NoReturn:
        """Listen for ever."""
        while True:
            await self._pump.wait_hungry()
            self._quiet.clear()
            try:
                with self.turn:
                    well = await self._listen()
            finally:
                self._quiet.set()
            await asyncio.sleep(0.0 if well else PAUSE)
            if not well:
                self._pump.look()

    async def hush(self) -> None:
        """Return when no claim is under way here: each has brought its runs, or never will.

        The store may still carry one out that it got before it notices; as any claim whose answer
        was lost, it is found at a later look.
        """
        while not self._quiet.is_set():
            self._ears.drop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HUSH):
                    await self._quiet.wait()

    def _heard_bell(self, rung: str | None) -> None:
        if rung is not None:
            self._on_bell()

    async def _listen(self) -> bool:
        """Wait for a bell, and pass on what was claimed; return whether the store answered."""
        wait = queries.wait_for_bells(self._keys, [*self._pump.queues], timeout=LISTEN)
        claim = self._pump.claim_beside()
        if claim is not None:
            wait.told, claim.told = self._heard_bell, self._pump.heard
        calls: list[Call[Any]] = [wait] if claim is None else [wait, claim]
        try:
            rung, *claimed = await self._ears.try_many(calls)
        except JobctlError as error:
            rung, claimed = error, []
        except BaseException:
            self._pump.heard(None)  # who listens from now on knows nothing of it
            raise
        if claim is not None:
            if claimed and isinstance(claimed[0], ClaimReply):
                return True  # it was told
            self._pump.heard(None)
        if isinstance(rung, JobctlError):
            _log.debug("doorbell: %s", rung)
            return False
        if rung is None:
            self._pump.look()
        else:
            self._pump.rang()
        return True
