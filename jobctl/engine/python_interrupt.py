"""How a call that has a thread of its own is interrupted from another one.

Loaded by :mod:`jobctl.engine.python_shared` and :mod:`jobctl.engine.python_stop`; standard library,
CPython 3.9 or later.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

HALF = "an import was interrupted, and what it had begun may be incomplete"
"""Why an interpreter must not get another call."""


class Stopped(BaseException):
    """Raised inside a function whose run is stopped."""


Stopped.__module__ = "jobctl"


def soft_timeout() -> type[BaseException]:
    """Return the class that jobs know."""
    from jobctl import SoftTimeout

    return SoftTimeout


def importing(frame: FrameType | None) -> bool:
    """Return whether ``frame``, or what called it, is on its way through an import.

    A package that is interrupted is taken back by Python, but not its parts that were imported
    already: they are not set in it when it is imported again.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class Interruptible:
    """One call in a thread; an order to stop may reach it at any instruction."""

    def __init__(self, run: Any) -> None:
        """``run`` is a :class:`jobctl.engine.python_shared_run.Run`."""
        self._run = run
        self._ident: int | None = None
        self._over = False

    def interrupt(self) -> None:
        """Raise what the run was asked for in its thread, unless the call is over."""
        run = self._run
        with run.lock:
            if self._over or self._ident is None:
                return
            if importing(sys._current_frames().get(self._ident)):
                run.shared.modules.outdated = HALF
            raise_in(self._ident, soft_timeout() if run.asked == "soft" else Stopped)

    def call(self, work: Callable[[], object]) -> tuple[object, BaseException | None]:
        """Call ``work`` in this thread; returns what it returned, and what it raised."""
        run, ident = self._run, threading.get_ident()
        value: object = None
        error: BaseException | None = None
        try:
            try:
                with run.lock:
                    self._ident = ident
                if run.asked is not None:
                    raise Stopped
                value = work()
            finally:
                with run.lock:
                    self._over = True
                if run.asked is not None:
                    raise_in(ident, None)
        except BaseException as caught:  # noqa: BLE001 - whatever a job raises is its outcome
            error = caught
            self._over = True
            raise_in(ident, None)
        return value, error


def raise_in(ident: int, error: type[BaseException] | None) -> None:
    """Have ``error`` raised in a thread at its next instruction; ``None``: take that back."""
    import ctypes

    what = ctypes.py_object() if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), what)
