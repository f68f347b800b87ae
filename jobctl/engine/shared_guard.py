"""Watches over the time of one attempt in a shared child."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobctl.engine.ending import Finding
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.tree import Process, TreeTable
    from jobctl.model.job import JobDef

GRACE_LEAST = 0.5
"""Seconds a shared child has at least to show that it is not blocked, before it is killed."""
AGAIN = 1.0
"""Most seconds between two looks whether a call has begun, once its time would be over."""


class SharedGuard:
    """Watches over one attempt in a shared child, as a ``Guard`` over one with processes."""

    def __init__(
        self,
        job: JobDef,
        *,
        ask: Callable[[str], None],
        give_up: Callable[[], None],
        begun: Callable[[], float | None],
    ) -> None:
        """``begun`` returns when the function began, in seconds of the loop's clock, or ``None``."""
        self.stopped: Finding | None = None
        """Why the attempt was stopped; the first reason counts."""
        self._job = job
        self._ask = ask
        self._give_up = give_up
        self._begun = begun
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []

    def arm(
        self,
        *,
        timeout: float | None,
        soft_timeout: float | None,  # noqa: ARG002 - that of commands; a function gets no signal
        gone: float = 0.0,
    ) -> None:
        """Set the time limits, in seconds from the function's beginning, ``gone`` seconds ago."""
        soft = self._job.soft_timeout
        if timeout is not None:
            self._later(timeout - gone, lambda: self._due(timeout, self._time_out))
        if soft is not None:
            self._later(soft - gone, lambda: self._due(soft, lambda _: self._ask("soft")))

    def stop(
        self,
        finding: Finding,
        *,
        number: int | None = None,  # noqa: ARG002 - there is no process to signal
        grace: float | None = None,
        kill: bool = True,
    ) -> None:
        """Ask the attempt to stop; what happens after ``grace`` seconds, ``give_up`` decides."""
        if self.stopped is None:
            self.stopped = finding
        self._ask("stop")
        if kill:
            grace = self._job.stop_timeout if grace is None else grace
            self._later(max(grace, GRACE_LEAST), self._give_up)

    def members(self, table: TreeTable) -> list[Process]:  # noqa: ARG002 - as a Guard has it
        """Return nothing: the processes belong to nobody alone."""
        return []

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(seconds, act))

    def _due(self, limit: float, act: Callable[[float], None]) -> None:
        """Act if the function has really had its time: the call may have waited behind others."""
        begun = self._begun()
        left = min(limit, AGAIN) if begun is None else begun + limit - self._loop.time()
        if left > 0:
            self._later(left, lambda: self._due(limit, act))
        else:
            act(limit)

    def _time_out(self, timeout: float) -> None:
        error = f"did not end within its timeout of {timeout:g} s"
        self.stop(Finding(OutcomeKind.FAILED, Reason.TIMEOUT, error))
