"""Whether a host's clock was set, rather than that time went by."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.model.catchup import CORRECTION

if TYPE_CHECKING:
    from jobctl.clock import Clock

log = logging.getLogger(__name__)


class ClockWatch:
    """Believes a clock that was set by hours, as cron(8) does; a host that slept is no such case."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: tuple[float, float] | None = None
        self.believed = 0.0
        """Where a clock that was set forward has arrived: what lies before is not made up for."""

    def was_set_back(self) -> bool:
        """Look at the clock; return whether it was set back by hours since the last look."""
        wall, up = self._clock.epoch(), self._clock.boottime()
        step = 0.0 if self._seen is None else wall - self._seen[0] - (up - self._seen[1])
        self._seen = wall, up
        if step > CORRECTION:
            log.warning("this host's clock was set forward by %.0f s: nothing is made up for", step)
            self.believed = wall
        elif step < -CORRECTION:
            log.warning("this host's clock was set back by %.0f s", -step)
            self.believed = 0.0
        return step < -CORRECTION
