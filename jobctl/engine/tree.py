"""Processes as the kernel shows them: who descends from whom, and what they use.

Everything is read from ``/proc`` by file, not through psutil: an attempt's end asks these
questions while the next one waits. A process is identified by its number *and* its start time,
so that a number which was given again is never taken for the process that had it before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")

_GONE = (FileNotFoundError, ProcessLookupError)
_STAT_SIZE = 4096
_ENVIRON_SIZE = 256 * 1024


class Process(NamedTuple):
    """One line of ``/proc/PID/stat``."""

    pid: int
    parent: int
    group: int
    session: int
    zombie: bool
    start: int
    """Clock ticks since boot: with ``pid`` the identity of the process."""
    rss: int
    """Resident bytes."""
    cpu: float
    """Seconds of user and system time of the process itself."""


def read_process(pid: int) -> Process | None:
    """Return what the kernel says about ``pid``; ``None`` when there is no such process."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except _GONE:
        return None
    try:
        data = os.read(fd, _STAT_SIZE)
    except _GONE:
        return None
    finally:
        os.close(fd)
    # The name in parentheses may hold anything, parentheses and spaces included.
    fields = data[data.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        zombie=fields[0] in b"ZX",
        start=int(fields[19]),
        rss=int(fields[21]) * PAGE,
        cpu=(int(fields[11]) + int(fields[12])) / TICKS,
    )


@cache
def kernel_lists_children() -> bool:
    """Return whether ``/proc/PID/task/TID/children`` exists (``CONFIG_PROC_CHILDREN``)."""
    pid = os.getpid()
    return os.access(f"/proc/{pid}/task/{pid}/children", os.R_OK)


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of ``pid``; empty when it is gone.

    A child may be missed while one of its siblings goes away: ask again until nothing is left.
    """
    if not kernel_lists_children():
        return _children_by_search(pid)
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return children
    for thread in threads:
        with contextlib.suppress(*_GONE):
            fd = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY)
            try:
                children += read_children(fd)
            finally:
                os.close(fd)
    return children


def read_children(fd: int) -> list[int]:
    """Return the numbers in an open ``children`` file; it can be asked again and again."""
    data = piece = os.pread(fd, _STAT_SIZE, 0)
    while len(piece) > _STAT_SIZE // 2:
        piece = os.pread(fd, _STAT_SIZE, len(data))
        data += piece
    return [int(number) for number in data.split()]


def _children_by_search(pid: int) -> list[int]:
    import psutil  # noqa: PLC0415 - 50 ms that only kernels without the children file cost

    return [process.pid for process in psutil.process_iter(["ppid"]) if process.info["ppid"] == pid]


def descendants(
    roots: Iterable[int], *, children: Callable[[int], list[int]] = children_of
) -> list[Process]:
    """Return the living and dead processes below and including ``roots``, parents first."""
    found: dict[int, Process] = {}
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        process = read_process(pid)
        if process is not None:
            found[pid] = process
            waiting += children(pid)
    return list(found.values())


def environ_of(pid: int) -> dict[bytes, bytes]:
    """Return the environment ``pid`` was started with; empty when it may not be read."""
    try:
        fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
    except (*_GONE, PermissionError):
        return {}
    try:
        data = os.read(fd, _ENVIRON_SIZE)
    except (*_GONE, PermissionError):
        return {}
    finally:
        os.close(fd)
    pairs = (entry.partition(b"=") for entry in data.split(b"\0"))
    return {name: value for name, _, value in pairs}


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; return False when it may not be signalled.

    A process that is gone counts as signalled.
    """
    try:
        _send(process, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _send(process: Process, number: int) -> None:
    try:
        fd = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno not in {errno.EMFILE, errno.ENFILE}:
            raise
        # Without a descriptor its identity cannot be held; it was read a moment ago.
        os.kill(process.pid, number)
        return
    try:
        now = read_process(process.pid)
        if now is not None and now.start == process.start:
            signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


class TreeTable:
    """All descendants of this process when it is first asked, for the samples of many slots."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] | None = None
        self._children: dict[int, list[int]] = {}

    def below(self, roots: Iterable[int]) -> list[Process]:
        """Return the living processes below and including ``roots``."""
        processes = self._read() if self._processes is None else self._processes
        found: list[Process] = []
        waiting = [pid for pid in roots if pid in processes]
        while waiting:
            pid = waiting.pop()
            if not processes[pid].zombie:
                found.append(processes[pid])
            waiting += self._children.get(pid, ())
        return found

    def _read(self) -> dict[int, Process]:
        self._processes = processes = {
            process.pid: process for process in descendants(children_of(os.getpid()))
        }
        self._children = {}
        for process in processes.values():
            self._children.setdefault(process.parent, []).append(process.pid)
        return processes
