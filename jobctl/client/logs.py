"""Output of runs: from the log file on the host that wrote it, elsewhere from what was shipped.

A file appears at its name as soon as an attempt has printed something, so a follower looks at
the name until there is one, reads on while the attempt runs, and stops when the run is final.
"""

from __future__ import annotations

import os

from jobctl.client.forgotten import forgotten
from jobctl.client.steps import outlast
from jobctl.errors import NotFoundError, NotPermittedError
from jobctl.model.run import FINAL_LETTERS
from jobctl.store import queries, shipping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobctl.client.open import Session
    from jobctl.client.steps import Steps
    from jobctl.model.run import Run

LOOK_EVERY = 0.05
"""Seconds between two looks for more output."""
ASK_EVERY = 0.1
"""Seconds between two questions to the store whether the run goes on."""
CHUNK = 256 * 1024


def log_path(session: Session, job: str, run_id: str, attempt: int) -> str:
    """Return where the log of an attempt is on the host that made it."""
    return f"{session.settings.state_dir}/logs/{job}/{run_id}.{attempt}.log"


def read(session: Session, run: Run, *, attempt: int | None, lines: int | None) -> Iterator[bytes]:
    """Yield the output of one attempt, the last one by default; only its last ``lines`` lines.

    An attempt that printed nothing yields nothing. Raises ``NotFoundError`` for an attempt that
    was not made, and when its output is on another host and no part of it was shipped.
    """
    number = _attempt(run, attempt)
    if number == 0:
        return
    fd = _open(log_path(session, run.job, run.id, number))
    if fd is not None:
        yield from _file_tail(fd, lines)
        return
    shipped = _shipped_of(session, run, number)
    if shipped is not None:
        yield shipped if lines is None else _last_lines(shipped, lines)
        return
    _require_silent(session, run, number)


def follow(
    session: Session,
    run_id: str,
    *,
    lines: int | None,
    on_attempt: Callable[[int], None],
    deadline: float | None = None,
    job: str = "",
) -> Iterator[bytes]:
    """Yield a run's output as it comes, until the run ends; see :class:`Follower`."""
    follower = Follower(
        session, run_id, lines=lines, on_attempt=on_attempt, deadline=deadline, job=job
    )
    try:
        while piece := session.carry_out(follower.more()):
            yield piece
    finally:
        follower.close()


class Follower:
    """A reader of a run's output as it comes, until the run ends; waits for one that has not started.

    Begins with the newest attempt. Holds where it is: the attempt, its open file, or the position
    in what is shipped. A store that is away for a while is waited for.
    """

    def __init__(
        self,
        session: Session,
        run_id: str,
        *,
        lines: int | None = None,
        on_attempt: Callable[[int], None] = lambda _: None,
        deadline: float | None = None,
        job: str = "",
    ) -> None:
        """``lines`` are the last ones of the newest attempt to begin with (``None``: all of it).

        ``on_attempt`` is called for each further attempt, before its output. It ends early at
        ``deadline``, by the monotonic clock. ``job`` is that of a run that is known to have been.
        """
        self.session = session
        self.id = run_id
        self._until = deadline
        self._on_attempt = on_attempt
        self._lines = lines
        self._attempt = 0
        self._newest = 0
        self._job = job
        self._final = False
        self._asked: float | None = None
        self._fd: int | None = None
        self._entry = "0-0"
        self._position = 0
        self._shipped: list[bytes] = []

    def more(self) -> Steps[bytes]:
        """Wait for more output and return a piece of it, nothing once there is no more to come.

        Raises ``NoSuchRun`` when the run is forgotten meanwhile.
        """
        while True:
            piece = yield from self._piece()
            if piece:
                return piece
            if self._newest != self._attempt:
                # What the last attempt printed until its very end came before.
                self._advance()
            elif self._final or self._late():
                return b""
            else:
                yield from self._rest()

    def _late(self) -> bool:
        return self._until is not None and self.session.clock.monotonic() >= self._until

    def _rest(self) -> Steps[None]:
        """Wait a little, or ask whether the run goes on when it is time to."""
        now = self.session.clock.monotonic()
        if self._asked is not None and now - self._asked < ASK_EVERY:
            yield LOOK_EVERY
            return
        self._asked = now
        call = queries.log_state(self.session.keys, self.id)
        ((letter, job, attempt),) = yield from outlast(self.session, [call], until=self._until)
        if letter is None:
            raise (yield from forgotten(self.session, self.id, job=self._job))
        self._job, self._newest, self._final = job, attempt, letter in FINAL_LETTERS

    def _advance(self) -> None:
        """Turn to the newest attempt."""
        before = self._attempt
        self.close()
        self._attempt = self._newest
        self._position = 0
        if before:
            self._lines = None
            self._on_attempt(self._attempt)

    def _piece(self) -> Steps[bytes]:
        """Return the next piece of the output there is by now, nothing when all was returned."""
        if not self._attempt:
            return b""
        if self._fd is None and not self._shipped:
            self._fd = _open(log_path(self.session, self._job, self.id, self._attempt))
            if self._fd is not None and self._lines is not None:
                _seek_lines(self._fd, self._lines)
        if self._fd is not None:
            return _next(self._fd)
        if not self._shipped:
            self._shipped = yield from self._look_at_shipped()
        return self._shipped.pop(0) if self._shipped else b""

    def _look_at_shipped(self) -> Steps[list[bytes]]:
        """Return what was shipped of the attempt meanwhile."""
        found: list[bytes] = []
        if self.session.settings.redis is None:
            return found
        call = shipping.shipped(self.session.keys, self.id, after=self._entry)
        (pieces,) = yield from outlast(self.session, [call], until=self._until)
        for piece in pieces:
            if piece.attempt > self._attempt:
                break
            self._entry = piece.entry
            if piece.attempt == self._attempt and piece.end > self._position:
                # The last entry repeats the tail of what came before.
                data = piece.data[max(0, self._position - piece.offset) :]
                first, self._position = self._position == 0, piece.end
                cut = first and self._lines is not None
                found.append(_last_lines(data, self._lines) if cut else data)  # type: ignore[arg-type]  # cut says so
        return [data for data in found if data]

    def close(self) -> None:
        """Close the file that it reads."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _next(fd: int) -> bytes:
    """Return what comes next in a log that may have lost its middle because it was too long."""
    size = os.fstat(fd).st_size
    if os.lseek(fd, 0, os.SEEK_CUR) > size:
        os.lseek(fd, size, os.SEEK_SET)
    return os.read(fd, CHUNK)


def _attempt(run: Run, wanted: int | None) -> int:
    newest = _newest(run)
    if wanted is None:
        return newest
    if not 1 <= wanted <= newest:
        made = f"it has {newest}" if newest else "it has not started"
        raise NotFoundError(f"run {run.id} has no attempt {wanted}: {made}")
    return wanted


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise NotPermittedError(
            f"{path} cannot be read: {error.strerror}; run as the user of the daemon"
        ) from error


def _file_tail(fd: int, lines: int | None) -> Iterator[bytes]:
    try:
        if lines is not None:
            _seek_lines(fd, lines)
        while chunk := os.read(fd, CHUNK):
            yield chunk
    finally:
        os.close(fd)


def _seek_lines(fd: int, lines: int) -> None:
    """Move to where the last ``lines`` lines of a file begin, reading from its end."""
    end = os.fstat(fd).st_size
    position, seen = end, 0
    if lines <= 0:
        os.lseek(fd, end, os.SEEK_SET)
        return
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        block = os.pread(fd, size, position)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            if position + at == end - 1:
                continue
            seen += 1
            if seen == lines:
                os.lseek(fd, position + at + 1, os.SEEK_SET)
                return
    os.lseek(fd, 0, os.SEEK_SET)


def _last_lines(data: bytes, lines: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines > 0 else b""


def _shipped_of(session: Session, run: Run, attempt: int) -> bytes | None:
    """Return what was shipped of an attempt, ``None`` when there is nothing."""
    if session.settings.redis is None:
        return None
    pieces = [
        piece
        for piece in session.run(shipping.shipped(session.keys, run.id))
        if piece.attempt == attempt
    ]
    return b"".join(piece.data for piece in pieces) if pieces else None


def _newest(run: Run) -> int:
    return max([run.attempt, *(item.number for item in run.attempts)])


def _require_silent(session: Session, run: Run, attempt: int) -> None:
    """Raise ``NotFoundError`` when the attempt printed something that cannot be shown here."""
    for item in run.attempts:
        if item.number == attempt and item.log_bytes:
            where = f"host {item.host}" if item.host else "its host"
            place = log_path(session, run.job, run.id, attempt)
            raise NotFoundError(
                f"the log of run {run.id} is not here: {where} had it at {place}, "
                "and it may be past its retention there"
            )
