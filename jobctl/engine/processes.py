"""The child processes of this pool: waiting for them, and telling whose orphans are whose.

The pool is a *child subreaper*: a process whose parent died becomes a child of the pool. So every
process of an attempt is either below its leader or a child of the pool which nobody registered: a
*stray*. A stray belongs to an attempt by its session, or by ``JOBCTL_RUN_ID`` in its environment.
One that hides both (``env -i setsid …``) is suspected of every attempt that ran when it was first
seen, and dies with the last of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jobctl.engine.tree import (
    Process,
    children_of,
    descendants,
    environ_of,
    kernel_lists_children,
    read_children,
    read_process,
    send,
)

if TYPE_CHECKING:
    from resource import struct_rusage
    from types import FrameType

    from jobctl.engine.ending import Finding
    from jobctl.engine.tree import TreeTable

_PR_SET_CHILD_SUBREAPER = 36

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exit:
    """What ``wait4`` said about a process."""

    status: int
    usage: struct_rusage


@dataclass(eq=False, slots=True, kw_only=True)
class Attempt:
    """The marks by which processes of one attempt are known. Compared by identity."""

    run_id: bytes
    number: bytes
    leader: int
    """The number of its first process, which is also the number of its session."""
    orphan_cpu: float = 0.0
    """Seconds used by its strays, known when they were reaped."""


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process; raise ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def restore_signals() -> None:
    """Let children start with default signal actions, whatever this process was started with.

    ``exec`` keeps signals ignored (``nohup`` does that) but not handled: so those that are ignored
    get a handler that does nothing.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in {
            signal.SIGPIPE,
            signal.SIGXFSZ,
        }:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Stand for ``SIG_IGN``."""


def end_unwatched(pid: int) -> None:
    """Kill and reap a child of this process for whose end nobody can wait."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


class Witness(Protocol):
    """Who is told of what must not be forgotten when this process is killed: the host journal."""

    def ended(self, pid: int, status: int) -> None:
        """Take note of the end of a leader; it has not been reaped."""

    def stopped(self, run_id: str, finding: Finding) -> None:
        """Take note of why an attempt is being stopped."""


class Processes:
    """All children of this process. One per event loop, made and used in its thread.

    Other parts of the program that start a child must leave it in this process' own session or
    :meth:`adopt` it; anything else is taken for a stray and killed.
    """

    def __init__(self, witness: Witness | None = None) -> None:
        become_subreaper()
        self._witness = witness
        self._loop = asyncio.get_running_loop()
        self._session = os.getsid(0)
        self._waits: dict[int, tuple[int, asyncio.Future[Exit]]] = {}
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._reap)
        self._children_fd: int | None = None
        if kernel_lists_children():
            pid = os.getpid()
            self._children_fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)
        self._known = set(self._children())
        self._attempts: dict[int, Attempt] = {}
        self._suspects: dict[int, set[Attempt]] = {}
        self._immortal: set[tuple[int, int]] = set()

    def close(self) -> None:
        """Stop waiting; the children stay."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        if self._children_fd is not None:
            os.close(self._children_fd)
            self._children_fd = None
        for pidfd in self._waits:
            os.close(pidfd)
        self._waits.clear()

    def adopt(self, pid: int) -> None:
        """Know a child that somebody else waits for."""
        self._known.add(pid)

    def disown(self, pid: int) -> None:
        """Forget an adopted child, which has been waited for."""
        self._known.discard(pid)

    def wait(self, pid: int) -> asyncio.Future[Exit]:
        """Return a future for the end of a child; it is reaped here. Raises ``OSError``.

        One epoll descriptor stands for all of them in the event loop: registering there costs a
        tenth of ``add_reader``.
        """
        pidfd = os.pidfd_open(pid)
        try:
            self._epoll.register(pidfd, select.EPOLLIN)
        except OSError:
            os.close(pidfd)
            raise
        # Not before: what is known is left alone, and nobody waits for one that failed.
        self._known.add(pid)
        future: asyncio.Future[Exit] = self._loop.create_future()
        self._waits[pidfd] = (pid, future)
        return future

    def rejoin(self, pid: int) -> asyncio.Future[Exit] | None:
        """Return a new future for a child whose wait was cancelled; ``None`` if it was reaped."""
        for pidfd, (known, _) in self._waits.items():
            if known == pid:
                future: asyncio.Future[Exit] = self._loop.create_future()
                self._waits[pidfd] = (pid, future)
                return future
        return None

    def _reap(self) -> None:
        for pidfd, _ in self._epoll.poll(0):
            pid, future = self._waits.pop(pidfd)
            # A copy of the descriptor may live in a child between fork and exec: closing alone
            # would leave it registered.
            self._epoll.unregister(pidfd)
            os.close(pidfd)
            if self._witness is not None and pid in self._attempts:
                self._testify(self._witness, pid)
            _, status, usage = os.wait4(pid, 0)
            self._known.discard(pid)
            if not future.done():
                future.set_result(Exit(status, usage))

    @staticmethod
    def _testify(witness: Witness, pid: int) -> None:
        """Have a leader's end written down while the kernel still knows it."""
        end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if end is not None:
            exited = end.si_code == os.CLD_EXITED
            witness.ended(pid, end.si_status << 8 if exited else end.si_status)

    def note_stop(self, attempt: Attempt, finding: Finding) -> None:
        """Have it written down why an attempt is being stopped."""
        if self._witness is not None:
            self._witness.stopped(attempt.run_id.decode(), finding)

    def begin(self, attempt: Attempt) -> None:
        """Know an attempt from the start of its leader."""
        self._attempts[attempt.leader] = attempt

    def end(self, attempt: Attempt) -> None:
        """Forget an attempt of which nothing is left."""
        self._attempts.pop(attempt.leader, None)

    def _children(self) -> list[int]:
        if self._children_fd is None:
            return children_of(os.getpid())
        return read_children(self._children_fd)

    def leftovers(self, attempt: Attempt) -> list[Process]:
        """Return the living processes that ``attempt`` left to us; dead ones are reaped.

        Its leader is none of them: a warm interpreter goes on. Without any, which is the rule,
        this costs one read.
        """
        if self._known.issuperset(self._children()) and not self._suspects:
            return []
        for suspects in self._look().values():
            if suspects != {attempt}:
                suspects.discard(attempt)
        return self._outlived(attempt, leader=False)

    def family(self, attempt: Attempt) -> list[Process]:
        """Return all living processes of ``attempt`` that may be signalled."""
        return self._outlived(attempt, leader=True)

    def _outlived(self, attempt: Attempt, *, leader: bool) -> list[Process]:
        """Return the living processes of ``attempt``; with ``leader`` it and those below it too.

        Without ``leader``, only those that have lost touch with it.

        What dies during the look may leave children that came to us after it began: nothing is
        called gone before a look at which nothing died.
        """
        dead: set[tuple[int, int]] = set()
        while True:
            roots = [pid for pid, suspects in self._look().items() if suspects <= {attempt}]
            if leader and attempt.leader in self._known:
                roots.append(attempt.leader)
            found = descendants(roots)
            living = self._living(found)
            died = {(process.pid, process.start) for process in found if process.zombie}
            if living or died <= dead:
                return living
            dead |= died

    def runs(self, attempt: Attempt) -> bool:
        """Return whether the leader has not been reaped: its number is surely its own."""
        return attempt.leader in self._known

    def roots(self, attempt: Attempt) -> list[int]:
        """Return the topmost processes of ``attempt`` as far as they are known."""
        strays = [pid for pid, suspects in self._suspects.items() if suspects == {attempt}]
        return [attempt.leader, *strays]

    def members(self, attempt: Attempt, table: TreeTable) -> list[Process]:
        """Return the living processes of ``attempt`` as ``table`` shows them."""
        return table.below(self.roots(attempt))

    def tidy(self) -> None:
        """Reap dead strays and end those of nobody; call it about once a second."""
        if self._suspects or not self._known.issuperset(self._children()):
            nobodys = [pid for pid, suspects in self._look().items() if not suspects]
            self.signal(self._living(descendants(nobodys)), signal.SIGKILL)

    def _living(self, processes: list[Process]) -> list[Process]:
        return [
            process
            for process in processes
            if not process.zombie and (process.pid, process.start) not in self._immortal
        ]

    def _look(self) -> dict[int, set[Attempt]]:
        """Reap dead strays, attribute new ones, and return the suspects of all."""
        while self._sweep():
            # The children of the dead are ours now.
            pass
        return self._suspects

    def _sweep(self) -> bool:
        """Look at every stray once and return whether one had died."""
        swept = False
        children = set(self._children())
        strays = children - self._known
        for pid in self._suspects.keys() - strays:
            del self._suspects[pid]
        for pid in strays:
            process = read_process(pid)
            if process is None or process.session == self._session:
                continue
            if pid not in self._suspects:
                self._suspects[pid] = self._suspected(process)
            if process.zombie:
                self._bury(pid)
                swept = True
        return swept

    def _suspected(self, process: Process) -> set[Attempt]:
        of_session = self._attempts.get(process.session)
        if of_session is not None:
            return {of_session}
        environ = environ_of(process.pid)
        run, number = environ.get(b"JOBCTL_RUN_ID"), environ.get(b"JOBCTL_ATTEMPT")
        for attempt in self._attempts.values():
            if attempt.run_id == run and attempt.number == number:
                return {attempt}
        return set(self._attempts.values())

    def _bury(self, pid: int) -> None:
        suspects = self._suspects.pop(pid)
        with contextlib.suppress(ChildProcessError):
            reaped, _, usage = os.wait4(pid, os.WNOHANG)
            if reaped and len(suspects) == 1:
                next(iter(suspects)).orphan_cpu += usage.ru_utime + usage.ru_stime

    def signal(self, processes: list[Process], number: int) -> None:
        """Send a signal to each of them, and KILL to their whole groups at once.

        A group is hit atomically, so that none of its members can escape by a fork. Processes
        that may not be signalled are reported once and left alone from then on.
        """
        if number == signal.SIGKILL:
            for group in {process.group for process in processes} - {os.getpgrp()}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)
        for process in processes:
            if not send(process, number) and (process.pid, process.start) not in self._immortal:
                self._immortal.add((process.pid, process.start))
                _log.warning(
                    "process %d runs as somebody else and may not be signalled: it is left alone",
                    process.pid,
                )
