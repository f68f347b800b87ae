"""What an attempt used: the kernel's own account at its end, and samples of its tree before."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.model.run import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.engine.processes import Exit
    from jobctl.engine.tree import Process

_KILOBYTE = 1024


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used; 0 for one that is gone."""
    try:
        # The number by which clock_gettime(2) knows the CPU clock of a whole process.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


class Meter:
    """Adds up the samples of one attempt after the other."""

    def __init__(self) -> None:
        self.rss = 0
        """Resident bytes of the tree at the last sample; shared pages count for each process."""
        self.cpu = 0.0
        """Seconds of CPU of the processes alive at the last sample."""
        self.count = 0
        """Processes at the last sample."""
        self._peak = 0

    def reset(self) -> None:
        """Begin with a new attempt."""
        self.rss = self.count = self._peak = 0
        self.cpu = 0.0

    def sample(self, tree: Iterable[Process]) -> None:
        """Take a sample of all processes of the attempt."""
        self.rss = self.count = 0
        self.cpu = 0.0
        for process in tree:
            self.rss += process.rss
            self.cpu += process.cpu
            self.count += 1
        self._peak = max(self._peak, self.rss)

    def usage(self, end: Exit, *, orphan_cpu: float) -> Usage:
        """Return what a leader and the processes it waited for used.

        The kernel's peak begins with the memory of the process that made the leader: an ``exec``
        passes it on. A value that does not exceed the pool's own peak says nothing, and an attempt
        too short for a sample then has ``max_rss`` 0: not known.
        """
        used = end.usage
        peak = self._peak
        if used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            peak = max(peak, used.ru_maxrss * _KILOBYTE)
        return Usage(
            user=used.ru_utime + orphan_cpu,
            system=used.ru_stime,
            max_rss=peak,
            read_blocks=used.ru_inblock,
            write_blocks=used.ru_oublock,
        )

    def at_least(self, usage: Usage) -> Usage:
        """Return what a function said it used, with the peak of its whole tree."""
        if self._peak <= usage.max_rss:
            return usage
        return replace(usage, max_rss=self._peak)
