"""What a supervisor does when the store does not count it among the living any more.

There are two reasons, and they want opposite things. A store that *lost its data* knows nobody:
what runs here runs nowhere else, so it goes on, and the supervisor registers again. A supervisor
that was *taken for dead* lost its runs to others: what runs here must stop, and the supervisor
goes on under a new id, because everything said under the old one is refused from now on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine.complaints import Complaints
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

AGAIN = 5.0
"""Seconds between two tries, for what is half done would be finished by nobody."""


class Standing:
    """Acts on what a heartbeat learned; one thing at a time, and nothing once ``stopping`` is set.

    ``readmit`` registers again under the old id; ``renew`` stops what runs and takes a new one.
    An exception of either is a bug and goes to ``on_bug``. ``beat`` beats at once.
    """

    def __init__(
        self,
        *,
        readmit: Callable[[], Awaitable[None]],
        renew: Callable[[], Awaitable[None]],
        beat: Callable[[], None],
        on_bug: Callable[[BaseException], None],
        stopping: asyncio.Event,
    ) -> None:
        self._readmit = readmit
        self._renew = renew
        self._beat = beat
        self._on_bug = on_bug
        self._stopping = stopping
        self._doubted = False
        """True from when a pool was refused until a beat has told whether we are."""
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Beat at once: a pool's claim was refused, and the beat tells why."""
        self._doubted = True
        self._beat()

    def well(self) -> None:
        """Note that the store counts us among the living; all our pools should be."""
        doubted, self._doubted = self._doubted, False
        if doubted and self._free:
            log.error("the store does not know a pool of ours any more; registering again")
            self._begin(unknown=True)

    def lost(self, *, unknown: bool) -> None:
        """Note that a beat was refused: the supervisor is ``unknown``, or was taken for dead."""
        self._doubted = False  # Now we know why.
        if not self._free:
            return
        if unknown:
            log.critical(
                "THE STORE HAS LOST ITS DATA: it does not know this supervisor any more. "
                "Registering again; what runs goes on. Runs that waited are gone unless a backup "
                "is put back, see `jobctl doctor`"
            )
        else:
            log.critical(
                "this supervisor was taken for dead while it could not reach the store, and its "
                "runs were given to others; stopping them here and going on under a new id"
            )
        self._begin(unknown=unknown)

    async def close(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _free(self) -> bool:
        return not self._stopping.is_set() and (self._task is None or self._task.done())

    def _begin(self, *, unknown: bool) -> None:
        self._task = asyncio.create_task(self._act(unknown=unknown), name="standing")

    async def _act(self, *, unknown: bool) -> None:
        complaints = Complaints()
        while True:
            try:
                if unknown:
                    await self._readmit()
                    self._doubted = False
                else:
                    await self._renew()
            except JobctlError as error:
                log.log(complaints.failed(error), "%s; trying again every %g s", error, AGAIN)
                await asyncio.sleep(AGAIN)
            except Exception as error:  # noqa: BLE001 - the boundary of a task of its own
                self._on_bug(error)
                return
            else:
                return
