"""``timeout`` and ``soft_timeout`` in eager mode, by the clock of the machine.

They are kept where the function is called in the main thread, since only that can be interrupted:
not where ``submit`` is called in another thread, or where an event loop runs. What waits or computes
in C without returning is not interrupted.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from jobctl.engine.python_stop import SoftLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from types import FrameType

    T = TypeVar("T")

NUMBER = signal.SIGRTMIN + 10
"""The signal that interrupts: one that no job uses, and not that of ``soft_timeout``."""


AGAIN_AFTER = 5.0
"""Seconds that a function has for ending after it was stopped, until it is stopped again."""


class Stopped(BaseException):
    """Raised in a function whose ``timeout`` has passed; a daemon would end its process."""


class _Running:
    """What a soft limit asks of the run that it is for."""

    stop: bool | None = None


def _interruptible() -> bool:
    return threading.current_thread() is threading.main_thread()


_limits: list[_Limit | None] = []
"""Those of the runs that are under way in the main thread, the innermost last."""


def within(seconds: float | None, work: Callable[[], T]) -> T:
    """Do ``work``; raises :class:`Stopped` in it when it takes longer than ``seconds``."""
    if not _interruptible():
        return work()
    if seconds is None:
        with _innermost(None):
            return work()
    limit = _Limit(seconds)
    # The handler stays: a signal that is on its way must find one that ignores it.
    signal.signal(NUMBER, limit.on_signal)
    limit.start()
    try:
        with _innermost(limit):
            found = work()
    finally:
        in_time = limit.end()
    if not in_time:
        raise Stopped  # It was caught, which no process could.
    return found


@contextlib.contextmanager
def _innermost(limit: _Limit | None) -> Iterator[None]:
    _limits.append(limit)
    try:
        yield
    finally:
        _limits.pop()


@contextlib.contextmanager
def instead(call_off: Callable[[], bool]) -> Iterator[None]:
    """Have ``call_off`` called when time is over, where this thread only waits for another.

    It says whether there was anything to call off; :class:`Stopped` is raised if not, and when that
    has not helped.
    """
    limit = _limits[-1] if _interruptible() and _limits else None
    if limit is None:
        yield
        return
    limit.call_off = call_off
    try:
        yield
    finally:
        limit.call_off = None


class _Limit:
    """A thread that interrupts the main one, and does so again when that was lost on the way.

    What is raised while Python calls back by itself, for a weak reference or in ``__del__``, gets
    nowhere.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = min(seconds, _thread.TIMEOUT_MAX)
        self._main = _thread.get_ident()
        self._over = _thread.allocate_lock()
        self._armed = True
        self._late = False
        self.call_off: Callable[[], bool] | None = None

    def start(self) -> None:
        """Begin to count; until :meth:`end`."""
        self._over.acquire()
        _thread.start_new_thread(self._watch, ())

    def end(self) -> bool:
        """Count no more; returns whether the time was kept."""
        self._armed = False
        self._over.release()
        return not self._late

    def _watch(self) -> None:
        wait = self._seconds
        while not self._over.acquire(timeout=wait):
            signal.pthread_kill(self._main, NUMBER)
            wait = AGAIN_AFTER

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Raise :class:`Stopped` in the main thread."""
        if self._armed:
            self._late = True
            call_off, self.call_off = self.call_off, None
            if call_off is None or not call_off():
                raise Stopped


def softly(
    seconds: float | None,
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    run: Callable[[Coroutine[Any, Any, object]], object],
) -> object:
    """Call a function, which gets ``SoftTimeout`` raised when it takes longer than ``seconds``.

    ``run`` sees a coroutine to its end, which is left to the caller where there is no limit.
    """
    if seconds is None or not _interruptible():
        return function(*args, **kwargs)
    return SoftLimit(_Running(), seconds, run=run).call(function, list(args), dict(kwargs))
