"""Which of a pool's Python children are let go because they have long had nothing to do. No I/O.

A child in reserve costs memory, and one that is missed costs its start: the interpreter, what
``child_init`` does, the imports of its first call. So each is kept a thousand times as long as that
took, of CPU, which makes the price of letting go a thousandth of a CPU at most; ``child_init`` may
wait for others, and counts by the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.model.pool import IDLE_AUTO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.engine.warm_python import Warm, WarmPython

WORTH = 1000.0
"""Seconds for each second that a child took to make."""
SHORTEST = 5.0
LONGEST = 600.0
"""Nor more seconds than these: a call that computes for long looks like one that imports."""
STAY = 1
"""Children that stay, for a run that comes alone."""


class Repose:
    """Looks at the free slots of one pool again and again; ``timeout`` is its ``idle_timeout``."""

    def __init__(self, timeout: float | str | None) -> None:
        self._timeout = timeout
        self._seen: dict[WarmPython, tuple[Warm, int, float]] = {}
        """A child, its calls so far, and since when they have been so many."""

    def look(self, idle: Iterable[WarmPython], *, now: float) -> int:
        """Let go of children at ``now`` (monotonic) and return how many.

        ``idle`` are the interpreters of free slots, the one that is used next at the end.
        """
        if self._timeout is None:
            return 0
        before, self._seen = self._seen, {}
        kept: list[WarmPython] = []
        for python in idle:
            warm = python.resting
            if warm is None:
                continue
            kept.append(python)
            known = before.get(python)
            if known is None or known[0] is not warm or known[1] != warm.child.calls:
                known = (warm, warm.child.calls, now)
            self._seen[python] = known
        gone = [one for one in kept[:-STAY] if self._is_over(one, now)]
        for python in kept[-STAY:]:
            if self._is_over(python, now) and python.children > 1:
                python.forgo()
        for python in gone:
            del self._seen[python]
            python.rest()
        return len(gone)

    def _is_over(self, python: WarmPython, now: float) -> bool:
        warm, _, since = self._seen[python]
        return now - since >= self._patience(warm)

    def _patience(self, warm: Warm) -> float:
        if self._timeout != IDLE_AUTO:
            assert isinstance(self._timeout, float | int)  # noqa: S101 - the words were dealt with
            return self._timeout
        return min(max(SHORTEST, WORTH * (warm.child.start_cost + warm.dearest)), LONGEST)
