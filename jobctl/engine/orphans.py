"""Collecting the orphans that fall to the supervisor, so that they do not stay as zombies."""

from __future__ import annotations

import os

from jobctl.engine.tree import children_of


def reap_orphans(known: set[int]) -> int:
    """Collect ended children that are not in ``known``; return how many there were.

    Children that this process started itself are waited for by whoever started them.
    """
    reaped = 0
    for pid in children_of(os.getpid()):
        if pid not in known:
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            reaped += done == pid
    return reaped
