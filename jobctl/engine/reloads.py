"""Reads the configuration again when asked to, and says what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.clock import Clock
    from jobctl.engine.notify import Notifier
    from jobctl.model.config import Config

log = logging.getLogger(__name__)


class Reloads:
    """Reloads one after the other, whoever asks and however often.

    ``read`` reads the files, in a process of its own. ``apply`` puts a configuration in force,
    ``report`` tells the store of an error, and ``status`` is the line for the service manager.
    All three may raise JobctlError: the old configuration stays.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Config]],
        *,
        apply: Callable[[Config], Awaitable[None]],
        report: Callable[[str], Awaitable[None]],
        notifier: Notifier,
        status: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._read = read
        self._apply = apply
        self._report = report
        self._notifier = notifier
        self._status = status
        self._clock = clock
        self._asked = False
        self._serving: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Reload soon: again when that is asked for after the files have been read."""
        self._asked = True
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())

    async def readable(self) -> bool:
        """Return whether a process that begins now could read the files; say so if not.

        It runs the version that is installed: what fails there would fail a successor.
        """
        self._announce()
        try:
            await self._read()
        except JobctlError as error:
            log.error("not replaced, this process goes on: %s", error)  # noqa: TRY400
            await self._refused(error)
            self._ready()
            return False
        return True

    async def _serve(self) -> None:
        while self._asked:
            self._asked = False
            await self._reload()

    async def _reload(self) -> None:
        self._announce()
        try:
            config = await self._read()
            while self._asked:
                self._asked = False
                config = await self._read()
            await self._apply(config)
            log.info("reloaded %s: %d jobs", config.path, len(config.jobs))
        except JobctlError as error:
            log.error("reload failed, the old configuration stays: %s", error)  # noqa: TRY400
            await self._refused(error)
        finally:
            self._ready()

    async def _refused(self, error: JobctlError) -> None:
        with contextlib.suppress(JobctlError):
            await self._report(str(error))

    def _announce(self) -> None:
        now = int(self._clock.monotonic() * 1e6)
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def _ready(self) -> None:
        self._notifier.send("READY=1", f"STATUS={self._status()}")
