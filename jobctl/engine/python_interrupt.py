"""How a call that has a thread of its own is interrupted from another one.

Loaded by :mod:`jobctl.engine.python_shared` and :mod:`jobctl.engine.python_stop`; standard library,
CPython 3.9 or later.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

HALF = "an import was interrupted, and what it had begun may be incomplete"
HELD = "a thread was interrupted where it may have held a lock of all"
"""Why an interpreter must not get another call."""
DELICATE = ("<frozen importlib", "/logging/__init__.py", "/python_asks.py")
"""Where what a thread does half concerns others: files of the code, by their beginnings or ends."""
TRIES, PAUSE = 400, 0.005
"""How often, and after how many seconds, a thread is looked at again that is at such a place."""


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


def delicate(frame: FrameType | None) -> bool:
    """Return whether ``frame`` or what called it holds, or is about to get, what others need.

    What is raised in a thread comes when it enters or repeats a piece of Python code at the latest,
    so one that is at no such place has not got there before.
    """
    while frame is not None:
        name = frame.f_code.co_filename
        if name == __file__:
            return False  # below are our own
        if name.startswith(DELICATE[0]) or name.endswith(DELICATE[1:]):
            return True
        frame = frame.f_back
    return False


ACTIVE: dict[int, Interruptible] = {}
"""By thread: the call in it."""


def shielded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is not interrupted, but right behind it."""

    @wraps(function)
    def shield(*args: Any, **kwargs: Any) -> Any:
        call = ACTIVE.get(threading.get_ident())
        if call is None:
            return function(*args, **kwargs)
        call.shields += 1
        try:
            return function(*args, **kwargs)
        finally:
            call.shields -= 1
            if call.wanted and call.put_off and not call.shields:
                call.wanted = False
                raise call.error()

    return shield


class Interruptible:
    """One call in a thread; an order to stop may reach it at any instruction."""

    def __init__(self, run: Any) -> None:
        """``run`` is a :class:`jobctl.engine.python_shared_run.Run`."""
        self._run = run
        self._ident: int | None = None
        self._over = False
        self.shields = 0
        """How many functions it is inside of that must not be interrupted."""
        self.wanted = self.put_off = False
        """Whether it is still to be interrupted, and by itself as soon as it leaves these."""

    def error(self) -> type[BaseException]:
        """Return what is to be raised in it."""
        return soft_timeout() if self._run.asked == "soft" else Stopped

    def interrupt(self) -> None:
        """Raise what the run was asked for in its thread, unless the call is over.

        It is put off while the thread is where half a step would harm others, for two seconds.
        """
        self.wanted = True
        if not self._try(force=False):
            threading.Thread(target=self._insist, name="jobctl interrupt", daemon=True).start()

    def _insist(self) -> None:
        for number in range(TRIES):
            time.sleep(PAUSE)
            if self._try(force=number == TRIES - 1):
                return

    def _try(self, *, force: bool) -> bool:
        """Return whether there is nothing more to do."""
        run = self._run
        with run.lock:
            if self._over or self._ident is None or not self.wanted:
                return True
            self.put_off = bool(self.shields)
            frame = sys._current_frames().get(self._ident)
            if self.put_off or delicate(frame):
                if not force:
                    return False
                run.shared.modules.outdated = HALF if importing(frame) else HELD
            self.wanted = False
            raise_in(self._ident, self.error())
            return True

    def call(self, work: Callable[[], object]) -> tuple[object, BaseException | None]:
        """Call ``work`` in this thread; returns what it returned, and what it raised.

        It does not begin when it was interrupted before.
        """
        run, ident = self._run, threading.get_ident()
        outer = ACTIVE.get(ident)
        value: object = None
        error: BaseException | None = None
        try:
            try:
                with run.lock:
                    self._ident = ident
                ACTIVE[ident] = self
                if self.wanted:
                    self.wanted = False
                    raise Stopped
                value = work()
            finally:
                with run.lock:
                    self._over = True
                absorb()
        except BaseException as caught:  # noqa: BLE001 - whatever a job raises is its outcome
            error = caught
            self._over = True
        absorb()
        if outer is None:
            ACTIVE.pop(ident, None)
        else:
            ACTIVE[ident] = outer
        return value, error


def absorb() -> None:
    """Let what was raised in this thread and has not come yet come here, where it does nothing.

    It cannot be taken back: CPython 3.11 would then look for it for ever in code that is traced.
    """
    for _ in range(2):
        try:
            for _ in range(8):
                pass
        except BaseException:  # noqa: BLE001, PERF203, S110 - that is what it is for
            pass


def raise_in(ident: int, error: type[BaseException]) -> None:
    """Have ``error`` raised in a thread at its next instruction."""
    import ctypes

    what = ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), what)
