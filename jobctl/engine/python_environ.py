"""The environment of the runs of a bundle, one after the other; also that of C.

What subprocesses and libraries see is what C has. ``os.environ`` has a copy, which is compared as
a whole: as long as no job has changed it, only what differs from run to run is written.

Loaded by :mod:`jobctl.engine.python_bundle`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jobctl.engine.python_bundle import Row, Shape

RUN_ID, RESULT, PROGRESS = b"JOBCTL_RUN_ID", b"JOBCTL_RESULT_FILE", b"JOBCTL_PROGRESS_FILE"
"""The variables that differ from run to run."""
NOTHING: Mapping[bytes, bytes] = {}


def _putenv_of_c() -> Callable[[bytes], object] | None:
    """Return ``putenv(3)``, where it can be had.

    What ``os.putenv`` calls keeps each value it was ever given, in the C library of most systems,
    and looks for every new one among them: 300 bytes a run that nobody gets back, and more time
    than all else that a run needs of its environment.
    """
    try:
        import _ctypes

        program: Any = None  # all that is linked into this one
        address = _ctypes.dlsym(_ctypes.dlopen(program, os.RTLD_NOW), "putenv")
        call = _ctypes.call_cdeclfunction
    except (ImportError, AttributeError, OSError):
        return None
    return lambda text: call(address, (text,))


PUTENV = _putenv_of_c()
LENT: dict[bytes, bytes] = {}
"""By name: what the environment of C points at. It must stay where it is as long as it does."""


def lend(name: bytes, value: bytes) -> None:
    """Give C a variable until :func:`take_back`, or until somebody sets it."""
    text = b"%b=%b" % (name, value)
    if b"\0" in text:
        raise ValueError("embedded null byte")  # as os.putenv does; putenv(3) would cut it off
    if PUTENV is None or PUTENV(text):
        os.putenv(name, value)
    else:
        LENT[name] = text


def take_back(data: Mapping[bytes, bytes]) -> None:
    """Let C have what it was lent as its own; ``data`` is what ``os.environ`` says."""
    for name in LENT:
        if name in data:
            os.putenv(name, data[name])
        else:
            os.unsetenv(name)
    LENT.clear()


class Environ:
    """The environment of one run after the other; also that of C, which subprocesses get."""

    def __init__(self, environ: Any) -> None:
        self.environ = environ
        """The one of ``os``, whatever a job puts in its place."""
        self.known: dict[bytes, bytes] = {}
        """What is in force as long as no job has changed it."""
        self.base: tuple[Shape, int, int] | None = None
        """Shape, attempt and epoch of the last run."""
        self.own: Mapping[bytes, bytes] = NOTHING
        """What the last run had besides, such as its named arguments: which names, that is."""

    def enter(self, shape: Shape, row: Row, files: bytes) -> None:
        """Make it that of a run whose own files begin with ``files``."""
        _, run, attempt, epoch, more, _ = row
        os.environ = environ = self.environ
        data, known, own = environ._data, self.known, encoded(more[0]) if more else NOTHING
        base = shape, attempt, epoch
        if data == known and base == self.base and own.keys() == self.own.keys():
            lend(RUN_ID, value := run.encode())
            data[RUN_ID] = known[RUN_ID] = value
            lend(RESULT, value := files + b".result")
            data[RESULT] = known[RESULT] = value
            lend(PROGRESS, value := files + b".progress")
            data[PROGRESS] = known[PROGRESS] = value
            for name, value in own.items():
                if known[name] != value:
                    lend(name, value)
                    data[name] = known[name] = value
            return
        self.known = {
            **shape.environ,
            RUN_ID: run.encode(),
            RESULT: files + b".result",
            PROGRESS: files + b".progress",
            b"JOBCTL_ATTEMPT": b"%d" % attempt,
            b"JOBCTL_SUPERVISOR": shape.mark + b"%d" % epoch,
            **own,
        }
        replace(data, self.known, put=lend)
        self.base, self.own = base, own

    def close(self) -> None:
        """Leave nothing of ours to what the C library does at the end of the process."""
        take_back(self.environ._data)


def replace(
    data: dict[bytes, bytes],
    wanted: dict[bytes, bytes],
    *,
    put: Callable[[bytes, bytes], None] = os.putenv,
) -> None:
    """Make the environment that ``data`` of ``os.environ`` is about what is ``wanted``."""
    if data == wanted:
        return
    zone = data.get(b"TZ")
    for name in data.keys() - wanted.keys():
        os.unsetenv(name)
        del data[name]
    for name, value in wanted.items():
        if data.get(name) != value:
            put(name, value)
            data[name] = value
    if zone != wanted.get(b"TZ"):
        time.tzset()


def encoded(env: dict[str, str]) -> dict[bytes, bytes]:
    """Return an environment as the system has it."""
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
