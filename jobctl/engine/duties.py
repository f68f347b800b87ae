"""The supervisor's background duties, in the order in which they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine.deliveries import Deliveries
from jobctl.engine.forwarder import Forwarder
from jobctl.engine.heart import Doorman, Heartbeat
from jobctl.engine.postman import Postman
from jobctl.engine.rescuer import Promoter, Rescuer
from jobctl.engine.retention import Retention
from jobctl.engine.scheduler import Scheduler
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.engine.fleet import Fleet
    from jobctl.engine.identity import Identity
    from jobctl.engine.service import Service
    from jobctl.engine.signs import Signs
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys
    from jobctl.store.membership import BeatReply


INTRODUCED_WITHIN = 5.0
"""Seconds; many schedules take longer, and nobody is to wait for a store that is away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What the duties of a supervisor work with."""

    identity: Identity
    state_dir: Path
    store: AsyncStore
    ears: AsyncStore
    """A connection to the store that waits for bells."""
    keys: Keys
    signing: Signing
    clock: Clock


class Duties:
    """What one incarnation of a supervisor does besides its pools."""

    def __init__(
        self,
        resources: Resources,
        *,
        fleet: Fleet,
        scheduling: bool,
        on_message: Callable[[str], None],
        on_lost: Callable[[bool], None],
        on_well: Callable[[], None],
        signs: Signs,
    ) -> None:
        """``on_lost`` is told why a beat was refused, see :class:`Heartbeat`; ``on_well`` is called for one that was not."""
        self._on_well = on_well
        self._fleet = fleet
        self._condition = signs.condition
        self._watchdog = signs.watchdog
        store, keys, clock = resources.store, resources.keys, resources.clock
        supervisor = resources.identity.supervisor
        self._heart = Heartbeat(
            store,
            keys,
            supervisor=supervisor,
            load=self._load,
            owners=fleet.owners,
            on_message=on_message,
            on_answer=self._on_answer,
            on_lost=on_lost,
            clock=clock,
        )
        self._promoter = Promoter(store, keys)
        rescuer = Rescuer(store, keys, supervisor=supervisor, clock=clock)
        self._retention = Retention(resources.state_dir, clock=clock)
        self._postman = _postman(resources, schedules=self._schedules_of)
        self._scheduler = _scheduler(resources, rescuer) if scheduling else None
        # The heartbeat first, for without it everything else is refused.
        self._services: list[Service] = [
            self._heart,
            self._promoter,
            rescuer,
            Doorman(resources.ears, keys, supervisor=supervisor, on_bell=self._on_bell),
            _forwarder(resources),
            self._retention,
            self._postman,
        ]
        if self._scheduler is not None:
            self._services.append(self._scheduler)

    def _load(self) -> dict[str, object]:
        """Return what pools do and how schedules go, for the heartbeat."""
        if self._scheduler is None:
            return self._fleet.load()
        return self._fleet.load() | {"schedules": self._scheduler.facts()}

    def configure(self, config: Config) -> None:
        """Use a configuration from now on."""
        self._retention.configure(config)
        self._postman.configure(config)
        if self._scheduler is not None:
            self._scheduler.configure(config)

    def start(self, on_bug: Callable[[BaseException], None]) -> None:
        """Begin all of them."""
        for service in self._services:
            service.start(on_bug, condition=self._condition, watchdog=self._watchdog)

    async def introduce(self) -> None:
        """Wait until the store knows the schedules, for as long as that takes in the usual case.

        Who is ready and is stopped at once would else not know, when it is started again, that an
        instant was missed.
        """
        if self._scheduler is not None:
            # Not wait_for: on 3.11 that forgets a cancellation that comes with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTRODUCED_WITHIN):
                    await self._scheduler.introduced.wait()

    def beat(self) -> None:
        """Beat now, to say something new or to hear how we stand."""
        self._heart.wake()

    async def stop_scheduling(self) -> None:
        """Let nothing new come."""
        if self._scheduler is not None:
            self._watchdog.forget(self._scheduler.name)
            await self._scheduler.stop()

    @property
    def children(self) -> set[int]:
        """Processes that duties started and wait for."""
        return self._postman.children

    async def finish_notices(self) -> None:
        """Tell what can be told at once."""
        await self._postman.finish()

    async def hand_over(self) -> None:
        """End all of them, for a successor under the same id."""
        await self.stop()
        with contextlib.suppress(JobctlError):
            await self._heart.acknowledge()

    async def stop(self) -> None:
        """End all of them, the heartbeat last."""
        for service in reversed(self._services):
            self._watchdog.forget(service.name)
            await service.stop()

    def _schedules_of(self, job: str) -> list[str]:
        return [] if self._scheduler is None else self._scheduler.schedules_of(job)

    def _on_answer(self, reply: BeatReply, sent: float) -> None:
        self._fleet.check(reply.owned)
        self._fleet.keep_lease(sent)
        if self._scheduler is not None:
            self._scheduler.note_live(reply.live_schedules)
        self._on_well()

    def _on_bell(self, which: str) -> None:
        if which == "mailbox":
            self._heart.wake()
        elif which == "notices":
            self._postman.wake()
        else:
            self._promoter.wake()


def _postman(resources: Resources, *, schedules: Callable[[str], list[str]]) -> Postman:
    identity = resources.identity
    deliveries = Deliveries(
        resources.store,
        resources.keys,
        host=identity.host,
        timezone=identity.timezone,
        state_dir=resources.state_dir,
        schedules=schedules,
        seal=resources.signing.seal,
        clock=resources.clock,
    )
    return Postman(
        resources.store,
        resources.keys,
        supervisor=identity.supervisor,
        deliveries=deliveries,
        clock=resources.clock,
    )


def _forwarder(resources: Resources) -> Forwarder:
    return Forwarder(
        resources.store,
        resources.keys,
        state_dir=str(resources.state_dir),
        seal=resources.signing.seal,
        clock=resources.clock,
    )


def _scheduler(resources: Resources, rescuer: Rescuer) -> Scheduler:
    """Make the scheduler; the rescuer knows which other supervisors live and decide instants too."""
    identity, signing = resources.identity, resources.signing
    return Scheduler(
        resources.store,
        resources.keys,
        identity,
        peers=lambda: (identity.supervisor, *rescuer.deciding),
        clock=resources.clock,
        seal=signing.seal,
        ring=lambda: signing.ring,
    )
