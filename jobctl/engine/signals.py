"""The signals a supervisor obeys, from its first moment to its last."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
ALL_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR2)


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
    # A process that replaced itself held them back until now.
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
