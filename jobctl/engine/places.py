"""Who may deliver where now: few at a time, and nobody to a place that is down."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.engine.delivery import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobctl.clock import Clock

AT_A_TIME = 16
"""Deliveries at the same time in all …"""
EACH = 2
"""… and to one place."""
WORST = 5
"""Failures of a place in a row after which pauses grow no more."""
KNOWN_MOST = 1000
"""Places that are remembered."""


@dataclass(slots=True)
class _Place:
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EACH))
    failures: int = 0
    until: float = 0.0
    users: int = 0


class Places:
    """The places that notices go to. A place that is down gets one try once in a while."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._places: dict[str, _Place] = {}

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait until something may be delivered to a place, and hold it for the while."""
        place = self._of(name)
        place.users += 1
        try:
            while True:
                await asyncio.sleep(max(0.0, place.until - self._clock.monotonic()))
                async with place.room:
                    # Others may have found it down since.
                    if self._clock.monotonic() < place.until:
                        continue
                    async with self._room:
                        yield
                    return
        finally:
            place.users -= 1

    def down(self, name: str) -> None:
        """Note that nothing can be delivered to a place now."""
        place = self._of(name)
        place.failures = min(place.failures + 1, WORST)
        place.until = self._clock.monotonic() + pause(place.failures)

    def up(self, name: str) -> None:
        """Note that something was delivered to a place."""
        place = self._of(name)
        place.failures, place.until = 0, 0.0

    def _of(self, name: str) -> _Place:
        if name not in self._places:
            if len(self._places) >= KNOWN_MOST:
                self._places = {key: one for key, one in self._places.items() if one.users}
            self._places[name] = _Place()
        return self._places[name]
