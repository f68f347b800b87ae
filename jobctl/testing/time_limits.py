"""``timeout`` and ``soft_timeout`` in eager mode, by the clock of the machine.

They are kept where the function is called in the main thread, since only that can be interrupted:
not where ``submit`` is called in another thread, or where an event loop runs. What waits or computes
in C without returning is not interrupted.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, TypeVar

from jobctl.engine.python_stop import SoftLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    T = TypeVar("T")

NUMBER = signal.SIGRTMIN + 10
"""The signal that interrupts: one that no job uses, and not that of ``soft_timeout``."""


class Stopped(BaseException):
    """Raised in a function whose ``timeout`` has passed; a daemon would end its process."""


class _Running:
    """What a soft limit asks of the run that it is for."""

    stop: bool | None = None


def _interruptible() -> bool:
    return threading.current_thread() is threading.main_thread()


def within(seconds: float | None, work: Callable[[], T]) -> T:
    """Do ``work``; raises :class:`Stopped` in it when it takes longer than ``seconds``."""
    if seconds is None or not _interruptible():
        return work()
    armed = [True]

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if armed:
            armed.clear()
            raise Stopped

    # The handler stays: a signal that is on its way must find one that ignores it.
    signal.signal(NUMBER, on_signal)
    main = threading.get_ident()
    most = min(seconds, threading.TIMEOUT_MAX)
    timer = threading.Timer(most, signal.pthread_kill, (main, NUMBER))
    timer.daemon = True
    timer.start()
    try:
        found = work()
    finally:
        in_time = bool(armed)
        armed.clear()
        timer.cancel()
    if not in_time:
        raise Stopped  # It was caught, which no process could.
    return found


def softly(
    seconds: float | None,
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> object:
    """Call a function, which gets ``SoftTimeout`` raised when it takes longer than ``seconds``."""
    if seconds is None or not _interruptible():
        return function(*args, **kwargs)
    return SoftLimit(_Running(), seconds).call(function, list(args), dict(kwargs))
