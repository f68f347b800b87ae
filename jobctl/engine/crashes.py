"""How often a pool may crash, and when it is started again."""

from __future__ import annotations

from jobctl.store.aio import Backoff

STEADY = 10.0
"""Seconds after which a pool counts as healthy, so that its next crash is answered quickly."""
LONGEST_PAUSE = 2.0
"""Most seconds before a crashed pool is started again: what it ran has nobody to stop it in time."""
QUICK = 1.0
"""Seconds a pool must have lived so that its crash cannot be blamed on what it adopted."""
HOPELESS = 8
"""Such crashes in a row after which adoption is given up."""


class Crashes:
    """How often a pool has crashed of late, and how long to wait before it is started again."""

    def __init__(self) -> None:
        self.backoff = Backoff(longest=LONGEST_PAUSE)
        self._last = 0.0
        self._quick = 0

    def another(self, now: float, *, lived: float) -> float:
        """Count one at ``now`` (monotonic) after ``lived`` seconds; return seconds to wait."""
        if now - self._last > STEADY:
            self.backoff.reset()
        first, self._last = now - self._last > STEADY, now
        self._quick = self._quick + 1 if lived < QUICK else 0
        return 0.0 if first else self.backoff.next()

    @property
    def hopeless(self) -> bool:
        """True when it has crashed at its start too often in a row."""
        return self._quick >= HOPELESS
