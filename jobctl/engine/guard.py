"""Ends one attempt when its time is over or somebody says so, and clears away what is left.

The order is always the same: the stop signal to the whole tree, a grace, then KILL to the whole
tree again and again until nothing of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from jobctl.engine.ending import Finding, signal_number
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.adopted import AdoptedTree
    from jobctl.engine.processes import Attempt, Processes
    from jobctl.engine.tree import Process, TreeTable
    from jobctl.model.job import JobDef

LEFTOVER_GRACE = 0.5
"""Seconds between the stop signal and KILL for what the leader left behind on its own accord."""

_AGAIN = 0.02
"""Seconds between two rounds of KILL, and from there to the look whether they worked."""

_log = logging.getLogger(__name__)


class Guard:
    """Watches over the process tree of one attempt, from the start of its leader."""

    def __init__(
        self, attempt: Attempt, *, job: JobDef, processes: Processes | AdoptedTree
    ) -> None:
        self.attempt = attempt
        self.stopped: Finding | None = None
        """Why the attempt was stopped; the first reason counts."""
        self._job = job
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._kill_at: float | None = None
        self._told: set[tuple[int, int]] = set()
        self._sent: set[int] = set()
        processes.begin(attempt)

    def arm(self, *, timeout: float | None, soft_timeout: float | None, gone: float = 0.0) -> None:
        """Set the time limits, in seconds from the attempt's start, which is ``gone`` seconds ago."""
        if timeout is not None:
            self._timers.append(self._loop.call_later(timeout - gone, self._time_out, timeout))
        if soft_timeout is not None and soft_timeout >= gone:
            self._timers.append(
                self._loop.call_later(soft_timeout - gone, self._signal, self._stop_signal)
            )

    def stop(
        self,
        finding: Finding,
        *,
        number: int | None = None,
        grace: float | None = None,
        kill: bool = True,
    ) -> None:
        """Send a signal to the tree, and KILL it after ``grace`` seconds unless ``kill`` is False.

        Both default to what the job says. A second call can only hurry: it sends a signal that
        was not sent before, and may bring the KILL forward.
        """
        if self.stopped is None:
            self.stopped = finding
            self._processes.note_stop(self.attempt, finding)
        number = self._stop_signal if number is None else number
        if number not in self._sent:
            self._sent.add(number)
            self._signal(number)
        if kill:
            grace = self._job.stop_timeout if grace is None else grace
            self._kill_by(self._loop.time() + grace)

    def follow(self, attempt: Attempt) -> None:
        """Go on with the same attempt under another leader."""
        self._processes.end(self.attempt)
        self.attempt = attempt
        self._processes.begin(attempt)

    async def clear(self, *, all_of_it: bool = False) -> bool:
        """End what outlived the leader and return whether there was anything.

        Without a stop on its way it gets :data:`LEFTOVER_GRACE`, or is left alone when the job
        says so. Cancelling this kills at once.
        ``all_of_it`` ends the leader too.
        """
        first = self._processes.family if all_of_it else self._processes.leftovers
        left = self._look(first)
        if left == []:
            return False
        if self._kill_at is None and self._job.leftovers == "keep" and not all_of_it:
            return True
        if self._kill_at is None:
            self._kill_by(self._loop.time() + LEFTOVER_GRACE)
        pause, cancelled = 0.002, False
        while left is None or left:
            self._tell(left or [])
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                cancelled = True
                self._kill_by(self._loop.time())
            pause = min(pause * 2, _AGAIN)
            left = self._look(self._processes.family)
        if cancelled:
            raise asyncio.CancelledError
        return True

    def members(self, table: TreeTable) -> list[Process]:
        """Return the living processes of the tree, for a sample."""
        return self._processes.members(self.attempt, table)

    def close(self) -> None:
        """Stop watching; the tree is gone."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._processes.end(self.attempt)

    @property
    def _stop_signal(self) -> int:
        return signal_number(self._job.stop_signal)

    def _time_out(self, timeout: float) -> None:
        error = f"did not end within its timeout of {timeout:g} s"
        self.stop(Finding(OutcomeKind.FAILED, Reason.TIMEOUT, error))

    def _look(self, at: Callable[[Attempt], list[Process]]) -> list[Process] | None:
        """Return the living processes, ``None`` when this host has no descriptor left to look."""
        try:
            return at(self.attempt)
        except OSError as error:
            _log.warning("cannot look at the processes of an attempt: %s", error.strerror)
            return None

    def _signal(self, number: int) -> None:
        """Signal the leader's group at once, and those of the tree that left it one by one."""
        leader = self.attempt.leader
        if self._processes.runs(self.attempt):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, number)
            living = self._look(self._processes.family) or []
            self._processes.signal([one for one in living if one.group != leader], number)
        else:
            living = self._look(self._processes.family) or []
            self._processes.signal(living, number)
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            # A stopped process gets its signal only when it goes on.
            self._processes.signal(living, signal.SIGCONT)
        self._told.update((process.pid, process.start) for process in living)

    def _tell(self, left: list[Process]) -> None:
        new = [process for process in left if (process.pid, process.start) not in self._told]
        if new:
            self._processes.signal(new, self._stop_signal)
            self._processes.signal(new, signal.SIGCONT)
            self._told.update((process.pid, process.start) for process in new)

    def _kill_by(self, when: float) -> None:
        if self._kill_at is None or when < self._kill_at:
            self._kill_at = when
            self._timers.append(self._loop.call_at(when, self._kill))

    def _kill(self) -> None:
        """Kill everything, and look again soon: a fork may have been under way."""
        self._timers.append(self._loop.call_later(_AGAIN, self._kill))
        if self._processes.runs(self.attempt):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.attempt.leader, signal.SIGKILL)
        self._processes.signal(self._look(self._processes.family) or [], signal.SIGKILL)
