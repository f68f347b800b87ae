"""Lets the threads that a run starts in a shared child, and what it gives to executors, be the run's.

Where many runs are beside each other, one is known by a context variable. Until Python 3.14 a new
thread begins with none; here it gets that of the run which starts it, and nothing else.

Loaded by :mod:`jobctl.engine.python_shared`; standard library, CPython 3.9 or later.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from typing import Any


def install(runs: ContextVar[Any], shielded: Callable[..., Any]) -> None:
    """Have threads and the tasks of executors begin with what ``runs`` is for whoever makes them."""
    start: Any = threading.Thread.start
    submit: Any = ThreadPoolExecutor.submit

    @wraps(start)
    def starts(thread: Any) -> None:
        run = runs.get()
        if run is not None:
            _give(thread, runs, run)
        start(thread)

    @wraps(submit)
    def submits(executor: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        run = runs.get()
        # Always: its threads are those of whichever run made them.
        future = submit(executor, _within, runs, run, function, args, kwargs)
        if run is not None:
            run.futures.add(future)
            future.add_done_callback(run.futures.discard)
        return future

    # Its lock is everybody's, and is lost when a thread is interrupted right behind its acquisition.
    logging.Handler.handle = shielded(logging.Handler.handle)  # type: ignore[method-assign]
    threading.Thread.start = starts  # type: ignore[method-assign, assignment]
    ThreadPoolExecutor.submit = submits  # type: ignore[method-assign]


def _give(thread: Any, runs: ContextVar[Any], run: Any) -> None:
    if getattr(thread, "_context", thread) is None:  # 3.14: it would make an empty one
        import contextvars

        thread._context = contextvars.Context()
        thread._context.run(runs.set, run)
        return
    bootstrap = getattr(thread, "_bootstrap", None)
    if bootstrap is None:
        return

    def begins() -> None:
        runs.set(run)
        bootstrap()

    thread._bootstrap = begins


def _within(
    runs: ContextVar[Any],
    run: Any,
    function: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Any:
    token = runs.set(run)
    try:
        if run is None:
            return function(*args, **kwargs)
        call = run.shared.interrupts.Interruptible(run)
        run.helpers.add(call)
        try:
            value, error = call.call(lambda: function(*args, **kwargs))
        finally:
            run.helpers.discard(call)
        if error is not None:
            raise error
        return value
    finally:
        runs.reset(token)
