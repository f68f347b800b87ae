"""Standard streams of a child, and the threads that runs leave behind, which must not print there.

A thread that keeps no process alive (a daemon thread) keeps no interpreter either: many libraries
have one that is only about their own affairs. But what it prints is not the output of the run that
happens to be under way, so that is left out, and the interpreter is replaced. Threads that were
there before a run, from ``child_init`` or as a module was imported, may work for any of them.

Loaded by :mod:`jobctl.engine.python_child`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import _thread
import io
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""
ERRORS = ("surrogateescape", "surrogateescape", "backslashreplace")
LEFT: set[Any] = set()
"""Threads that earlier runs left behind."""
TALKED: set[str] = set()
"""The names of those that have printed while another run was under way."""


class Stream(io.TextIOWrapper):
    """A standard stream that knows when a job has set it up otherwise."""

    changed = False

    def reconfigure(self, **wishes: Any) -> None:  # noqa: ANN401 - as it is declared
        """Do so until the end of the run."""
        self.changed = MODULE.SIGNS.seen = True
        super().reconfigure(**wishes)

    def put_back(self, number: int, encoding: str) -> None:
        """Set it up as it was; if that is not possible any more it stays ``changed``."""
        try:
            super().reconfigure(
                encoding=encoding,
                errors=ERRORS[number],
                newline=None,
                line_buffering=True,
                write_through=False,
            )
        except (OSError, ValueError):  # it was read from, or is closed
            return
        self.changed = False


class Guarded(Stream):
    """One that takes nothing from threads of earlier runs; it becomes so once there are any."""

    def write(self, text: str) -> int:
        """Write for the run that is under way."""
        threads = sys.modules["threading"].__dict__["_active"]  # one of its own it would make up
        thread = threads.get(_thread.get_ident())
        if thread not in LEFT:
            return super().write(text)
        if MODULE.CHILD.running is not None:
            TALKED.add(str(thread.name))
            MODULE.SIGNS.seen = True
        return len(text)


def open_stream(number: int, encoding: str) -> Stream:
    """Make a standard stream anew; by lines, so that logs can be followed."""
    mode = "r" if number == 0 else "w"
    buffer: Any = open(number, mode + "b", closefd=False)  # noqa: SIM115 - it stays
    stream = Stream(buffer, encoding=encoding, errors=ERRORS[number], line_buffering=True)
    stream.mode = mode  # type: ignore[misc]
    setattr(sys, MODULE.STREAMS[number], stream)
    setattr(sys, f"__{MODULE.STREAMS[number]}__", stream)
    return stream


class Threads:
    """Those of the job, from one run to the next."""

    def __init__(self) -> None:
        self._own: set[Any] = set()
        self.note()

    def note(self) -> None:
        """Take those that no run has left for those of a module, which was just imported."""
        threading = sys.modules.get("threading")
        if threading is not None:
            self._own.update(t for t in threading.enumerate() if t not in LEFT)

    def left(self, streams: list[Any]) -> str | None:
        """Return what still runs and will not end with the process; guard the streams of others."""
        threading = sys.modules.get("threading")
        if threading is None:
            return None
        threads = [t for t in threading.enumerate() if t is not threading.main_thread()]
        left = {t for t in threads if t.daemon and t not in self._own}
        LEFT.update(left)  # never empty meanwhile: they may be printing
        LEFT.intersection_update(left)
        self._own.intersection_update(threads)
        if LEFT:
            for stream in streams[1:]:
                if type(stream) is Stream:
                    stream.__class__ = Guarded
        names = ", ".join(str(t.name) for t in threads if not t.daemon)
        return f"threads still running: {names}"[: MODULE.MAX_ERROR] if names else None

    @staticmethod
    def talked() -> str | None:
        """Return which threads of earlier runs have printed since this was asked."""
        if not TALKED:
            return None
        names = ", ".join(repr(TALKED.pop()) for _ in range(len(TALKED)))[: MODULE.MAX_NAME]
        MODULE.say(
            f"{names}, a thread that an earlier run left, printed: that is left out,"
            " and the interpreter is replaced"
        )
        return f"a thread that an earlier run left printed: {names}"
