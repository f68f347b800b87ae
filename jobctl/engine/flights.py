"""What of a pool's traffic is under way to the store."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from jobctl.engine.batch import Batch

MOST = 2
"""Turns under way at once, which is for a flood: the store must not wait until its last answer is read."""


@dataclass(frozen=True, slots=True)
class Flight:
    """What goes to the store in one turn."""

    batch: Batch
    want: int | None
    """Runs to claim; ``None`` when it is no time to claim any."""
    replies: asyncio.Future[list[object]]


class Flights(deque[Flight]):
    """The turns under way, in the order in which they were sent and are answered."""

    @property
    def room(self) -> bool:
        """Whether one may follow those that are under way."""
        return 0 < len(self) < MOST

    @property
    def batches(self) -> list[Batch]:
        """What they bring."""
        return [one.batch for one in self]

    @property
    def settling(self) -> int:
        """How many outcomes they bring."""
        return sum(len(one.batch.settlements) for one in self)

    @property
    def coming(self) -> int:
        """How many runs they claim at most."""
        return sum(one.want or 0 for one in self)

    @property
    def claiming(self) -> bool:
        """Whether one of them looks for runs."""
        return any(one.want is not None for one in self)

    def abandon(self) -> None:
        """Wait for no answer any more."""
        for one in self:
            one.replies.cancel()
        self.clear()
