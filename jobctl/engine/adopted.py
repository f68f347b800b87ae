"""An attempt that an earlier process of this pool started: watched without being its parent.

Its leader is a child of the dead pool's keeper, which reaps it and writes down how it ended. So it
is waited for by descriptor, its tree is found by ancestry, session and environment rather than
among our own children, and its exit status is read from the keeper's file.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from jobctl.engine import survivors
from jobctl.engine.ending import Ending, Finding, judge, judge_reply
from jobctl.engine.guard import Guard
from jobctl.engine.host_journal import PYTHON, since_boot
from jobctl.engine.processes import Attempt, Processes
from jobctl.engine.python_answers import left_reply
from jobctl.engine.tree import Process, descendants, environ_of, read_process
from jobctl.model.run import OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from jobctl.engine.journal_content import Started
    from jobctl.engine.survivors import Death, Survivor
    from jobctl.engine.tree import TreeTable
    from jobctl.model.job import JobDef

KEEPER_PATIENCE = 0.2
"""Seconds until the kernel is asked, whose word lacks what the attempt used."""
NEWS_PATIENCE = 5.0
"""Seconds after a leader's end until its exit must have been written down by somebody."""
LOOK_EVERY = 0.02
UNSEEN = "it ended while nobody of jobctl was there to see how"


class AdoptedTree:
    """The processes of one adopted attempt; stands in for :class:`Processes` towards its guard."""

    def __init__(self, started: Started, own: Processes) -> None:
        self._started = started
        self._own = own
        self._start = survivors.identity(started)

    def begin(self, attempt: Attempt) -> None:
        """Nothing to know: nobody else's look finds these processes."""

    def end(self, attempt: Attempt) -> None:
        """Nothing to forget."""

    def note_stop(self, attempt: Attempt, finding: Finding) -> None:
        """Pass it on to the journal of the pool."""
        self._own.note_stop(attempt, finding)

    def runs(self, attempt: Attempt) -> bool:
        """Return whether the leader's number is surely its own."""
        process = read_process(attempt.leader)
        return process is not None and process.start == self._start

    def family(self, attempt: Attempt) -> list[Process]:
        """Return all living processes of the attempt."""
        roots = self._marked(attempt)
        if self.runs(attempt):
            roots.append(attempt.leader)
        return [process for process in descendants(roots) if not process.zombie]

    leftovers = family

    def members(self, attempt: Attempt, table: TreeTable) -> list[Process]:  # noqa: ARG002 - as Processes
        """Return the leader and what is below it, for a sample."""
        if not self.runs(attempt):
            return []
        return [process for process in descendants([attempt.leader]) if not process.zombie]

    def signal(self, processes: list[Process], number: int) -> None:
        """Send a signal to each of them."""
        self._own.signal(processes, number)

    def _marked(self, attempt: Attempt) -> list[int]:
        """Look through all processes for those in the leader's session or with the attempt's marks."""
        found = []
        for name in os.listdir("/proc"):  # noqa: PTH208 - as in tree.py
            if not name.isdigit() or int(name) == attempt.leader:
                continue
            process = read_process(int(name))
            if process is None or process.zombie:
                continue
            if process.session == attempt.leader or self._carries_marks(process.pid, attempt):
                found.append(process.pid)
        return found

    def _carries_marks(self, pid: int, attempt: Attempt) -> bool:
        environ = environ_of(pid)
        return (
            environ.get(b"JOBCTL_RUN_ID") == attempt.run_id
            and environ.get(b"JOBCTL_ATTEMPT") == attempt.number
        )


class AdoptedLeader:
    """The leader of an adopted attempt; see :class:`~jobctl.engine.leader.Leader`."""

    def __init__(self, survivor: Survivor, *, job: JobDef, processes: Processes) -> None:
        self._survivor = survivor
        self._started = started = survivor.started
        self.pid = started.pid
        self.started_at = started.started_at
        self.duration = 0.0
        self.left_something = False
        marks = Attempt(
            run_id=started.run_id.encode(), number=b"%d" % started.attempt, leader=started.pid
        )
        self.guard = Guard(marks, job=job, processes=AdoptedTree(started, processes))
        self._pidfd = self._open()

    async def ended(self) -> Death | None:
        """Return how it ended once its tree is gone; ``None`` when nobody wrote that down.

        Cancelling kills the tree and waits until it is gone.
        """
        try:
            await self._gone()
            death = await self._news()
            ended = since_boot() if death is None else death.ended
            self.duration = max(0.0, ended - self._started.begun)
            self.left_something = await self.guard.clear()
        except asyncio.CancelledError:
            self.guard.stop(Finding(OutcomeKind.LOST, Reason.LOST), grace=0.0)
            await self.guard.clear(all_of_it=True)
            raise
        finally:
            self.guard.close()
            self._close()
        return death

    def abandon(self) -> None:
        """Kill what :meth:`ended` was not there to wait for; after it there is nothing to do."""
        if self._pidfd is not None:
            os.killpg(self.pid, signal.SIGKILL)
            self._close()
        self.guard.close()

    def _open(self) -> int | None:
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return None
        if survivors.lives(self._started):
            return pidfd
        os.close(pidfd)
        return None

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def _gone(self) -> None:
        if self._pidfd is None:
            # No descriptor may only mean that this host has none left.
            while survivors.lives(self._started):  # noqa: ASYNC110 - nobody would tell
                await asyncio.sleep(LOOK_EVERY)
            return
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._pidfd, _once, gone)
        try:
            await gone
        finally:
            loop.remove_reader(self._pidfd)

    async def _news(self) -> Death | None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            death = self._survivor.seen or survivors.death(self._started, self._survivor.exits)
            if death is None and self._pidfd is not None and loop.time() - begun > KEEPER_PATIENCE:
                death = survivors.told_by_kernel(self._pidfd)
            if death is not None or loop.time() - begun > NEWS_PATIENCE:
                return death
            await asyncio.sleep(LOOK_EVERY)


def _once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def judge_survivor(
    job: JobDef, death: Death | None, *, stopped: Finding | None, kind: str, answer: bytes
) -> Ending:
    """Return the ending of an adopted attempt; ``answer`` is what a Python child left behind."""
    if kind == PYTHON:
        reply = left_reply(answer)
        if reply is not None:
            return judge_reply(job, reply, stopped=stopped)
        if death is not None and death.status == 0 and stopped is None:
            # It ended in order, so its function had returned: the answer died with the pool.
            death = None
    if death is None:
        return Ending(stopped or Finding(OutcomeKind.LOST, Reason.LOST, UNSEEN))
    return judge(job, death.status, stopped=stopped)


def usage_of(death: Death | None) -> Usage:
    """Return what an adopted attempt used, as far as that was written down."""
    if death is None:
        return Usage()
    return Usage(
        user=death.user,
        system=death.system,
        max_rss=death.max_rss,
        read_blocks=death.read_blocks,
        write_blocks=death.write_blocks,
    )
