"""Processes of attempts whose pool is dead: found by what their environment says, and ended.

Every attempt's environment names its owner (``JOBCTL_SUPERVISOR``), which its descendants inherit
even when they leave the process group, the session and their parents.
"""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"JOBCTL_SUPERVISOR="
TERM_GRACE = 2.0
KILL_DEADLINE = 10.0


def find(owner: str) -> list[psutil.Process]:
    """Return the processes of an owner, or of all owners of a supervisor.

    Those we may not look into are not ours.
    """
    wanted = MARK + owner.encode()
    return [process for process in _processes() if _environ_has(process.pid, wanted)]


def _processes() -> Iterator[psutil.Process]:
    me = psutil.Process().pid
    for process in psutil.process_iter():
        if process.pid != me:
            yield process


def _environ_has(pid: int, wanted: bytes) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return any(entry == wanted or entry.startswith(wanted + b"/") for entry in environ.split(b"\0"))


def end(owner: str) -> int:
    """End every process of an owner (or supervisor): TERM, a short grace, KILL until none is left.

    Returns how many there were. Blocks up to a few seconds: call it off the event loop.
    """
    found = find(owner)
    _signal(found, signal.SIGTERM)
    _, left = psutil.wait_procs(found, timeout=TERM_GRACE)
    deadline = time.monotonic() + KILL_DEADLINE
    while left and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        psutil.wait_procs(left, timeout=0.2)
        left = [process for process in find(owner) if process.status() != psutil.STATUS_ZOMBIE]
    return len(found)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)
