"""Coroutines of eager mode, seen to their end: where Django is in use, as its own tests do it.

What a coroutine asks of the database goes through ``sync_to_async`` into a thread that is meant for
it. In a test that has to be the one whose connection has the test's transaction.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from jobctl.testing import time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run(coroutine: Coroutine[Any, Any, object]) -> object:
    """Return what a coroutine comes to."""
    if "django.db" not in sys.modules:
        return asyncio.run(coroutine)
    return _run_beside(coroutine)


def served(work: Callable[[], object]) -> bool:
    """Have ``work`` done in the thread of Django's test, if an ``async`` one of it runs here."""
    if "django.db" not in sys.modules:
        return False
    from asgiref.sync import AsyncToSync  # noqa: PLC0415 (only with Django)

    server: Any = getattr(AsyncToSync.executors, "current", None)
    if server is None:
        return False
    try:
        doing = server.submit(work)
    except RuntimeError:
        return False  # it waits no more, or is this very thread
    doing.result()
    return True


def in_event_loop() -> bool:
    """Tell whether an event loop runs in this thread."""
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the one that does not raise


def _run_beside(coroutine: Coroutine[Any, Any, object]) -> object:
    """Await it in a loop of another thread, while this one does what it asks of its thread."""
    from asgiref.sync import async_to_sync  # noqa: PLC0415 (only with Django)

    cancel: list[Callable[[], object]] = []
    raised: list[BaseException] = []

    async def whole() -> object:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is one
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        try:
            return await coroutine
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            raised.append(error)
            return None
        finally:
            cancel.clear()

    def call_off() -> bool:
        for one in cancel:
            one()
        return bool(cancel)

    with time_limits.instead(call_off):
        try:
            # The loop of an `async` test waits for this, so it must be another.
            value = async_to_sync(whole, force_new_loop=True)()
        except BaseException:
            call_off()
            raise
    if raised:
        raise raised[0]
    return value
