"""Delivers notices: mails, calls to ping URLs, runs of hooks.

Notices wait in the store, where the scripts that move runs put them, until they are delivered or
given up. Mails and calls are made at least once, runs of hooks exactly once. Nothing here is
waited for by a run, and a server that hangs holds up only what goes there.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from typing import TYPE_CHECKING

from jobctl.engine.delivery import DownError, RefusedError, pause
from jobctl.engine.places import Places
from jobctl.engine.service import Service
from jobctl.errors import JobctlError
from jobctl.model.notices import LATE, parse_notice
from jobctl.model.units import format_duration
from jobctl.store import outbox, transitions

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.engine.deliveries import Deliveries
    from jobctl.engine.delivery import Delivery
    from jobctl.model.config import Config
    from jobctl.model.notices import Notice
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

LOOK_EVERY = 15.0
"""Seconds between two looks when no bell rings."""
IN_HAND_MOST = 1000
"""Notices in hand with which no more are taken from those for anybody."""
VIEW = 5000
"""Notices that are looked at together."""
UNKNOWN_FOR = 600.0
"""Seconds after which a notice about a job that nobody knows is given up."""
LOOK_AROUND = 0.1
LAST_MOMENT = 5.0
"""Seconds that a daemon which stops gives what can be delivered at once."""


class Postman(Service):
    """Takes notices from the store and does what the jobs' definitions say of them."""

    name = "postman"
    longest_wait = LOOK_EVERY

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        supervisor: str,
        deliveries: Deliveries,
        clock: Clock,
    ) -> None:
        super().__init__(store)
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._clock = clock
        self._deliveries = deliveries
        self._places = Places(clock)
        self._config: Config | None = None
        self._hand: dict[bytes, asyncio.Task[None]] = {}
        self._done: list[bytes] = []
        self._passed: list[bytes] = []
        self._resting: set[bytes] = set()
        """Notices with something that failed and is tried again later."""
        self._lines: dict[tuple[str, str], asyncio.Task[None]] = {}
        """The last delivery of each key; the next waits for it."""

    @property
    def children(self) -> set[int]:
        """Processes that were started for mails and are waited for here."""
        return self._deliveries.children

    def configure(self, config: Config) -> None:
        """Use a configuration from now on; what is being delivered goes on as it began."""
        self._config = config
        self._deliveries.configure(config)
        self.wake()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        if self._config is None:
            return LOOK_EVERY
        done, passed = frozenset(self._done), frozenset(self._passed)
        # What is passed on is not to be taken back by the same call.
        room = 0 if passed else max(0, IN_HAND_MOST - len(self._hand))
        reply = await self._store.run(
            outbox.outbox(
                self._keys,
                supervisor=self._supervisor,
                take=min(room, 100),
                tell=VIEW,
                delivered=tuple(done),
                passed_on=tuple(passed),
            )
        )
        # Another look may be under way, at the end: what it has said stays said.
        self._done = [raw for raw in self._done if raw not in done]
        self._passed = [raw for raw in self._passed if raw not in passed]
        for raw in (*done, *passed):
            self._hand.pop(raw, None)
            self._resting.discard(raw)
        if not reply.fenced:
            for raw in reply.notices:
                if raw not in self._hand:
                    self._take_up(raw)
        return LOOK_EVERY

    async def finish(self) -> None:
        """Deliver what can be delivered at once, for a few seconds; the rest is for others."""
        try:
            async with asyncio.timeout(LAST_MOMENT):
                await self.tick()
                while busy := self._busy():
                    await asyncio.wait(busy, timeout=LOOK_AROUND, return_when=FIRST_COMPLETED)
                await self.tick()
        except (TimeoutError, JobctlError):
            log.info("%d notices are left for the next supervisor", len(self._hand))

    def _busy(self) -> list[asyncio.Task[None]]:
        """Return what may soon be done: what has failed before is not waited for."""
        return [
            task for raw, task in self._hand.items() if not task.done() and raw not in self._resting
        ]

    async def stop(self) -> None:  # noqa: D102 - as in Service
        await super().stop()
        tasks = [*self._hand.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # One notice

    def _take_up(self, raw: bytes) -> None:
        try:
            notice = parse_notice(raw)
        except ValueError as error:
            log.error("a notice was thrown away: %s", error)  # noqa: TRY400 - the message is the whole story
            notice = None
        self._hand[raw] = asyncio.create_task(self._handle(raw, notice))

    async def _handle(self, raw: bytes, notice: Notice | None) -> None:
        assert self._config is not None  # noqa: S101 - tick returns before there is one
        job = None if notice is None else self._config.jobs.get(notice.job)
        if notice is not None and job is None and self._age(notice) < UNKNOWN_FOR:
            # Another host may know it; it is asked at its next look.
            self._passed.append(raw)
            return
        if notice is None or job is None:
            if notice is not None:
                log.error("nobody is told of run %s: no host knows job %s", notice.run, notice.job)
            await self._count_undelivered()
        else:
            if notice.event == LATE:
                late = format_duration(job.late_after or 0)
                log.warning(
                    "%s: run %s has not started %s after its time", job.name, notice.run, late
                )
            plan = self._deliveries.plan(notice, job)
            await asyncio.gather(*(self._in_line(delivery, notice) for delivery in plan))
        self._done.append(raw)
        self.wake()

    def _age(self, notice: Notice) -> float:
        return self._clock.epoch() - notice.at

    def _in_line(self, delivery: Delivery, notice: Notice) -> asyncio.Task[None]:
        """Begin a delivery once the one before it of the same run and kind has ended."""
        before = self._lines.get(delivery.key)
        task = asyncio.create_task(self._after(before, delivery, notice))
        self._lines[delivery.key] = task
        task.add_done_callback(lambda ended: self._leave_line(delivery.key, ended))
        return task

    def _leave_line(self, key: tuple[str, str], ended: asyncio.Task[None]) -> None:
        if self._lines.get(key) is ended:
            del self._lines[key]

    async def _after(
        self, before: asyncio.Task[None] | None, delivery: Delivery, notice: Notice
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._insist(delivery, notice)
        except Exception:
            # A bug in one notice must not cost the heartbeat.
            log.exception("unexpected error; %s is not repeated", delivery.what)
            await self._count_undelivered()

    async def _insist(self, delivery: Delivery, notice: Notice) -> None:
        """Try until it is done, refused, or too old."""
        failures = 0
        while True:
            try:
                async with self._places.turn(delivery.place):
                    await delivery.do()
            except JobctlError as error:
                failures += 1
                wait = pause(failures)
                if isinstance(error, DownError):
                    self._places.down(delivery.place)
                refused = isinstance(error, RefusedError)
                if refused or self._age(notice) + wait > delivery.most:
                    log.error("%s was not delivered: %s", delivery.what, error)  # noqa: TRY400 - the message is the whole story
                    await self._count_undelivered()
                    return
                level = logging.WARNING if failures == 1 else logging.DEBUG
                log.log(level, "%s: %s; it is tried again", delivery.what, error)
                self._resting.add(notice.raw)
                await asyncio.sleep(wait)
            else:
                self._places.up(delivery.place)
                if failures:
                    log.info("%s is delivered", delivery.what)
                return

    async def _count_undelivered(self) -> None:
        try:
            await self._store.run(transitions.count(self._keys, "undelivered"))
        except JobctlError as error:
            log.debug("a notice that was not delivered is not counted: %s", error)
