"""Schedules that the store cannot decide: left alone for a while, so that the others go on."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.clock import Clock
    from jobctl.model.rules import ScheduleEntry

log = logging.getLogger(__name__)

MEND_EVERY = 15.0
"""Seconds between two tries."""


class Aside:
    """What is wrong with one schedule, such as a key of another type in its place, is told once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: dict[str, str] = {}
        self._until = math.inf
        self._told: set[str] = set()

    def __contains__(self, schedule: object) -> bool:
        return schedule in self._jobs

    def put(self, entry: ScheduleEntry, why: object) -> None:
        """Leave a schedule alone from now on."""
        if entry.name not in self._told:
            self._told.add(entry.name)
            log.error(
                "%s cannot be decided, and is tried again every %g s: %s",
                entry.name, MEND_EVERY, why,
            )  # fmt: skip
        if not self._jobs:
            self._until = self._clock.monotonic() + MEND_EVERY
        self._jobs[entry.name] = entry.job.name

    def worked(self, schedule: str) -> None:
        """Take note that a schedule was decided."""
        self._told.discard(schedule)

    def forget(self, schedules: Iterable[str]) -> None:
        """Take these back: they were introduced anew."""
        for name in schedules:
            self._jobs.pop(name, None)

    @property
    def pause(self) -> float:
        """Seconds until it is time to try again; infinite with nothing to try."""
        return max(self._until - self._clock.monotonic(), 0.0) if self._jobs else math.inf

    def take(self) -> set[str]:
        """Return the jobs whose schedules are to be tried again now."""
        if self.pause > 0:
            return set()
        jobs = set(self._jobs.values())
        self._jobs.clear()
        return jobs
