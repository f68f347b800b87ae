"""Notices a server that is there but does not answer.

It is never killed for that. Whatever keeps it from answering would keep its successor from it too,
or is over by itself: somebody stopped it and will let it go on, it waits for a disk, or it is at
work on something long. All that a kill would do for sure is to break every connection. So its
silence is told, loudly and with what the kernel says of the process, and a person decides.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError, UnreachableError
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.failures import LostReplyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.store.address import Address

log = logging.getLogger(__name__)

EVERY = 10.0
PATIENCE = 5.0
"""Seconds that one question may take."""
SILENCE = 60.0
"""Seconds without an answer that are worth an error, and again after as many."""
PING = Call(("PING",), lambda reply: reply)

STATES = {
    "T": "it is stopped; let it go on with `kill -CONT {pid}`",
    "t": "a debugger holds it",
    "D": "it waits for its disk; see the kernel's log",
    "Z": "it has ended",
}
"""Letters of proc(5)."""
OTHERWISE = "it is at work or stuck; should it stay so, `kill {pid}`: it is started again"


class Pulse:
    """Asks one server for signs of life, over a new connection each time.

    ``pid`` returns its process id, 0 while there is none. Durations are in seconds.
    """

    def __init__(
        self,
        address: Address,
        *,
        pid: Callable[[], int],
        clock: Clock,
        silence: float = SILENCE,
        every: float = EVERY,
        patience: float = PATIENCE,
    ) -> None:
        self._address = address
        self._pid = pid
        self._clock = clock
        self._silence = silence
        self._every = every
        self._patience = patience
        self._answered_at = clock.monotonic()
        self._told_at: float | None = None

    async def watch(self) -> None:
        """Ask again and again; cancel it to end."""
        while True:
            await asyncio.sleep(self._every)
            if not self._pid() or await self._answers():
                self._alive()
            else:
                self._silent()

    async def _answers(self) -> bool:
        """Return whether the server says anything: that it is loading is an answer too."""
        async with AsyncStore(
            self._address, timeout=self._patience, connect_timeout=self._patience
        ) as store:
            try:
                await store.run(PING)
            except (UnreachableError, LostReplyError):
                return False
            except JobctlError:
                return True
        return True

    def _alive(self) -> None:
        now = self._clock.monotonic()
        if self._told_at is not None:
            self._told_at = None
            log.info("the store server answers again after %.0f s", now - self._answered_at)
        self._answered_at = now

    def _silent(self) -> None:
        now = self._clock.monotonic()
        since = self._answered_at if self._told_at is None else self._told_at
        if now - since < self._silence:
            return
        self._told_at = now
        log.error(
            "the store server (pid %d) has not answered for %.0f s: %s",
            self._pid(), now - self._answered_at, state_of(self._pid()),
        )  # fmt: skip


def state_of(pid: int) -> str:
    """Return what the kernel says of a process that does not answer, and what to do about it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (read at once)
            letter = file.read().rpartition(b") ")[2][:1].decode()
    except OSError:
        letter = ""
    return STATES.get(letter, OTHERWISE).format(pid=pid)
