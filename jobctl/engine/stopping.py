"""Why a supervisor stops, and what becomes then of what runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Stopping:
    """What a supervisor was asked, or has, to stop for. It does so once ``asked`` is set.

    ``drain_timeout`` is how many seconds what runs may go on then (``None``: however long it takes);
    ``hurry`` is called when it is to be stopped at once.
    """

    def __init__(self, *, drain_timeout: float | None, hurry: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self.drain_timeout = drain_timeout
        self.replaced = False
        """True when this process is to be replaced by a new one of itself."""
        self.bug: BaseException | None = None
        self._hurry = hurry
        self._signals = 0

    @property
    def leaves(self) -> bool:
        """Whether pools, what they run, and the store are left to the next supervisor."""
        return self.replaced or self.bug is not None

    def on_signal(self, number: signal.Signals) -> None:
        """Stop at the first signal, and in a hurry at the second."""
        self._signals += 1
        if self._signals == 1:
            log.info("%s: finishing what runs (again: stop it now)", number.name)
            self.asked.set()
        else:
            log.info("%s: stopping what runs", number.name)
            self._hurry()

    def drain(self) -> None:
        """Stop when everything that runs has ended."""
        log.info("asked to drain: finishing what runs, however long it takes")
        self.drain_timeout = None
        self.asked.set()

    def stop(self) -> None:
        """Stop as at a signal."""
        log.info("asked to stop: finishing what runs")
        self.asked.set()

    def replace(self) -> None:
        """Stop to be replaced by a process which may be of another version."""
        log.info("replacing this process; what runs goes on")
        self.replaced = True
        self.asked.set()

    def on_bug(self, error: BaseException) -> None:
        """End as if killed: what runs is not to suffer, and the next supervisor goes on with it."""
        log.critical("unexpected error; this supervisor ends, what runs goes on", exc_info=error)
        self.bug = error
        self.asked.set()
