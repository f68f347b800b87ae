"""Waits for the doorbells of a pool's queues, on a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NoReturn

from jobctl.errors import JobctlError
from jobctl.store import queries

if TYPE_CHECKING:
    from jobctl.engine.loops import Turn
    from jobctl.engine.pump import Pump
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

_log = logging.getLogger(__name__)

LISTEN = 15.0
"""Longest wait on the doorbells in seconds; also covers a token lost with another waiter."""
PAUSE = 0.5
"""Seconds after an error of the store."""


async def listen(pump: Pump, ears: AsyncStore, keys: Keys, *, turn: Turn) -> NoReturn:
    """Listen for ever, while there is room in the pool and nothing to claim.

    ``turn`` tells whoever watches the loop that it listens.
    """
    while True:
        await pump.wait_hungry()
        bells = [*pump.queues]
        try:
            with turn:
                rung = await ears.run(queries.wait_for_bells(keys, bells, timeout=LISTEN))
        except JobctlError as error:
            _log.debug("doorbell: %s", error)
            await asyncio.sleep(PAUSE)
            pump.look()
            continue
        if rung is None:
            pump.look()
        else:
            pump.rang()
        await asyncio.sleep(0)
