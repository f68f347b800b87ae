"""The only place that reads time.

Services take a :class:`Clock`, so that tests can move it. Wall time is for people and
schedules; durations and deadlines use monotonic time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The host's clocks."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def epoch(self) -> float:
        """Return the wall time in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only ever grow; meaningless across processes and reboots."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return seconds that only ever grow, those during which the host slept included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


SYSTEM_CLOCK = Clock()
