"""What processes cost: CPU to the nanosecond where the kernel tells, and memory."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

TICK = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds; the unit of /proc/PID/stat."""
CHILDREN_FIELDS = slice(13, 15)
"""Of /proc/PID/stat behind the name: cutime and cstime, what ended and was waited for."""


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; nothing once it has ended."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu(processes: Iterable[psutil.Process]) -> float:
    """Return the user and system seconds used so far, those of ended children included."""
    return sum(_cpu(one.pid) for one in processes)


def memory(processes: Iterable[psutil.Process]) -> tuple[float, float]:
    """Return the sums of resident and proportional set size in MB of a million bytes."""
    full = []
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            full.append(one.memory_full_info())
    return sum(one.rss for one in full) / 1e6, sum(one.pss for one in full) / 1e6


def _cpu(pid: int) -> float:
    try:
        # The number by which clock_gettime(2) knows the CPU clock of a whole process.
        own = time.clock_gettime((~pid << 3) | 2)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return own + sum(int(field) for field in fields[CHILDREN_FIELDS]) * TICK
