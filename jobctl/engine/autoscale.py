"""How many slots a pool should have now: pure policy, no clock and no I/O.

It grows at once, by as many slots as are waited for and at most to the double, and shrinks by a
quarter of what is idle after half a minute without need: starting a slot is cheap, and one that is
missed costs a wait.
"""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE = 30.0
"""Seconds during which slots must have been idle before some go."""
LONG_WAIT = 1.0
"""Seconds during which runs must have waited without a break before ``wait`` adds slots."""
BUSY_HOST = 0.85
"""Share of the CPUs in use from which ``cpu`` adds no slots."""
FULL_HOST = 0.97
"""Share of the CPUs in use from which ``cpu`` takes slots away, though they are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a pool sees at one moment."""

    slots: int
    busy: int
    waiting: int
    """Runs in its queues that nobody has claimed."""
    cpu: float = 0.0
    """Share of the host's CPUs in use, 0 to 1."""


class Autoscale:
    """Decides for one pool; ``by`` is ``depth``, ``wait`` or ``cpu``."""

    def __init__(self, least: int, most: int, *, by: str) -> None:
        self.least, self.most = least, most
        self._by = by
        self._idle_since: float | None = None
        self._waiting_since: float | None = None

    def decide(self, load: Load, *, now: float) -> int:
        """Return how many slots there should be; ``now`` is monotonic seconds."""
        if load.waiting == 0:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        if load.busy < load.slots and load.waiting == 0:
            return self._shrunk(load, now=now)
        self._idle_since = None
        slots = load.slots
        if load.busy >= load.slots and load.waiting > 0 and self._wants(load, now=now):
            slots += min(load.waiting, load.slots)
        elif self._by == "cpu" and load.cpu >= FULL_HOST:
            slots -= 1
        return self._bounded(slots)

    def _wants(self, load: Load, *, now: float) -> bool:
        if self._by == "wait":
            since = self._waiting_since
            return since is not None and now - since >= LONG_WAIT
        return self._by == "depth" or load.cpu < BUSY_HOST

    def _shrunk(self, load: Load, *, now: float) -> int:
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < PATIENCE:
            return self._bounded(load.slots)
        self._idle_since = now
        return self._bounded(load.slots - max(1, (load.slots - load.busy) // 4))

    def _bounded(self, slots: int) -> int:
        return min(max(slots, self.least), self.most)
