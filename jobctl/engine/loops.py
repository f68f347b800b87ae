"""Work in the background: the loops of a pool, begun anew when stuck, and tasks of a supervisor."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jobctl.engine.watchdog import StuckError, Watchdog

log = logging.getLogger(__name__)


class Turn:
    """The turn a loop is in. Between two of them it may wait for ever: that is no sign of trouble.

    The first turn of a loop that was begun anew is no sign of life until it has ended.
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._inside = False
        self._doubted = False

    def __enter__(self) -> None:
        self._inside = True
        if not self._doubted:
            self._began = SYSTEM_CLOCK.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._inside = False
        if kind is not asyncio.CancelledError:
            self._doubted = False

    def doubt(self) -> None:
        """Note that the loop was stuck in this turn and is begun anew."""
        self._doubted = True

    @property
    def turned_at(self) -> float:
        """When it began, by the monotonic clock; now, if none is under way."""
        return self._began if self._inside else SYSTEM_CLOCK.monotonic()


class Loops:
    """Coroutines that run until :meth:`close`; ``on_end`` is called with the task of one that ends."""

    def __init__(self, watchdog: Watchdog, *, on_end: Callable[[asyncio.Task[None]], None]) -> None:
        self._watchdog = watchdog
        self._on_end = on_end
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(
        self,
        name: str,
        work: Callable[[], Coroutine[object, object, None]],
        *,
        turn: Turn,
        longest: float,
        drop: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin a loop.

        A ``turn`` takes at most ``longest`` seconds. One that takes much longer has its connection
        dropped by ``drop``, and its loop is begun anew.
        """

        def recover() -> None:
            drop()
            turn.doubt()
            self._tasks[name].cancel()
            self._begin(name, work)

        self._begin(name, work)
        self._watchdog.watch(
            name, longest=longest, turned_at=lambda: turn.turned_at, recover=recover
        )

    async def close(self) -> None:
        """End all of them."""
        for name, task in self._tasks.items():
            self._watchdog.forget(name)
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, name: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        task = asyncio.create_task(work(), name=name)
        task.add_done_callback(self._on_end)
        self._tasks[name] = task


class Tasks:
    """What goes on beside the rest; an error in it is a bug, and no silent one.

    ``on_bug`` is called with it.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._on_bug = on_bug
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Coroutine[object, object, None]) -> None:
        """Begin something."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    async def close(self) -> None:
        """End all of it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_bug(error)


def give_up(error: StuckError) -> None:
    """End the process when one of its loops is stuck: the supervisor restarts the pool."""
    log.critical("pool: %s", error)
    raise SystemExit(70) from error


def no_silent_death(task: asyncio.Task[None]) -> None:
    """End the process when one of its tasks died of a bug: the supervisor restarts the pool.

    One that ended as cancelled although nobody has cancelled it waited for something that was.
    """
    if task.cancelled():
        if not task.cancelling():
            log.critical("pool: unexpected end of %r", task)
            raise SystemExit(70)
    elif (error := task.exception()) is not None:
        log.critical("pool: unexpected error", exc_info=error)
        raise SystemExit(70) from error
