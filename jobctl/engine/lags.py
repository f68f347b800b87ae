"""How late a supervisor was with the instants that it decided lately."""

from __future__ import annotations

from collections import deque

MOST = 1000
"""Newest decisions that count."""
AGE = 3600.0
"""Seconds after which a decision counts no more."""


class Lags:
    """The newest decisions of runs that were to start at their instants. Times are epoch seconds."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, float]] = deque(maxlen=MOST)

    def note(self, instant: float, *, now: float) -> None:
        """Note that an instant has been decided."""
        self._newest.append((now, max(0.0, now - instant)))

    def facts(self, now: float) -> dict[str, object]:
        """Return what is told of them: how many, median, 99 of 100, longest and last, in ms.

        Nothing when there are none in the last hour.
        """
        while self._newest and now - self._newest[0][0] > AGE:
            self._newest.popleft()
        if not self._newest:
            return {}
        ordered = sorted(lag for _, lag in self._newest)
        count = len(ordered)
        figures = {
            "p50": ordered[(count - 1) // 2],
            "p99": ordered[max(0, -(-99 * count // 100) - 1)],
            "longest": ordered[-1],
            "last": self._newest[-1][1],
        }
        return {
            "decided": count,
            **{name: round(lag * 1000, 1) for name, lag in figures.items()},
        }
