"""How far a bundle is: a file that the pool and its Python child share, and tokens for its runs.

The child takes a token (an eventfd that counts down) before it begins a run, and the pool gives as
many as there are runs. Whoever takes a token has it alone, so the pool can call back what has not
begun: the last runs of the bundle, one for each token it gets.

The file begins with a page that both map: which bundle, how many runs have begun and are answered,
when the last one began, where the answers end. The answers follow it, one line of JSON a run. Each
is there before the next run begins: what a child has done is known when it dies, and also when the
pool dies with it.

The room for usual answers is allocated, not only named: the child writes them into its memory, where
a disk that is full must not show.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobctl.store import compact

HEADER = struct.Struct("<QIIdQ")
"""Number of the bundle, runs begun, runs answered, monotonic start of the last, end of answers."""
BUNDLE = struct.Struct("<Q")
ANSWERS_AT = 4096
ANSWERS_ROOM = 16 * 1024
"""Bytes for the answers of a bundle whose runs return little; more are written behind them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the page says."""

    bundle: int
    begun: int
    answered: int
    began: float
    """Monotonic seconds."""
    end: int


class Tally:
    """The pool's side, for one child."""

    def __init__(self, path: str) -> None:
        """Make the file at ``path``, in place of one that was there. Raises ``OSError``."""
        self.path = path
        self.bundle = 0
        self._read_to = ANSWERS_AT
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        self.tokens = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            _allocate(self._fd, ANSWERS_AT + ANSWERS_ROOM)
            self._page = mmap.mmap(self._fd, ANSWERS_AT)
        except BaseException:
            self._close_files()
            with contextlib.suppress(OSError):
                Path(path).unlink()
            raise

    def begin(self, runs: int) -> int:
        """Let the child take so many runs; return the number of their bundle."""
        self.bundle += 1
        self._read_to = ANSWERS_AT
        HEADER.pack_into(self._page, 0, self.bundle, 0, 0, 0.0, ANSWERS_AT)
        os.eventfd_write(self.tokens, runs)
        return self.bundle

    def call_back(self) -> int:
        """Take all tokens that are left: so many runs, the last ones, will not begin."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                count += os.eventfd_read(self.tokens)
        return count

    @property
    def standing(self) -> Standing:
        """How far the bundle is."""
        return Standing(*HEADER.unpack_from(self._page, 0))

    def answers(self) -> list[list[Any]]:
        """Return the answers that have come since the last call; raises ``ValueError``."""
        end = self.standing.end
        if end <= self._read_to:
            return []
        if end > os.fstat(self._fd).st_size:
            raise ValueError("it names more than there is")
        data = os.pread(self._fd, end - self._read_to, self._read_to)
        self._read_to = end
        return parse(data)

    def close(self) -> None:
        """Let go of the file, which goes with its child."""
        self._page.close()
        self._close_files()
        with contextlib.suppress(OSError):
            Path(self.path).unlink()

    def _close_files(self) -> None:
        os.close(self.tokens)
        if self._fd >= 0:
            os.close(self._fd)


def _allocate(fd: int, size: int) -> None:
    """Have the disk keep room for an empty file; raises ``OSError``, as when there is none."""
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        # Some file systems cannot, some C libraries do not help: then it is written.
        if os.pwrite(fd, bytes(size), 0) < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None


def parse(data: bytes) -> list[list[Any]]:
    """Return answers from their lines; raises ``ValueError`` for what is none."""
    text = data.rstrip().replace(b"\n", b",").decode()
    answers: Any = compact.parse(f"[{text}]")
    if not all(isinstance(answer, list) for answer in answers):
        raise ValueError("not an answer")
    return answers  # type: ignore[no-any-return]


def read(path: Path, bundle: int) -> tuple[Standing, list[list[Any]]] | None:
    """Return what a file says of a bundle; ``None`` when it knows nothing of it."""
    try:
        data = path.read_bytes()
        standing = Standing(*HEADER.unpack_from(data, 0))
        if standing.bundle != bundle:
            return None
        return standing, parse(data[ANSWERS_AT : standing.end])
    except (OSError, ValueError, struct.error):
        return None
