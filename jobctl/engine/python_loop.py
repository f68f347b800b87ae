"""A shared child that runs calls as tasks of one event loop, and plain functions beside it.

Loaded by :mod:`jobctl.engine.python_shared`; standard library, CPython 3.9 or later.
"""

from __future__ import annotations

import _socket
import contextlib
import contextvars
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

    from jobctl.engine.python_shared import Shared
    from jobctl.engine.python_shared_run import Run
else:
    Shared = sys.modules["_jobctl_python_shared"].Shared
NO_THREAD: str = sys.modules["_jobctl_python_shared"].NO_THREAD

LEFT_GRACE, LEFT_END = 10.0, 5.0
"""Seconds that executors have to end what they do for a coroutine that failed, and then, once they
were interrupted, until the run ends without them."""


class _NoThreadError(Exception):
    """Raised where a function has not begun, as there is no thread for it."""


class Loop(Shared):
    """A child that runs coroutines in one event loop, and plain functions in threads beside it."""

    async def serve(self) -> None:
        """Run until the socket ends."""
        import asyncio

        self.loop = asyncio.get_running_loop()
        self._stop, self.loop.stop = self.loop.stop, self._stopped  # type: ignore[method-assign]
        self._end_executor = self.loop.shutdown_default_executor
        self.loop.shutdown_default_executor = self._executor_ended  # type: ignore[method-assign]
        self.loop.time = self.child.time.monotonic  # type: ignore[method-assign]  # not a job's to change
        self.over = self.loop.create_future()
        self.tasks: set[asyncio.Task[None]] = set()
        self.loop.set_task_factory(self._made)
        self.loop.add_reader(self.socket.fileno(), self._on_readable)
        self.hello()
        await self.over
        self.loop.remove_reader(self.socket.fileno())

    def _stopped(self) -> None:
        """Stop the loop in the place of its own ``stop``, unless a run asks for that."""
        if self.running.get() is not None:
            raise RuntimeError("this event loop is that of other runs too: return instead")
        self._stop()

    def _executor_ended(self, *within: float) -> Any:
        """End the loop's executor in the place of its own way to, unless a run asks for that."""
        if self.running.get() is not None:
            raise RuntimeError("the executor of this event loop is that of other runs too")
        return self._end_executor(*within)

    def _on_readable(self) -> None:
        try:
            frames = self.receive(_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            frames = None
        if frames is None:
            if not self.over.done():
                self.over.set_result(None)
            return
        for kind, meta, body in frames:
            self.handle(kind, meta, body)

    def begin(self, run: Run) -> None:
        token = self.running.set(run)  # the task copies the context it is made in
        import asyncio

        task = asyncio.Task(self._execute(run), loop=self.loop)
        self.running.reset(token)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        run.cancel = task.cancel

    def ask_again(self, run: Run) -> None:
        """Interrupt a call once more, from whatever thread, unless it is over."""
        self.loop.call_soon_threadsafe(lambda: run.cancel and run.cancel())

    async def _execute(self, run: Run) -> None:
        if not self.enter(run):
            return
        value: object = None
        error: BaseException | None = None
        try:
            value = await self._value(run)
        except _NoThreadError:
            self.refuse(run, NO_THREAD)
            return
        except BaseException as caught:  # noqa: BLE001 - whatever a job raises is its outcome
            error = caught
        # What a successful one leaves may be a client that the next ones share.
        if error is not None or run.asked is not None:
            await self._settle(run)
        run.cancel = None
        self._finish(run, value, error, 0.0)

    def _made(self, loop: Any, coroutine: Any, **options: Any) -> Any:
        """Make a task, which belongs to the run that has it made."""
        import asyncio

        task: Any = asyncio.Task(coroutine, loop=loop, **options)
        run = self.running.get()
        if run is not None:
            run.tasks.add(task)
            task.add_done_callback(run.tasks.discard)
        return task

    async def _settle(self, run: Run) -> None:
        """Cancel what a run has left that may be tried again as soon as it has ended; wait for it.

        One that was stopped is waited for as long as its host does not kill this process. For one
        that failed by itself nobody would: what executors do for it may come to its end for a
        while, then it is interrupted, and what even then goes on is left to go on.
        """
        import asyncio

        begun = self.loop.time()
        while run.tasks or run.futures:
            waited = self.loop.time() - begun
            late = waited >= LEFT_GRACE
            if run.asked is None and waited >= LEFT_GRACE + LEFT_END:
                self._leave(run)
                return
            for task in list(run.tasks):
                task.cancel()
            if run.asked is not None or late:
                run.call_off()
            left = [*run.tasks, *map(asyncio.wrap_future, list(run.futures))]
            if not left:
                return
            until = LEFT_GRACE + LEFT_END if late else LEFT_GRACE
            patience = None if run.asked is not None else until - waited
            with contextlib.suppress(asyncio.CancelledError):  # it is asked to end once more
                await asyncio.wait(left, timeout=patience)

    def _leave(self, run: Run) -> None:
        """Give up on what a run has left, and get no more calls into this interpreter."""
        self.modules.outdated = "a coroutine that failed left something that does not end"
        run.write(
            1,
            "jobctl: what the coroutine has left in tasks or executors does not end; it goes on"
            " until this interpreter has no other runs\n",
        )

    async def _value(self, run: Run) -> object:
        function = self.modules.target(run.call["target"])
        if _is_async(function):
            value: Any = self.call(run)
        else:
            value = await self._in_thread(run)
            if not hasattr(type(value), "__await__"):
                return value
        if not run.soft:
            return await value
        return await self.child.beside("python_stop").soft_wait(
            run, value, self.interrupts.soft_timeout
        )

    async def _in_thread(self, run: Run) -> Any:
        """Return what the function returns in a thread of its own; however many there are."""
        import asyncio

        task: Any = asyncio.current_task()
        call = self.interrupts.Interruptible(run)
        if run.asked is not None:
            call.wanted = True
        over: asyncio.Future[None] = self.loop.create_future()
        context = contextvars.copy_context()
        end: list[Any] = []

        def body() -> None:
            end.extend(call.call(lambda: context.run(self.call, run)))
            self.loop.call_soon_threadsafe(over.set_result, None)

        if not self.started(body):
            raise _NoThreadError
        while not over.done():
            try:
                await asyncio.wait([over])
            except asyncio.CancelledError:  # noqa: PERF203 - once or twice in the life of a run
                # A thread cannot be left behind: its run has not ended before it has.
                call.interrupt()
                if hasattr(task, "uncancel"):
                    task.uncancel()
        value, error = end
        if error is not None:
            raise error
        return value


def _is_async(function: Any) -> bool:
    import inspect

    made = inspect.unwrap(function)
    return inspect.iscoroutinefunction(made) or inspect.iscoroutinefunction(
        getattr(made, "__call__", None)  # noqa: B004 - asked of the method, not whether there is one
    )
