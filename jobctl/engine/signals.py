"""The signals a supervisor obeys, from its first moment to its last."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
ALL_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR2)


class StoppedEarlyError(Exception):
    """Raised when a signal came before there was a supervisor to stop."""


async def stoppable(beginning: Coroutine[None, None, _T]) -> _T:
    """Return what ``beginning`` returns, unless a signal to stop comes sooner.

    Signals that come between its end and :func:`obey` are obeyed then, and so are the others.
    Raises ``StoppedEarlyError``, and ``KeyboardInterrupt`` for SIGINT.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(beginning)
    came: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        came.append(number)
        task.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    await asyncio.wait([task])
    if not came:
        return task.result()
    _ = task.cancelled() or task.exception()  # what it met is of no interest any more
    if signal.SIGINT in came:
        raise KeyboardInterrupt
    raise StoppedEarlyError


def obey(
    *,
    on_stop: Callable[[signal.Signals], None],
    on_reload: Callable[[], None],
    on_replace: Callable[[], None],
) -> None:
    """Call what belongs to a signal whenever it comes."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_stop, number)
    loop.add_signal_handler(signal.SIGHUP, on_reload)
    loop.add_signal_handler(signal.SIGUSR2, on_replace)
    # They were held back until now, also by a process that replaced itself.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL_SIGNALS)


def leave(*, replaced: bool) -> None:
    """Let no signal that is late change the exit code of what has ended in order.

    One that comes while this process is ``replaced`` is for its successor.
    """
    loop = asyncio.get_running_loop()
    if replaced:
        signal.pthread_sigmask(signal.SIG_BLOCK, ALL_SIGNALS)
    for number in ALL_SIGNALS:
        loop.remove_signal_handler(number)
        if not replaced:
            signal.signal(number, signal.SIG_IGN)
