"""The loop that every background duty of the supervisor shares."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

RETRY_LEAST, RETRY_MOST = 0.1, 5.0


class Service:
    """A duty done again and again: :meth:`tick` does it and returns the seconds until the next time.

    An error of the store is expected and only delays the next tick, with growing pauses. Any
    other exception is a bug: it is passed to ``on_bug``, so that nothing stops working silently.
    """

    name = "service"

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    async def tick(self) -> float:
        """Do the duty once; return the seconds until the next time."""
        raise AssertionError(self.name)

    def wake(self) -> None:
        """Tick now rather than later."""
        self._wake.set()

    def start(self, on_bug: Callable[[BaseException], None]) -> None:
        """Begin; calling it twice has no further effect."""
        if self._task is None:
            self._task = asyncio.create_task(self._loop(), name=self.name)
            self._task.add_done_callback(lambda task: _report(task, on_bug))

    async def stop(self) -> None:
        """End; fine when never started or already stopped."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self.tick()
                if self._failures:
                    log.info("%s: works again", self.name)
                self._failures = 0
            except JobctlError as error:
                self._failures += 1
                level = logging.WARNING if self._failures in (1, 10, 100, 1000) else logging.DEBUG
                log.log(level, "%s: %s", self.name, error)
                pause = min(RETRY_MOST, RETRY_LEAST * 2 ** min(self._failures, 10))
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                continue


def _report(task: asyncio.Task[None], on_bug: Callable[[BaseException], None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        on_bug(error)
