"""Notices loops that do not turn any more, and gets them going again or gives the process up.

Calls have deadlines of their own, so this is for what nobody thought of: a coroutine that waits
for something that never comes. A loop that has not turned for three times its longest wait loses
its connection and is begun anew. When that does not help, the service manager gets no more signs
of life and the process ends, so that it is started again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock

log = logging.getLogger(__name__)

PATIENCE = 3
"""Times its longest wait that a loop may take for one turn."""
STALL = 30.0
"""Seconds between two looks after which this process itself stood still: no loop could turn."""


class StuckError(RuntimeError):
    """Raised to end a process one of whose loops does not turn any more, whatever is done."""


@dataclass(slots=True)
class _Loop:
    longest: float
    turned_at: Callable[[], float]
    recover: Callable[[], None]
    since: float
    """No turn is expected before this moment: it was begun, or begun anew."""
    recovered: bool = False


class Watchdog:
    """Watches loops by when they last turned.

    ``on_stuck`` is called once, with what is wrong, when a loop cannot be got going.
    """

    def __init__(self, *, clock: Clock, on_stuck: Callable[[StuckError], None]) -> None:
        self._clock = clock
        self._on_stuck = on_stuck
        self._loops: dict[str, _Loop] = {}
        self._looked_at = clock.monotonic()
        self.well = True
        """False once a loop was given up: then the service manager must get no sign of life."""

    def watch(
        self,
        name: str,
        *,
        longest: float,
        turned_at: Callable[[], float],
        recover: Callable[[], None],
    ) -> None:
        """Watch a loop; one of the same name is replaced.

        ``longest`` is the longest wait it plans, in seconds; ``turned_at`` returns when it last
        turned, by the monotonic clock; ``recover`` drops its connection and begins it anew.
        """
        self._loops[name] = _Loop(longest, turned_at, recover, since=self._clock.monotonic())

    def forget(self, name: str) -> None:
        """Stop watching a loop; one that is not known is ignored."""
        self._loops.pop(name, None)

    def look(self) -> None:
        """See whether every loop turns; call it at least every ten seconds."""
        now = self._clock.monotonic()
        stalled, self._looked_at = now - self._looked_at > STALL, now
        for name, loop in list(self._loops.items()):
            if stalled:
                loop.since = now
            turned_at = loop.turned_at()
            if turned_at > loop.since:
                loop.since, loop.recovered = turned_at, False
            if now - loop.since <= PATIENCE * loop.longest:
                continue
            self._act(name, loop, now)

    def _act(self, name: str, loop: _Loop, now: float) -> None:
        silent = now - loop.since
        loop.since = now
        if not loop.recovered:
            loop.recovered = True
            log.error(
                "%s: has not turned for %.0f s; dropping its connection, starting it again",
                name, silent,
            )  # fmt: skip
            loop.recover()
        elif self.well:
            self.well = False
            self._on_stuck(
                StuckError(f"{name} has not turned for {silent:.0f} s though it was started again")
            )
