"""A shared child that runs each call in a thread of its own.

Loaded by :mod:`jobctl.engine.python_shared`; standard library, CPython 3.9 or later.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jobctl.engine.python_shared import Shared
    from jobctl.engine.python_shared_run import Run
else:
    Shared = sys.modules["_jobctl_python_shared"].Shared
NO_THREAD: str = sys.modules["_jobctl_python_shared"].NO_THREAD


class Threads(Shared):
    """A child that runs each call in a thread; threads are used again."""

    def __init__(self, child: Any, fd: int, modules: Any) -> None:
        super().__init__(child, fd, modules)
        import queue

        self.waiting: Any = queue.SimpleQueue()
        self.idle = 0

    def serve(self) -> None:
        """Run until the socket ends."""
        self.hello()
        while True:
            frames = self.receive()
            if frames is None:
                return
            for kind, meta, body in frames:
                self.handle(kind, meta, body)

    def begin(self, run: Run) -> None:
        with self.counting:
            fresh = self.idle == 0
            self.idle -= not fresh
        # A call that has begun must have its thread.
        if fresh and not self.started(self._work):
            self.refuse(run, NO_THREAD)
        elif self.enter(run):
            self.waiting.put(run)
        else:
            with self.counting:
                self.idle += 1

    def ask_again(self, run: Run) -> None:
        """Interrupt a call once more, from whatever thread, unless it is over."""
        if run.cancel is not None:
            run.cancel()

    def _work(self) -> None:
        while True:
            run = self.waiting.get()
            self._execute(run)
            with self.counting:
                self.idle += 1

    def _execute(self, run: Run) -> None:
        """Call the function of a run, to the end of its coroutine if it is one."""
        before = time.thread_time()
        token = self.running.set(run)
        value: object = None
        error: BaseException | None = None
        try:
            # Whole before anybody may interrupt: half a module would be there for all others.
            self.modules.target(run.call["target"])
        except BaseException as caught:  # noqa: BLE001 - as what the function itself raises
            error = caught
        else:
            call = self.interrupts.Interruptible(run)
            run.cancel = call.interrupt
            if run.asked is not None:  # else it says so itself, from now on
                call.wanted = True
            value, error = call.call(lambda: self._whole(run, call.interrupt))
        self.running.reset(token)
        if run.asked is not None and run.futures:
            run.call_off()
            self._wait(run.futures)
        self._finish(run, value, error, time.thread_time() - before)

    @staticmethod
    def _wait(futures: Any) -> None:
        """Wait for what a stopped run has given to others: it may be tried again when it has ended."""
        from concurrent.futures import wait

        wait(list(futures))

    def _whole(self, run: Run, interrupt: Callable[[], object]) -> object:
        value = self.call(run)
        if hasattr(type(value), "__await__"):
            stop = self.child.beside("python_stop")
            value = stop.ThreadWait(run, interrupt, self.interrupts.soft_timeout).call(value)
        return value
