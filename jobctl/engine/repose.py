"""Which of a pool's Python children are let go because they have long had nothing to do. No I/O.

A child in reserve costs memory, and one that is missed costs its start: the interpreter, what
``child_init`` does, the imports of its first call. So each is kept five hundred times as long as that
took, of CPU, which makes the price of letting go a five-hundredth of a CPU at most; ``child_init`` may
wait for others, and counts by the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jobctl.model.pool import IDLE_AUTO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobctl.engine.python_host import PythonChild

WORTH = 500.0
"""Seconds for each second that a child took to make."""
SHORTEST = 5.0
LONGEST = 600.0
"""Nor more seconds than these: a call that computes for long looks like one that imports."""
STAY = 1
"""Children that stay, for a run that comes alone."""


class Resting(Protocol):
    """A child, and what it cost."""

    @property
    def child(self) -> PythonChild:
        """Itself."""

    @property
    def dearest(self) -> float:
        """Seconds of CPU of that call which took most."""


class Keeper(Protocol):
    """Who keeps a child: a slot, or the child itself where slots share it."""

    @property
    def resting(self) -> Resting | None:
        """The child if it has nothing to do."""

    @property
    def children(self) -> int:
        """How many there are: one may follow it."""

    def rest(self) -> None:
        """Let go of all of them."""

    def forgo(self) -> None:
        """Let go of the one that is to follow."""


class Common(Protocol):
    """The children that the slots of a pool share."""

    @property
    def in_use(self) -> Sequence[Keeper]:
        """Those that runs may still get, in the order of their last use."""


class Repose:
    """Looks at the free slots of one pool again and again; ``timeout`` is its ``idle_timeout``.

    Where they share children it looks at those, ``shared``, of which that stays which was used last.
    """

    def __init__(self, timeout: float | str | None, *, shared: Common | None = None) -> None:
        self._timeout = timeout
        self._shared = shared
        self._seen: dict[Keeper, tuple[Resting, int, float]] = {}
        """A child, its calls so far, and since when they have been so many."""

    def look(self, idle: Iterable[Keeper], *, now: float) -> int:
        """Let go of children at ``now`` (monotonic) and return how many.

        ``idle`` are the interpreters of free slots, the one that is used next at the end.
        """
        if self._timeout is None:
            return 0
        if self._shared is not None:
            idle = self._shared.in_use
        before, self._seen = self._seen, {}
        kept: list[Keeper] = []
        for python in idle:
            warm = python.resting
            if warm is None:
                continue
            kept.append(python)
            known = before.get(python)
            if known is None or known[0] is not warm or known[1] != warm.child.calls:
                known = (warm, warm.child.calls, now)
            self._seen[python] = known
        stay = kept[-STAY:] if self._shared is None else self._shared.in_use[-STAY:]
        gone = [one for one in kept if one not in stay and self._is_over(one, now)]
        for python in kept[-STAY:]:
            if self._is_over(python, now) and python.children > 1:
                python.forgo()
        for python in gone:
            del self._seen[python]
            python.rest()
        return len(gone)

    def _is_over(self, python: Keeper, now: float) -> bool:
        warm, _, since = self._seen[python]
        return now - since >= self._patience(warm)

    def _patience(self, warm: Resting) -> float:
        if self._timeout != IDLE_AUTO:
            assert isinstance(self._timeout, float | int)  # noqa: S101 - the words were dealt with
            return self._timeout
        return min(max(SHORTEST, WORTH * (warm.child.start_cost + warm.dearest)), LONGEST)
