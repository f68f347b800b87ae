"""Ask children of an application's interpreter until all is answered that can be.

A module whose import ends its child, or holds it up, is known by that: the next child does without
it, and says so where somebody needs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jobctl.clock import SYSTEM_CLOCK
from jobctl.config.asking import NoAnswerError
from jobctl.config.import_watch import WHERE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobctl.config.asking import Surroundings

MOST_LOST = 20
"""Modules that may end or hold up a child before the rest is left unasked."""
WHERE_PATIENCE = 1.0
"""Seconds it has for that, and for ending once it has said everything."""
GLANCE = 0.01
"""Seconds between two looks whether it has."""
LAST_WORDS = 300
REMEDY = "let modules only define what they hold when they are imported"
_OURS = str(Path(__file__).parent) + os.sep
TRACE_MOST = 1 << 20
"""Bytes of a stack that are looked at."""
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in <module>$', re.MULTILINE)


class TooLongError(NoAnswerError):
    """Raised when too much time, or too many children, went by without all answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A module whose import ended a child or held it up."""

    module: str
    message: str
    """What happened, with the place in it."""
    file: str = ""
    """Where it happened; empty when that is not known."""
    line: int = 0


class Interview:
    """Items that children of one application are asked about, each answered by itself."""

    def __init__(
        self,
        place: Surroundings,
        items: Sequence[dict[str, Any]],
        *,
        patience: float,
        seconds: float,
        begun: float | None = None,
        provide: bool = False,
    ) -> None:
        """``patience`` is the seconds that one module may take, ``seconds`` those of all together.

        They count from ``begun`` (monotonic; default: now).
        ``provide``: whether the names that runs have of jobctl are there where it is not installed.
        """
        self._place = place
        self._left = dict(enumerate(items))
        self._provide = provide
        self._patience = patience
        self._seconds = seconds
        self._until = (SYSTEM_CLOCK.monotonic() if begun is None else begun) + seconds
        self._lost: list[Lost] = []

    def answers(self) -> Iterator[tuple[int, Any]]:
        """Yield the number of an item and what a child says of it, as it is said.

        Raises ``NoAnswerError`` when there is nothing more to be had.
        """
        while self._left:
            question = {
                "items": list(self._left.items()),
                "provide": self._provide,
                "lost": [asdict(one) for one in self._lost],
            }
            with _Child(self._place, question) as child:
                at: str | None = None
                while self._left:
                    late = SYSTEM_CLOCK.monotonic() + self._patience
                    said = child.hear(min(late, self._until))
                    if said is None:
                        self._lost.append(self._loss(child, at, in_time=late <= self._until))
                        break
                    if "at" in said:
                        at = said["at"]
                    else:
                        del self._left[said["item"]]
                        yield said["item"], said["answer"]

    def _loss(self, child: _Child, at: str | None, *, in_time: bool) -> Lost:
        """Return what became of a child that says no more while it was at a module."""
        code, (file, line), words = child.end()
        place = f" ({file}:{line})" if file else ""
        python = self._place.python
        if at is None or any(one.module == at for one in self._lost):
            said = (
                f"ended {_by(code)}" if code is not None else "was ended because it took too long"
            )
            raise NoAnswerError(
                f"{python} {said} and said: {words or 'nothing'}",
                "import the modules by hand to see why",
            )
        if code is None and not in_time:
            raise TooLongError(
                f"importing modules took more than {self._seconds:g} s, at the end {at}{place}",
                REMEDY,
            )
        if len(self._lost) == MOST_LOST:
            raise TooLongError(
                f"{MOST_LOST + 1} modules end the process that imports them, or hold it up; "
                f"the last one is {at}{place}",
                REMEDY,
            )
        if code is None:
            message = f"importing {at} did not end within {self._patience:g} s{place}"
        else:
            message = f"importing {at} ended the process {_by(code)}{place}"
            message += f", and it said: {words}" if words else ""
        return Lost(module=at, message=message, file=file, line=line)


def _by(code: int) -> str:
    """Return how a process ended, by what ``subprocess`` calls its return code."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _ready(fds: tuple[int, ...], seconds: float) -> set[int]:
    """Return which descriptors have something to read, as soon as one has, or none after a time."""
    # Not `select`: a program that is a client may have more descriptors than that can wait for.
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(seconds * 1000)}


class _Child:
    """One process that imports; a context manager, behind which it is gone."""

    def __init__(self, place: Surroundings, question: dict[str, Any]) -> None:
        with contextlib.ExitStack() as made:
            self._trace = made.enter_context(tempfile.TemporaryFile())
            self._output = made.enter_context(tempfile.TemporaryFile())
            asked = made.enter_context(tempfile.TemporaryFile())
            asked.write(json.dumps(question).encode())
            asked.seek(0)
            self._answers, theirs = os.pipe()
            made.callback(os.close, self._answers)
            try:
                fds = (theirs, asked.fileno(), self._trace.fileno())
                self._process = place.start(fds, output=self._output.fileno())
            finally:
                os.close(theirs)
            self._pidfd = os.pidfd_open(self._process.pid)
            made.callback(os.close, self._pidfd)
            made.callback(self._stop)
            self._kept = made.pop_all()
        self._buffer = b""
        self._late = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._kill()  # nobody wants to hear more
        self._kept.close()

    def hear(self, until: float) -> dict[str, Any] | None:
        """Return what it says next; ``None`` when it ends, or says nothing until then (monotonic)."""
        while b"\n" not in self._buffer:
            left = max(0.0, until - SYSTEM_CLOCK.monotonic())
            ready = _ready((self._answers, self._pidfd), left)
            # What it left in the pipe comes first.
            data = os.read(self._answers, 1 << 16) if self._answers in ready else b""
            if not data:
                self._late = not ready
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def end(self) -> tuple[int | None, tuple[str, int], str]:
        """Return its code, where it was, and its last words; the code is ``None`` if it was ended."""
        if not self._late:
            self._late = not self._ended(WHERE_PATIENCE)
        elif not self._ended(0.0):
            os.kill(self._process.pid, WHERE)
            begun = SYSTEM_CLOCK.monotonic()
            while not self._where()[0] and SYSTEM_CLOCK.monotonic() - begun < WHERE_PATIENCE:
                if self._ended(GLANCE):
                    break
        self._kill()
        code = None if self._late else self._process.returncode
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4 * LAST_WORDS))
        words = " ".join(self._output.read().decode("utf-8", "replace").split())[-LAST_WORDS:]
        return code, self._where(), words

    def _where(self) -> tuple[str, int]:
        """Return file and line of the module it was importing last, as far as its stack tells."""
        # Without a seek: the child writes where this would leave the position they share.
        text = os.pread(self._trace.fileno(), TRACE_MOST, 0).decode("utf-8", "replace")
        for file, line in _FRAME.findall(text):
            if not file.startswith((_OURS, "<")):
                return file, int(line)
        return "", 0

    def _ended(self, seconds: float) -> bool:
        """Return whether it ends within so many seconds; it is not reaped."""
        return bool(_ready((self._pidfd,), seconds))

    def _stop(self) -> None:
        if self._process.returncode is None:
            self._ended(WHERE_PATIENCE)
            self._kill()

    def _kill(self) -> None:
        """End it, and what its modules have started: until it is reaped, its group is its own."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
