"""The files by which a job answers: its result, and how far it has come.

Neither file is made in advance: most jobs write none. Their names hold run and attempt, so what an
earlier attempt left behind is never read. A job with ``user =`` gets a directory of its own, the
only place in the spool where it may make files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine.python_readback import check_json
from jobctl.engine.spool import remove
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptDirs

PROGRESS_TAIL = 4096
"""Bytes at the end of the progress file in which the last valid line is looked for."""
PROGRESS_LIMIT = 64 * 1024
"""Bytes; a longer progress file is emptied once it has been read."""
MESSAGE_LIMIT = 200
"""Characters of a progress message that are kept."""
WRAPPED = '{"$jobctl"'
"""How a result begins that is in another form than plain JSON; see python_forms.py."""

_log = logging.getLogger(__name__)


class ResultError(JobctlError):
    """Raised when the result file of an attempt cannot be taken."""


class Exchange:
    """Result and progress files of one slot, from attempt to attempt."""

    def __init__(self, *, dirs: AttemptDirs, slot: str, occupied: bool = False) -> None:
        """``occupied``: an attempt of an earlier process of the pool still uses its files."""
        self._base = f"{dirs.spool}/{slot}"
        self._directory: str | None = None
        self._owner: int | None = None
        self._warned = False
        self._seen = (0, 0)
        self.result_file = ""
        self.progress_file = ""
        self.reply_file = ""
        """Where a Python child leaves its answer when its pool is gone."""
        if not occupied:
            self._clean(dirs, f"{slot}.")

    def begin(self, run_id: str, attempt: int, *, owner: tuple[int, int] | None) -> None:
        """Name the files of an attempt; ``owner`` (uid, gid) is set when it runs as another user.

        Raises ``OSError``.
        """
        base = f"{self._base}.{run_id}.{attempt}"
        self._seen = (0, 0)
        self._directory = None
        self._owner = None
        if owner is not None:
            self._check_way()
            remove(base)
            os.mkdir(base, mode=0o700)
            os.chown(base, *owner)
            self._directory = base
            self._owner = owner[0]
            base += "/job"
        self._name_files(base)

    def adopt(self, run_id: str, attempt: int) -> None:
        """Use the files of an attempt that an earlier process of the pool started."""
        base = f"{self._base}.{run_id}.{attempt}"
        self._seen = (0, 0)
        self._directory = self._owner = None
        with contextlib.suppress(OSError):
            self._owner = os.stat(base, follow_symlinks=False).st_uid
            self._directory = base
            base += "/job"
        self._name_files(base)

    def _name_files(self, base: str) -> None:
        self.result_file = base + ".result"
        self.progress_file = base + ".progress"
        self.reply_file = base + ".reply"

    @staticmethod
    def _clean(dirs: AttemptDirs, prefix: str) -> None:
        for entry in os.scandir(dirs.spool):
            if entry.name.startswith(prefix):
                remove(entry.path)

    def _check_way(self) -> None:
        """Warn, once, if another user cannot get to files in the spool."""
        closed = [one for one in Path(self._base).parents if not one.stat().st_mode & 0o001]
        if closed and not self._warned:
            self._warned = True
            _log.warning(
                "jobs with user = cannot write results or progress: "
                "%s is closed to them; let them pass with chmod o+x",
                closed[0],
            )

    def end(self) -> None:
        """Remove the files."""
        if self._directory is not None:
            remove(self._directory)
            self._directory = None
            return
        for name in (self.result_file, self.progress_file, self.reply_file):
            if os.access(name, os.F_OK, follow_symlinks=False):
                remove(name)

    def result(self, limit: int) -> str | None:
        """Return the result as JSON text, ``None`` without one; raise :class:`ResultError`.

        What is not JSON becomes a JSON string.
        """
        if not os.access(self.result_file, os.F_OK, follow_symlinks=False):
            return None
        try:
            with os.fdopen(self._open(self.result_file, os.O_RDONLY), "rb") as file:
                data = file.read(limit + 1)
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise ResultError(
                f"the result file cannot be read: {error.strerror}; "
                "write a plain file to $JOBCTL_RESULT_FILE"
            ) from error
        if len(data) > limit:
            raise ResultError(
                f"the result has {size} bytes, {limit} are allowed; "
                "write it to a file or database and return where it is"
            )
        return as_json(data.decode("utf-8", errors="replace"))

    def reply(self) -> bytes:
        """Return the answer a Python child left; empty without one."""
        try:
            with os.fdopen(self._open(self.reply_file, os.O_RDONLY), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def progress(self) -> str | None:
        """Return ``{"percent": …, "message": …}`` if the job wrote since the last call."""
        if not os.access(self.progress_file, os.F_OK):
            return None
        try:
            found = os.stat(self.progress_file, follow_symlinks=False)
            seen = (found.st_size, found.st_mtime_ns)
            if seen == self._seen:
                return None
            self._seen = seen
            return last_progress(self._tail(found.st_size))
        except OSError:
            return None

    def _tail(self, size: int) -> str:
        fd = self._open(self.progress_file, os.O_RDWR)
        try:
            tail = os.pread(fd, PROGRESS_TAIL, max(0, size - PROGRESS_TAIL))
            if size > PROGRESS_LIMIT:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
        return tail.decode("utf-8", errors="replace")

    def _open(self, name: str, mode: int) -> int:
        """Open a plain file of the job; it may have put a pipe there, or a link to a secret."""
        fd = os.open(name, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or self._owner not in {None, found.st_uid}:
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a plain file of the job's user", name)
        return fd


def as_json(text: str) -> str | None:
    """Return ``text`` if it is JSON, else a JSON string of it; ``None`` when it is empty.

    JSON that some readers could not take, such as very deep nests, is a string too.
    """
    text = text.strip()
    if not text:
        return None
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_finite)
        check_json(text.encode())
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    # So begin results in other forms, and this is none.
    return f"{{ {text[1:]}" if text.startswith(WRAPPED) else text


def last_progress(text: str) -> str | None:
    """Return the last line of the form ``PERCENT [MESSAGE]`` as JSON, ``None`` without one."""
    for line in reversed(text.splitlines()):
        number, _, message = line.strip().partition(" ")
        try:
            percent = min(max(float(number.removesuffix("%")), 0.0), 100.0)
        except ValueError:
            continue
        if percent != percent:  # noqa: PLR0124 - NaN
            continue
        return progress_json(percent, message)
    return None


def progress_json(percent: float, message: str) -> str:
    """Return ``{"percent": …, "message": …}``; what is not from 0 to 100 becomes the nearest, NaN 0."""
    percent = max(0.0, min(100.0, percent)) if percent == percent else 0.0  # noqa: PLR0124 - NaN
    progress = {
        "percent": int(percent) if percent.is_integer() else percent,
        "message": message.strip()[:MESSAGE_LIMIT],
    }
    return json.dumps(progress, ensure_ascii=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    found = float(number)
    if found - found != 0:  # read, it is an infinity, which JSON has no word for
        raise ValueError(f"{number} is beyond all numbers")
    return found
