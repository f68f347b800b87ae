"""What each run of a bundle used and left behind: CPU, memory, processes, files.

A run that does nothing shall pay next to nothing for it, so what cannot have changed is not looked
at. The kernel counts for each process how often a page was missing and how often others ran
instead. A process that forks shares its pages from then on, so it misses those that it writes to; one
that has another start in its memory (vfork, posix_spawn) is kept waiting meanwhile. As long as no
count has changed a process has not grown, is no copy, has started no other, and has waited for none.
Whoever calls ``clone(CLONE_VM)`` itself to have a process in its memory that runs beside it gets by:
what such a process uses is not counted, and that it is left behind shows at the end of the bundle.

Loaded by :mod:`jobctl.engine.python_bundle`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import os
import resource
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Usage = tuple[int, int, int, int, int]
    """CPU of user and system in microseconds, peak of memory, blocks read and written."""

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""
SELF, CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
UTIME, STIME, INBLOCK, OUBLOCK = 0, 1, 9, 10
"""Places in what ``getrusage`` returns: three times as fast as its names."""
COUNTS = slice(6, None)
"""The places of all that is counted: missing pages, blocks, turns of others."""
FAULTS = slice(6, 8)
"""The places of missing pages among them."""
MICRO = 1e6
SECOND = 1_000_000_000
NEVER = 1 << 63
COARSE_CLOCK = 5
"""``CLOCK_REALTIME_COARSE`` of Linux, by which files have their time stamps. It goes by ticks."""
GRAIN, COARSE_GRAIN = SECOND // 50, 3 * SECOND
"""Nanoseconds after which a time stamp differs: where it has parts of seconds, and where it seems to
be a whole second or every other."""


class Meter:
    """What a run used, and whether it may have started a process."""

    def __init__(self, child: Any) -> None:
        self._child = child
        self._children = MODULE.open_meter(f"task/{child.pid}/children", os.O_RDONLY)
        self.begin()

    def begin(self) -> None:
        """Know that a bundle begins; the interpreter has waited for it meanwhile."""
        self._before = self._after = resource.getrusage(SELF)
        self._waited = resource.getrusage(CHILDREN)
        self._counts: Any = self._before[COUNTS]
        self._held: int | None = None
        """Bytes of memory that are held as long as the counts do not change."""
        self.had_children = False
        """Whether the last run has waited for a process that it had started."""
        self.usual = b""
        """How the answer to a run ends of which there is nothing more to say."""

    def quiet(self) -> bool:
        """Return whether nothing was counted since the last run; asked when a function has ended."""
        self._after = after = resource.getrusage(SELF)
        return after[COUNTS] == self._counts  # type: ignore[no-any-return]

    def processes_left(self) -> bool:
        """Return whether there are child processes."""
        return self._children is not None and bool(os.pread(self._children, 64, 0))

    def used(self, duration: int, *, quiet: bool) -> Usage:
        """Return what a run used that took so many nanoseconds, its end included.

        ``quiet``: whether nothing was counted, nor anything done since it was asked.
        """
        before = self._before
        if quiet:
            self.had_children = False
            self._before = after = self._after
            if self._held is None:
                self._held = self._child.peak(0.0, after)
                self.usual = b"%d,0,0,0,false,null,null]\n" % self._held
            return (
                int((after[UTIME] - before[UTIME]) * MICRO + 0.5),
                int((after[STIME] - before[STIME]) * MICRO + 0.5),
                self._held, 0, 0,
            )  # fmt: skip
        self._before = after = resource.getrusage(SELF)
        self._counts = after[COUNTS]
        reaped, waited = resource.getrusage(CHILDREN), self._waited
        self._waited = reaped
        self.had_children = reaped != waited
        user, system, read, wrote = (
            after[place] - before[place] + reaped[place] - waited[place]
            for place in (UTIME, STIME, INBLOCK, OUBLOCK)
        )
        seconds = duration / SECOND
        peak: int = self._child.peak(seconds, after)
        if after[FAULTS] != before[FAULTS]:  # it has grown, and may have shrunk again
            self._child.reset_peak()
        self._held = None  # known to the next run, if it needs it
        return int(user * MICRO + 0.5), int(system * MICRO + 0.5), peak, int(read), int(wrote)


class Files:
    """Whether a run has made one of its files: its result, and how far it is.

    Their directory is asked first when it was changed last: to look for two files that are not there
    takes four times as long. Two changes at once may have the same time stamp, so it is relied on
    only for runs that began when the next change was sure to have another. It is on a local disk, as
    all of the state directory, so its time stamps are by the clock that is asked here.
    """

    def __init__(self) -> None:
        self._folder = b""
        self._directory = -1
        self._changed = 0
        """When it was changed last."""
        self._sure = NEVER
        """The next change has another time stamp if it comes after this (monotonic nanoseconds)."""
        self._again = 0
        """Not asked before: it was changed a moment ago."""
        self._first = True

    def begin(self) -> None:
        """Know that a bundle begins."""
        self._first = True

    def end(self) -> None:
        """Know that a bundle has ended: by the next one there may be another directory."""
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def made(self, folder: bytes, files: bytes, began: int) -> bool:
        """Return whether there is a file whose name begins so, of a run that began then."""
        if began >= self._again and self._is_unchanged(folder, began):
            return False
        return os.access(files + b".result", os.F_OK) or os.access(files + b".progress", os.F_OK)

    def _is_unchanged(self, folder: bytes, began: int) -> bool:
        try:
            if self._directory >= 0 and folder == self._folder:
                changed = os.stat(self._directory).st_mtime_ns
            elif self._first:  # it may be the only one
                self._first = False
                changed = os.stat(folder).st_mtime_ns
            else:
                self.end()
                flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                self._directory, self._folder = os.open(folder, flags), folder
                changed = os.stat(self._directory).st_mtime_ns
        except OSError:
            changed = -1
        if changed == self._changed and began >= self._sure:
            return True
        passed = time.clock_gettime_ns(COARSE_CLOCK) - changed
        now = time.monotonic_ns()
        self._changed = changed
        if changed > 0 and passed > (GRAIN if changed % SECOND else COARSE_GRAIN):
            self._sure = now
        else:
            self._sure, self._again = NEVER, now + GRAIN
        return False
