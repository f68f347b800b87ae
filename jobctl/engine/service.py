"""The loop that every background duty of the supervisor shares."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.complaints import Complaints
from jobctl.errors import JobctlError
from jobctl.store.aio import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.condition import Condition
    from jobctl.engine.watchdog import Watchdog
    from jobctl.store.aio import AsyncStore

log = logging.getLogger(__name__)


SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT))
"""What a host may be short of for a while."""


class Service:
    """A duty done again and again: :meth:`tick` does it and returns the seconds until the next time.

    An error of the store is expected and only delays the next tick, with growing pauses, and so is
    a host without room or descriptors. Any other exception is a bug: it is passed to ``on_bug``, so that nothing stops working silently.
    """

    name = "service"
    longest_wait = 15.0
    """Seconds; no tick asks for a longer pause, nor waits longer for anything."""

    def __init__(self, connection: AsyncStore | None = None) -> None:
        """Make a duty; ``connection`` is dropped when its loop has to be got going again."""
        self._connection = connection
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._complaints = Complaints()
        self._turned_at = SYSTEM_CLOCK.monotonic()
        self._on_bug: Callable[[BaseException], None] = lambda _error: None
        self._condition: Condition | None = None
        self.asked = True
        """Whether the last tick asked the store at all: one that did not says nothing of it."""

    async def tick(self) -> float:
        """Do the duty once; return the seconds until the next time."""
        raise AssertionError(self.name)

    def wake(self) -> None:
        """Tick now rather than later."""
        self._wake.set()

    def turned(self) -> None:
        """Note that the loop is alive: a tick has ended, or one with much to do comes along."""
        self._turned_at = SYSTEM_CLOCK.monotonic()

    def start(
        self,
        on_bug: Callable[[BaseException], None],
        *,
        condition: Condition | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Begin; calling it twice has no further effect.

        ``condition`` learns of failures; ``watchdog`` begins the loop anew should it get stuck.
        """
        if self._task is not None:
            return
        self._on_bug = on_bug
        self._condition = condition
        self._begin()
        if watchdog is not None:
            watchdog.watch(
                self.name,
                longest=self.longest_wait,
                turned_at=lambda: self._turned_at,
                recover=self._recover,
            )

    async def stop(self) -> None:
        """End; fine when never started or already stopped."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _begin(self) -> None:
        on_bug = self._on_bug
        self._task = asyncio.create_task(self._loop(), name=self.name)
        self._task.add_done_callback(lambda task: _report(task, on_bug))

    def _recover(self) -> None:
        """Begin the loop anew; the old one is not waited for, it is stuck."""
        if self._connection is not None:
            self._connection.drop()
        if self._task is not None:
            self._task.cancel()
            self._begin()

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            try:
                pause = await self.tick()
                if self.asked:
                    self._worked()
            except JobctlError as error:
                self._failed(error)
                pause = self._backoff.next()
            except OSError as error:
                if error.errno not in SCARCE:
                    raise
                self._failed(JobctlError(f"this host is short of something: {error}"))
                pause = self._backoff.next()
            self.turned()
            # Not wait_for: on 3.11 that forgets a cancellation that comes with the wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _worked(self) -> None:
        if self._complaints.worked():
            log.info("%s: works again", self.name)
            self._backoff.reset()
        if self._condition is not None:
            self._condition.worked(self.name)

    def _failed(self, error: JobctlError) -> None:
        log.log(self._complaints.failed(error), "%s: %s", self.name, error)
        if self._condition is not None:
            self._condition.failed(self.name, error)


def _report(task: asyncio.Task[None], on_bug: Callable[[BaseException], None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        on_bug(error)
