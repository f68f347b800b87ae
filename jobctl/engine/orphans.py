"""Collecting the orphans that fall to the supervisor, so that they do not stay as zombies."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from jobctl.engine import keeper
from jobctl.engine.tree import children_of, read_process

KEEPER = os.fsencode(keeper.__file__)
KEEPERS_WITHIN = 2.0
"""Seconds for keepers to be gone at an ordered stop."""
LOOK_EVERY = 0.01


def reap_orphans(known: set[int], exits: Path) -> int:
    """Collect ended children that are not in ``known``; return how many there were.

    Attempts come here when their pool and its keeper are both dead, so how each child ended is
    added to ``exits``. Children that this process started itself are waited for by whoever
    started them.
    """
    reaped = 0
    for pid in children_of(os.getpid()):
        if pid in known:
            continue
        try:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is not None:
                _record(exits, pid)
                reaped += 1
        except ChildProcessError:
            continue
    return reaped


async def outlast_keepers(within: float = KEEPERS_WITHIN) -> None:
    """Wait until the keepers of this process that have nothing to keep are gone, ``within`` seconds at most.

    A pool is known to be gone before its keeper has written that down. One that keeps what a job
    left running on purpose stays with it.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while any(map(_ends, children_of(os.getpid()))):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_EVERY)


def _ends(pid: int) -> bool:
    """Return whether a child is a keeper that lives and has no child that does, or goes at this moment."""
    if not _lives(pid):
        return False
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        # What has given back its memory has no words any more, and is gone in a moment.
        return not words or (
            KEEPER in words.split(b"\0") and not any(map(_lives, children_of(pid)))
        )
    return False


def _lives(pid: int) -> bool:
    found = read_process(pid)
    return found is not None and not found.zombie


def _record(exits: Path, pid: int) -> None:
    exits.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(exits, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        keeper.record(fd, pid)
    finally:
        os.close(fd)
