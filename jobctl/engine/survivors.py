"""What a dead pool left: attempts that still run, and attempts that ended while nobody looked.

The journal names them; ``/proc`` says which of them live; how the others ended was written down by
the pool itself, by its keeper, or by the supervisor to whom orphans fall when the keeper is dead too.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.host_journal import COMMAND, since_boot
from jobctl.engine.journal_content import Started
from jobctl.engine.tree import TICKS, environ_of, read_process

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from jobctl.engine.ending import Finding
    from jobctl.engine.tree import Process

SAME_PROCESS = 3.0
"""Seconds by which the kernel's start of a process may differ from what the journal says: a number
is not given to another process so soon."""
EXIT_WORDS = 10

# include/uapi/linux/pidfd.h: struct pidfd_info in its first form ends with the exit code.
_PIDFD_INFO_SIZE = 64
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_GET_INFO = (3 << 30) | (_PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a process ended, as written down by who reaped it."""

    status: int
    """As of ``wait4``."""
    ended: float
    """Seconds since boot."""
    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    """Bytes."""
    read_blocks: int = 0
    write_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """An attempt of a dead pool that is to be seen to its end."""

    started: Started
    exits: tuple[Path, ...]
    """Files in which its end may be written."""
    seen: Death | None = None
    """Its end, when the pool itself still saw it."""
    stop: Finding | None = None
    """Why jobctl was stopping it."""


def mark(owner: str, *, slot: int, epoch: int) -> str:
    """Return what the environment of an attempt says about whose it is (``JOBCTL_SUPERVISOR``)."""
    return f"{owner}/{slot}.{epoch}"


def unwritten(owner: str, *, known: Container[str]) -> list[Started]:
    """Find attempts of a dead pool that it had no time to write down, by their environment.

    ``known`` are the runs of which its journal speaks. Of the processes of one attempt the oldest
    that leads a session is its leader.
    """
    found: dict[str, Started] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - as in tree.py
        process = read_process(int(name)) if name.isdigit() else None
        if process is None or process.zombie or process.session != process.pid:
            continue
        started = _marked(process, owner)
        if started is None or started.run_id in known:
            continue
        other = found.get(started.run_id)
        if other is None or started.born < other.born:
            found[started.run_id] = started
    return list(found.values())


def _marked(process: Process, owner: str) -> Started | None:
    environ = environ_of(process.pid)
    whose, _, place = (
        environ.get(b"JOBCTL_SUPERVISOR", b"").decode(errors="replace").rpartition("/")
    )
    slot, _, epoch = place.partition(".")
    if whose != owner or b"JOBCTL_RUN_ID" not in environ:
        return None
    born = process.start / TICKS
    try:
        return Started(
            run_id=environ[b"JOBCTL_RUN_ID"].decode(),
            epoch=int(epoch),
            attempt=int(environ[b"JOBCTL_ATTEMPT"]),
            slot=int(slot),
            pid=process.pid,
            born=born,
            begun=born,
            started_at=SYSTEM_CLOCK.epoch() - (since_boot() - born),
            kind=COMMAND,
            job=environ[b"JOBCTL_JOB"].decode(),
            # What was lost before is counted in both numbers of the environment.
            max_attempts=int(environ[b"JOBCTL_MAX_ATTEMPTS"]),
        )
    except (KeyError, ValueError):
        return None


def lives(started: Started) -> bool:
    """Return whether the leader of an attempt still runs; a zombie has ended."""
    process = read_process(started.pid)
    return process is not None and not process.zombie and _same(process.start, started)


def identity(started: Started) -> int | None:
    """Return the start time of the leader in clock ticks, ``None`` when it is gone."""
    process = read_process(started.pid)
    return process.start if process is not None and _same(process.start, started) else None


def death(started: Started, sources: Sequence[Path]) -> Death | None:
    """Look for the end of an attempt's leader in files of exits; ``None`` when it is not there."""
    for path in sources:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            found = _death(line.split(), started)
            if found is not None:
                return found
    return None


def told_by_kernel(pidfd: int) -> Death | None:
    """Return how a process ended that somebody else has reaped; ``None`` where nobody can tell.

    Linux 6.15 and later remember it for whoever held a descriptor of the process: the last resort
    when the keeper is dead too.
    """
    info = bytearray(_PIDFD_INFO_SIZE)
    struct.pack_into("Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    if not struct.unpack_from("Q", info, 0)[0] & _PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("i", info, _PIDFD_INFO_SIZE - 4)
    return Death(status=status, ended=since_boot())


def leader_of(intended: Started, sources: Sequence[Path], *, known: Container[int]) -> int | None:
    """Find the process of an attempt that was made and had no time to be written down.

    It has ended, else its environment would tell. ``known`` are leaders of other attempts. Pools
    make one process at a time, so there is but one: it led a session, began just then, and is
    nobody else's.
    """
    for path in sources:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) != EXIT_WORDS or words[0] != words[9] or int(words[0]) in known:
                continue
            late = int(words[1]) / TICKS - intended.begun
            if -1 / TICKS * 2 <= late < SAME_PROCESS:
                return int(words[0])
    return None


def _death(words: list[str], started: Started) -> Death | None:
    if len(words) != EXIT_WORDS or words[0] != str(started.pid):
        return None
    try:
        start = int(words[1])
        # A process whose start could not be read is told by its end alone.
        if start and not _same(start, started):
            return None
        return Death(
            status=int(words[2]),
            user=float(words[3]),
            system=float(words[4]),
            max_rss=int(words[5]) * 1024,
            read_blocks=int(words[6]),
            write_blocks=int(words[7]),
            ended=float(words[8]),
        )
    except ValueError:
        return None


def _same(start: int, started: Started) -> bool:
    return abs(start / TICKS - started.born) < SAME_PROCESS
