"""Make this process the one that orphaned descendants fall to, so none gets out of sight."""

from __future__ import annotations

import ctypes
import os

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Ask the kernel (prctl(2)); False where there is no such call, as on other systems than Linux."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (AttributeError, OSError):
        return False


def reap_orphans(known: set[int]) -> int:
    """Collect ended children that are not in ``known``; return how many there were.

    Children that this process started itself are waited for by whoever started them.
    """
    reaped = 0
    for pid in children():
        if pid not in known:
            try:
                done, _ = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
            reaped += done == pid
    return reaped


def children() -> list[int]:
    """Return the ids of this process's children."""
    me = os.getpid()
    out: list[int] = []
    for thread in os.listdir(f"/proc/{me}/task"):
        try:
            with open(f"/proc/{me}/task/{thread}/children") as file:
                out += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return out
