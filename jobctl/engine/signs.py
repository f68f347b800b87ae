"""Signs of life of a supervisor: what the service manager, and so ``systemctl status``, is told."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from jobctl.engine.condition import Condition
from jobctl.engine.notify import Notifier, watchdog_period
from jobctl.engine.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock

PERIOD = 10.0
"""Seconds between two signs when the service manager does not say how often it wants one."""


class Signs:
    """Watches the loops, keeps what they suffer from, and tells of both.

    ``doing`` says in clauses what the supervisor does; ``unrecorded`` how many outcomes wait until
    the store takes them; ``on_stuck`` is called with what is wrong when a loop cannot be got going.
    """

    def __init__(
        self,
        *,
        doing: Callable[[], list[str]],
        unrecorded: Callable[[], int],
        on_stuck: Callable[[BaseException], None],
        clock: Clock,
    ) -> None:
        self._doing = doing
        self.notifier = Notifier.from_environment()
        self.condition = Condition(on_change=self.tell, unrecorded=unrecorded)
        self.watchdog = Watchdog(clock=clock, on_stuck=on_stuck)

    def status(self) -> str:
        """Return one line on how things are."""
        return "; ".join((*self._doing(), *self.condition.parts))

    def tell(self, *more: str) -> None:
        """Tell the status, after ``more`` messages."""
        self.notifier.send(*more, f"STATUS={self.status()}")

    async def run(self) -> None:
        """Give a sign of life as often as it is wanted, while every loop turns."""
        period = watchdog_period(dict(os.environ)) or PERIOD
        while True:
            await asyncio.sleep(period)
            self.watchdog.look()
            if self.watchdog.well:
                self.notifier.send("WATCHDOG=1")
            self.tell()
