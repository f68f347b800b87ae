"""How loudly a loop complains of a store that does not serve it: once, then ever more rarely."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.errors import NotPermittedError

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.errors import JobctlError

LOUD = frozenset((1, 10, 100, 1000, 10_000))
"""Failures in a row that are worth a warning; with pauses of five seconds the last is a night."""
REMIND_EVERY = 60.0
"""Seconds between two errors about credentials: only a person can end those."""


class Complaints:
    """One row of failures of one loop."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.failures = 0
        """Failures since it last worked."""
        self._clock = clock
        self._reminded_at: float | None = None

    def failed(self, error: JobctlError) -> int:
        """Count a failure; return the level it is to be logged with."""
        self.failures += 1
        if isinstance(error, NotPermittedError):
            now = self._clock.monotonic()
            if self._reminded_at is None or now - self._reminded_at >= REMIND_EVERY:
                self._reminded_at = now
                return logging.ERROR
            return logging.DEBUG
        return logging.WARNING if self.failures in LOUD else logging.DEBUG

    def worked(self) -> bool:
        """Note a success; return whether it ends a row of failures."""
        ended = self.failures > 0
        self.failures = 0
        self._reminded_at = None
        return ended
