"""How long the runs of each job take, as far as this pool has seen: pure bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass

SHORT = 0.005
"""Seconds that the runs of a short job take at most on average."""
HARMLESS = 0.02
"""Seconds that none of its recent runs may have exceeded."""
_WEIGHT = 0.2
_FADING = 0.9
"""What is left of the worst run with each one that follows."""
KNOWN_MOST = 10_000
"""Jobs remembered."""


@dataclass(slots=True)
class _Known:
    average: float
    worst: float


class Pace:
    """Remembers by job how long its last runs took."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._given_up: set[str] = set()

    def took(self, job: str, seconds: float) -> None:
        """Take note of a run that has ended."""
        self._given_up.discard(job)
        known = self._known.get(job)
        if known is None:
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            self._known[job] = _Known(seconds, seconds)
            return
        known.average += _WEIGHT * (seconds - known.average)
        known.worst = max(known.worst * _FADING, seconds)

    def give_up(self, job: str) -> None:
        """Know nothing of a job any more, but that a bundle of it came to nothing."""
        self._known.pop(job, None)
        if len(self._given_up) >= KNOWN_MOST:
            self._given_up.clear()
        self._given_up.add(job)

    def given_up(self, job: str) -> bool:
        """Return whether no run of a job has ended here since a bundle of it came to nothing."""
        return job in self._given_up

    def expected(self, job: str) -> float | None:
        """Return how many seconds the next run of a short job takes; ``None`` when it is not short."""
        known = self._known.get(job)
        if known is None or known.average > SHORT or known.worst > HARMLESS:
            return None
        return known.average
