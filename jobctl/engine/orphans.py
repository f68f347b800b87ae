"""Collecting the orphans that fall to the supervisor, so that they do not stay as zombies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jobctl.engine import keeper
from jobctl.engine.tree import children_of

if TYPE_CHECKING:
    from pathlib import Path


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


def _record(exits: Path, pid: int) -> None:
    exits.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(exits, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        keeper.record(fd, pid)
    finally:
        os.close(fd)
