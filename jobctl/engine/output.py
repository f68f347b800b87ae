"""Where an attempt's output goes: by descriptor straight into a file that jobctl only watches.

A slot has one *spool* file. An attempt that prints nothing leaves it empty and the next one uses
it again: making a file for every run costs a third of the rate on ext4. As soon as somebody sees
bytes in it (:class:`OutputWatch`, or the end of the attempt) it is renamed to its name in
``logs/``; the descriptor the job writes to does not notice.

Output without end is *cut* while the job goes on writing: the first half of ``max_output`` stays,
a mark says how many bytes are missing, and the newest bytes follow it
(:mod:`jobctl.engine.cutting`). The job's descriptor is append-only, so it continues right there.
Between two looks a file may outgrow ``max_output``; they follow each other faster the faster it
grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from typing import TYPE_CHECKING

from jobctl.engine.attempt import LOGS_MODE, log_file
from jobctl.engine.cutting import BLOCK, collapse, move_down

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.engine.attempt import AttemptDirs

FIRST_LOOK = 0.02
"""Seconds from the start of an attempt to the first look at its output."""
RAREST_LOOK = 0.05
"""Seconds between two looks at a silent file: a burst may write for so long uncut."""
QUICKEST_LOOK = 0.008
"""A cut takes the event loop about half of that."""

TAIL = 1024 * 1024
"""Most bytes behind the mark after a cut; they are written to disk or moved before it ends."""

SMALLEST_LIMIT = 4 * BLOCK
"""Bytes; a limit below leaves no room for head, mark and tail."""

_LOG_MODE = 0o640

_MARK = re.compile(rb"\n\[jobctl: +(\d+) bytes dropped here, max_output is \d+\]\n")
_MARK_SIZE = 128

_log = logging.getLogger(__name__)


class Output:
    """The output file of one slot, from attempt to attempt."""

    def __init__(self, *, dirs: AttemptDirs, slot: str, occupied: bool = False) -> None:
        """``occupied``: an attempt of an earlier process of the pool still uses the file."""
        self._dirs = dirs
        self._spool = dirs.spool / f"{slot}.log"
        if not occupied:
            # A process that outlived an earlier pool may still write to the old file.
            self._spool.unlink(missing_ok=True)
        self._name: tuple[str, str, int] = ("", "", 0)
        self._fd = -1
        self._limit = self._head = 0
        self._mark = b""
        self._size_seen = 0
        self._pause = FIRST_LOOK
        self.path = self._spool
        """The file to read, while the attempt runs and until the next one starts."""
        self.dropped = 0
        """Bytes cut out of the middle."""

    def open(self, *, job: str, run_id: str, attempt: int, limit: int) -> int:
        """Return the descriptor for the attempt's stdout and stderr; raise ``OSError``."""
        self._begin(job=job, run_id=run_id, attempt=attempt, limit=limit)
        # Opened anew: flags a job sets on its descriptor must not reach the next job.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(self._spool, flags, _LOG_MODE)
        except FileNotFoundError:
            # Somebody cleaned up too much.
            self._dirs.create()
            self._fd = os.open(self._spool, flags, _LOG_MODE)
        return self._fd

    def _begin(self, *, job: str, run_id: str, attempt: int, limit: int) -> None:
        self.path = self._spool
        self._name = (job, run_id, attempt)
        self._limit = max(limit, SMALLEST_LIMIT)
        self._head = self._limit // 2 // BLOCK * BLOCK
        self._mark = b""
        self.dropped = 0
        self._size_seen = 0
        self._pause = FIRST_LOOK

    def adopt(self, *, job: str, run_id: str, attempt: int, limit: int) -> None:
        """Watch the output of an attempt that an earlier process of the pool started.

        Raises ``OSError``, for example when the file is gone.
        """
        self._begin(job=job, run_id=run_id, attempt=attempt, limit=limit)
        target = log_file(self._dirs.logs, job, run_id, attempt)
        # A spool with something in it is renamed within a moment.
        self.path = target if target.exists() else self._spool
        self._fd = os.open(
            self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _LOG_MODE
        )
        found = _MARK.match(os.pread(self._fd, _MARK_SIZE, self._head))
        if found is not None:
            self._mark, self.dropped = found[0], int(found[1])

    def close(self, *, retire: bool, kept: bool = False) -> int:
        """End the attempt's output and return the size of its log in bytes.

        With ``retire`` the file is never used again, because somebody may still have it open; with
        ``kept`` as well, that is meant to be, and what comes later belongs into the log.
        """
        if self._fd < 0:
            return 0
        size = os.fstat(self._fd).st_size
        if size > self._limit:
            with contextlib.suppress(OSError):
                size = self._cut(size)
        self._size_seen = self._written(size)
        os.close(self._fd)
        self._fd = -1
        if self.path is self._spool:
            if size or (retire and kept):
                self._place(copy=True)
            elif retire:
                self.discard()
        return size

    def discard(self) -> None:
        """Leave the file that is there to whoever has it open."""
        with contextlib.suppress(OSError):
            self._spool.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes written so far, dropped ones included."""
        if self._fd < 0:
            return self._size_seen
        return self._written(os.fstat(self._fd).st_size)

    def look(self) -> float:
        """Place and cut the file if it is time; return seconds until the next look."""
        size = os.fstat(self._fd).st_size
        if size and self.path is self._spool:
            self._place(copy=False)
        grown, self._size_seen = size - self._size_seen, size
        if size > self._limit:
            self._size_seen = self._cut(size)
        if grown <= 0:
            self._pause = min(self._pause * 2, RAREST_LOOK)
        else:
            # So soon that the file grows by an eighth of its limit until then.
            wanted = self._pause * (self._limit / 8) / grown
            self._pause = min(max(wanted, QUICKEST_LOOK), RAREST_LOOK)
        return self._pause

    def read(self, position: int, limit: int) -> tuple[bytes, int]:
        """Return up to ``limit`` bytes from ``position`` of all that was written, and the next.

        Where bytes were dropped the mark is returned in their place, once. Both file and
        positions stay valid until the next attempt starts.
        """
        head = self._head
        if self._mark:
            if position < head:
                limit = min(limit, head - position)
            elif position < head + self.dropped:
                return self._mark, head + self.dropped
            else:
                position += len(self._mark) - self.dropped
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b"", position
        try:
            data = os.pread(fd, limit, position)
        finally:
            os.close(fd)
        if self._mark and position >= head:
            position -= len(self._mark) - self.dropped
        return data, position + len(data)

    def _written(self, size: int) -> int:
        return size + self.dropped - len(self._mark)

    def _place(self, *, copy: bool) -> None:
        """Move the spool to its lasting name; ``copy`` allows to do so between file systems."""
        job, run_id, attempt = self._name
        target = log_file(self._dirs.logs, job, run_id, attempt)
        try:
            try:
                self._spool.rename(target)
            except FileNotFoundError:
                target.parent.mkdir(mode=LOGS_MODE, parents=True, exist_ok=True)
                self._spool.rename(target)
        except OSError as error:
            if copy:
                self._copy(target, error)
            return
        self.path = target

    def _copy(self, target: Path, error: OSError) -> None:
        import shutil  # noqa: PLC0415 - 0.3 MB that a file system of its own for logs costs

        try:
            shutil.copyfile(self._spool, target)
        except OSError:
            _log.warning("the log %s cannot be written and is lost: %s", target, error.strerror)
            with contextlib.suppress(OSError):
                target.unlink(missing_ok=True)
        else:
            self.path = target
        with contextlib.suppress(OSError):
            self._spool.unlink(missing_ok=True)

    def _cut(self, size: int) -> int:
        """Drop the middle of the file and return its new size; raise ``OSError``."""
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return self._cut_file(fd, size)
        except OSError as error:
            # No room to move the tail to: the head alone stays, so that the disk does not fill up.
            _log.warning("the tail of the log %s is lost: %s", self.path, error.strerror)
            os.ftruncate(fd, self._head)
            return self._head
        finally:
            os.close(fd)

    def _cut_file(self, fd: int, size: int) -> int:
        head, tail = self._head, min(self._limit // 4, TAIL)
        length = (size - tail - head) // BLOCK * BLOCK
        collapsed = collapse(fd, start=head, length=length)
        # The mark overwrites the first bytes behind the gap; an old one went with the gap.
        self.dropped += length - len(self._mark) + len(self._mark_text())
        self._write_mark(fd)
        if not collapsed:
            target = head + len(self._mark)
            missed = move_down(fd, source=target + length, target=target, most=4 * tail)
            if missed:
                self.dropped += missed
                self._write_mark(fd)
        return os.fstat(fd).st_size

    def _mark_text(self) -> bytes:
        """Return the mark as it is now; its size never changes."""
        text = f"\n[jobctl: {self.dropped:>15} bytes dropped here, max_output is {self._limit}]\n"
        return text.encode()

    def _write_mark(self, fd: int) -> None:
        self._mark = self._mark_text()
        os.pwrite(fd, self._mark, self._head)


class OutputWatch:
    """One timer that looks at the outputs of all running attempts of an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outputs: dict[Output, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, output: Output) -> None:
        """Look at ``output`` from now on."""
        now = self._loop.time()
        self._outputs[output] = now + FIRST_LOOK
        if self._timer is None:
            self._timer = self._loop.call_at(now + FIRST_LOOK, self._look)

    def discard(self, output: Output) -> None:
        """Look at it no more; it need not have been added."""
        self._outputs.pop(output, None)

    def close(self) -> None:
        """Stop looking."""
        self._outputs.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for output, due in self._outputs.items():
            if due <= now:
                self._outputs[output] = now + self._look_at(output)
        if self._outputs:
            soonest = max(min(self._outputs.values()), now + QUICKEST_LOOK)
            self._timer = self._loop.call_at(soonest, self._look)

    def _look_at(self, output: Output) -> float:
        try:
            return output.look()
        except OSError as error:
            _log.warning("the log %s cannot be watched: %s", output.path, error.strerror)
            return RAREST_LOOK
