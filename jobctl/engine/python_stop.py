"""Stop requests and soft time limits inside a child. Loaded when a job first asks for either.

Standard library of CPython 3.9 on only, as all that runs in a child.
"""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Generator
    from types import FrameType
    from typing import Any
else:
    import _signal  # As in python_child.py.

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this; ``None`` where a test runs jobs in its own process."""

SIGTERM = 15
NUMBER = _signal.SIGRTMIN + 9
"""The signal by which the timer interrupts the main thread: one that no job uses."""

PATIENCE = 0.05
"""Seconds a coroutine in a thread has to come to its next ``await`` when it is stopped."""


def stopping(running: Any) -> bool:
    """Return whether a run has been asked to stop; from the first time on it is told."""
    if running.stop is None:
        number = running.limit("stop_signal") or SIGTERM
        before = _signal.getsignal(number)

        def on_stop(number: int, frame: FrameType | None) -> None:
            running.stop = True
            if callable(before) and before is not _signal.default_int_handler:
                before(number, frame)  # the job's own

        try:
            _signal.signal(number, on_stop)
        except ValueError:
            return False  # only the main thread can be told
        running.stop = False
    return bool(running.stop)


class SoftLimit:
    """Raises SoftTimeout in the main thread when a call has taken too long.

    A thread watches the time and not an alarm, which belongs to the job; its signal interrupts
    what the main thread waits for. Code in C that does neither wait nor return sees nothing.
    """

    def __init__(
        self, running: Any, seconds: float, *, run: Callable[[Any], object] | None = None
    ) -> None:
        """``run`` sees a coroutine to its end; default: ``asyncio.run``."""
        self._running = running
        self._run = run
        self._seconds = seconds
        self._armed = False
        self._done = _thread.allocate_lock()
        self._main = _thread.get_ident()
        self._cancel: Callable[[], object] | None = None
        self._due = False

    def call(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call ``function``, to the end of its coroutine if it is one."""
        self._done.acquire()
        # In a child not noticed: it stays, see below.
        (_signal.signal if MODULE is None else MODULE.set_handler)(NUMBER, self._on_signal)
        self._armed = True
        _thread.start_new_thread(self._watch, ())
        try:
            value = function(*args, **kwargs)
            if hasattr(type(value), "__await__"):
                value = self._finish(value)
            return value
        finally:
            # The handler stays: a signal that is on its way must find one that ignores it.
            self._armed = False
            self._done.release()

    def _watch(self) -> None:
        most = min(self._seconds, _thread.TIMEOUT_MAX)
        if not self._done.acquire(timeout=most) and self._armed:
            _signal.pthread_kill(self._main, NUMBER)

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        self._armed = False
        self._running.stop = True
        if self._cancel is None:
            if MODULE is not None:
                self._look_at_import(frame)
            raise self._error()
        self._due = True
        self._cancel()

    def _look_at_import(self, frame: FrameType | None) -> None:
        interrupt = MODULE.beside("python_interrupt")
        if interrupt.importing(frame):
            child = self._running.child
            child.retired = child.modules.outdated = interrupt.HALF

    def _error(self) -> BaseException:
        from jobctl import SoftTimeout

        return SoftTimeout(f"soft_timeout of {self._seconds:g} s has passed")

    def _finish(self, value: Any) -> object:
        import asyncio

        async def whole() -> object:
            return await value

        async def limited() -> object:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs is one
            loop = asyncio.get_running_loop()
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            try:
                return await _Steps(whole(), lambda error: self._instead(error, task))
            finally:
                self._cancel = None

        return (self._run or asyncio.run)(limited())

    def _instead(self, error: BaseException, task: Any) -> BaseException:
        """Return what a coroutine gets to see in place of the cancellation that wakes it."""
        if not self._due or type(error).__name__ != "CancelledError":
            return error
        self._due = False
        if hasattr(task, "uncancel"):
            task.uncancel()
        return self._error()


class ThreadWait:
    """Awaits what a function returned that runs in a thread beside others.

    An order to stop cancels it at its ``await``, which an exception raised in the thread would
    not wake; one for ``soft_timeout`` raises SoftTimeout there. Where the order is not taken for
    :data:`PATIENCE` seconds, because the coroutine computes, it is raised in the thread.
    """

    def __init__(self, run: Any, interrupt: Callable[[], object], error: Any) -> None:
        """``interrupt`` raises in the thread of ``run``; ``error`` returns the class SoftTimeout."""
        self._run = run
        self._interrupt = interrupt
        self._error = error
        self._taken = True
        """False while an order waits to be carried out."""
        self._over = False
        self._due = False

    def call(self, value: Any) -> object:
        """Return what ``value`` comes to."""
        import asyncio

        async def whole() -> object:
            return await value

        async def limited() -> object:
            run, loop, task = self._run, asyncio.get_running_loop(), asyncio.current_task()
            run.cancel = lambda: self._order(loop, task)
            if run.asked is not None:
                run.cancel()  # it came before there was a loop
            try:
                return await _Steps(whole(), lambda error: self._instead(error, task))
            finally:
                with run.lock:
                    self._over = True

        return asyncio.run(limited())

    def _order(self, loop: Any, task: Any) -> None:
        """Stop it; called from another thread, or before it begins."""
        import threading

        with self._run.lock:
            if self._over:
                self._interrupt()
                return
            self._taken = False
            loop.call_soon_threadsafe(self._cancel, task)
        timer = threading.Timer(PATIENCE, self._insist)
        timer.daemon = True
        timer.start()

    def _take(self) -> bool:
        """Return whether the order is still to be carried out, by whoever asks first."""
        with self._run.lock:
            before, self._taken = self._taken, True
        return not before and not self._over

    def _cancel(self, task: Any) -> None:
        if self._take():
            self._due = self._run.asked == "soft"
            task.cancel()

    def _insist(self) -> None:
        if self._take():
            self._interrupt()

    def _instead(self, error: BaseException, task: Any) -> BaseException:
        if not self._due or type(error).__name__ != "CancelledError":
            return error
        self._due = False
        if hasattr(task, "uncancel"):
            task.uncancel()
        instead: BaseException = self._error()("soft_timeout has passed")
        return instead


async def soft_wait(run: Any, value: Any, error: Callable[[], Any]) -> object:
    """Return what ``value`` comes to in an event loop that others share.

    Where its task is cancelled for ``soft_timeout``, what waits gets to see SoftTimeout, once.
    """
    import asyncio

    task: Any = asyncio.current_task()
    told = False

    async def whole() -> object:
        return await value

    def instead(raised: BaseException) -> BaseException:
        nonlocal told
        if told or run.asked != "soft" or type(raised).__name__ != "CancelledError":
            return raised
        told = True
        if hasattr(task, "uncancel"):
            task.uncancel()
        shown: BaseException = error()("soft_timeout has passed")
        return shown

    return await _Steps(whole(), instead)


class _Steps:
    """Takes the steps of a coroutine, and may change what is thrown into it."""

    def __init__(self, coroutine: Any, instead: Callable[[BaseException], BaseException]) -> None:
        self._coroutine = coroutine
        self._instead = instead

    def __await__(self) -> Generator[Any, Any, object]:
        coroutine, step, value = self._coroutine, self._coroutine.send, None
        while True:
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = coroutine.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it is passed on
                step, value = coroutine.throw, self._instead(error)
