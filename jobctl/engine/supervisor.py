"""The daemon: owns the store server, the pools and the duties, and never runs user code itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import jobctl
from jobctl.engine import signals, takeover
from jobctl.engine.announce import Registration, check_unchanged
from jobctl.engine.burst import wait_idle
from jobctl.engine.connections import Connections
from jobctl.engine.duties import Duties, Resources
from jobctl.engine.first_seal import seal_what_waits
from jobctl.engine.fleet import Fleet
from jobctl.engine.intake import signing_of
from jobctl.engine.lock import StateLock, prepare
from jobctl.engine.loops import Tasks
from jobctl.engine.mailbox import Mailbox
from jobctl.engine.orphans import outlast_keepers, reap_orphans
from jobctl.engine.processes import become_subreaper
from jobctl.engine.readiness import Patience
from jobctl.engine.reloads import Reloads
from jobctl.engine.rendezvous import Rendezvous
from jobctl.engine.roster import stray_exits
from jobctl.engine.signs import Signs
from jobctl.engine.standing import Standing
from jobctl.engine.stopping import Stopping
from jobctl.engine.succession import code_version
from jobctl.errors import ExitCode, JobctlError
from jobctl.model.admission import limit_sizes
from jobctl.store import transitions
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.clock import Clock
    from jobctl.engine.identity import Identity
    from jobctl.engine.notify import Notifier
    from jobctl.engine.roster import PoolFiles
    from jobctl.model.config import Config
    from jobctl.model.pool import PoolDef
    from jobctl.store.address import Address
    from jobctl.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)

REAP_EVERY = 1.0
"""Seconds between two looks for orphans."""


class Supervisor:
    """One supervisor from start to stop.

    ``reload`` reads the configuration again (in a child, so that neither its cost nor its
    libraries stay here). ``embedded`` is the private store, when the configuration names none.
    ``identity`` is what it has unless it goes on for an earlier one of its state directory.
    """

    def __init__(
        self,
        config: Config,
        *,
        identity: Identity,
        reload: Callable[[], Awaitable[Config]],
        address: Address,
        embedded: EmbeddedStore | None,
        clock: Clock,
        scheduling: bool = True,
        burst: bool = False,
    ) -> None:
        self._config = config
        self._identity = identity
        self._clock = clock
        self._scheduling = scheduling
        self._burst = burst
        self._keys = Keys(config.settings.namespace)
        self._signing = signing_of(config, clock=clock)
        self._connections = Connections(address, embedded)
        self._store = self._connections.store
        self._state_dir = Path(config.settings.state_dir)
        self._stopping = Stopping(drain_timeout=config.settings.drain_timeout, hurry=self._hurry)
        self._tasks = Tasks(self._stopping.on_bug)
        self._signs = Signs(
            doing=self._doing,
            unrecorded=self._unrecorded,
            on_stuck=self._stopping.on_bug,
            clock=clock,
        )
        self._patience = Patience(
            self._store, self._keys, condition=self._signs.condition, stop=self._stopping.asked
        )
        self._registration = Registration(self._store, self._keys, started_at=clock.epoch())
        self._standing = Standing(
            readmit=self._readmit,
            renew=self._renew,
            beat=self._beat,
            on_bug=self._stopping.on_bug,
            stopping=self._stopping.asked,
        )
        self._reloads = Reloads(
            reload,
            apply=self._apply,
            report=self._register,
            notifier=self._signs.notifier,
            status=self._signs.status,
            clock=clock,
        )
        self._mailbox = self._new_mailbox()
        self._serving = self._leaves_nothing = False
        self._duties: Duties | None = None
        self._rendezvous: Rendezvous | None = None

    @property
    def notifier(self) -> Notifier:
        """What tells the service manager."""
        return self._signs.notifier

    @property
    def replaced(self) -> bool:
        """True after :meth:`run` when this process is to be replaced by a new one of itself."""
        return self._stopping.replaced

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        prepare(self._state_dir)
        _ = self._signing.ring  # A key that cannot be used is to be known at once.
        self._lock = StateLock(self._state_dir)
        self._lock.acquire()
        try:
            become_subreaper()
            signals.obey(
                on_stop=self._stopping.on_signal,
                on_reload=self._on_reload,
                on_replace=self._on_replace,
            )
            await self._connections.open(self._patience, self._tasks)
            facts = self._lock.facts()
            inheritance = await self._patience.insist(lambda: self._take_over(facts))
            self._lock.describe(self._identity)
            self._fleet = self._new_fleet()
            self._rendezvous = Rendezvous(self._state_dir, self._fleet.greet)
            await self._serve(*inheritance)
        finally:
            if self._rendezvous is not None:
                self._rendezvous.close()
            await self._close()
            if self._leaves_nothing:
                takeover.tidy(self._state_dir)
            self._lock.release()
            signals.leave(replaced=self.replaced)
        # What a bug was is in the log.
        return ExitCode.OK if self._stopping.bug is None else ExitCode.JOB_FAILED

    # Start

    async def _take_over(self, facts: dict[str, object]) -> tuple[list[PoolFiles], list[PoolFiles]]:
        """Go on for an earlier supervisor if that is possible, else end what it left."""
        earlier = await takeover.resume(
            facts, boot_id=self._identity.boot_id, store=self._store, keys=self._keys
        )
        if earlier is not None:
            self._identity = self._identity.known_as(earlier)
        return await takeover.inherit(
            facts,
            state_dir=self._state_dir,
            supervisor=self._identity.supervisor,
            store=self._store,
            keys=self._keys,
        )

    def _new_fleet(self) -> Fleet:
        return Fleet(
            self._identity,
            state_dir=self._state_dir,
            code=code_version(),
            store=self._store,
            keys=self._keys,
            on_fenced=self._standing.ask,
            on_changed=self._beat,
            clock=self._clock,
        )

    async def _serve(self, own: list[PoolFiles], living: list[PoolFiles]) -> None:
        await self._patience.insist(self._register)
        self._serving = True
        if self._connections.private:
            await self._patience.insist(self._seal_what_waits)
        for files in living:
            self._fleet.banish(files)
        await self._fleet.start(self._config, own)
        assert self._rendezvous is not None  # noqa: S101 - made with the fleet
        self._rendezvous.open()
        self._duties = self._start_duties()
        await self._duties.introduce()
        self._tasks.add(self._signs.run())
        self._tasks.add(self._reap())
        self._tasks.add(self._fleet.watch())
        log.info(
            "jobctl %s: supervisor %s is ready (%d jobs, %s)",
            jobctl.__version__, self._identity.supervisor, len(self._config.jobs),
            ", ".join(_slots(pool) for pool in self._config.pools.values()),
        )  # fmt: skip
        self._signs.tell("READY=1")
        if self._burst:
            self._tasks.add(self._stop_when_idle())
        await self._stopping.asked.wait()
        if self._stopping.leaves:
            await self._duties.hand_over()
            self._fleet.let_go()
        elif await self._wind_down(self._duties):
            # Nothing is left to take over, and what a job left on purpose is not to be touched.
            self._lock.forget()
            self._leaves_nothing = True

    async def _seal_what_waits(self) -> None:
        await seal_what_waits(
            self._store, self._keys, self._signing, state_dir=self._state_dir, clock=self._clock
        )

    async def _register(self, error: str | None = None) -> None:
        load = self._fleet.load() if error == "" else None
        await self._registration.write(self._config, self._identity, error=error, load=load)

    def _start_duties(self) -> Duties:
        resources = Resources(
            identity=self._identity,
            state_dir=self._state_dir,
            store=self._store,
            ears=self._connections.ears,
            keys=self._keys,
            signing=self._signing,
            clock=self._clock,
        )
        duties = Duties(
            resources,
            fleet=self._fleet,
            scheduling=self._scheduling,
            on_message=lambda message: self._mailbox.deliver(message, to=self._identity.supervisor),
            on_lost=lambda unknown: self._standing.lost(unknown=unknown),
            on_well=self._standing.well,
            signs=self._signs,
        )
        duties.configure(self._config)
        duties.start(self._stopping.on_bug)
        return duties

    # Events

    def _new_mailbox(self) -> Mailbox:
        return Mailbox(
            self._signing,
            state_dir=self._state_dir,
            orders={
                "reload": self._on_reload,
                "replace": self._on_replace,
                "drain": self._stopping.drain,
                "stop": self._stopping.stop,
            },
            revoke=lambda *order: self._fleet.revoke(*order),  # noqa: PLW0108 - there is none yet
            pool=lambda *order: self._tasks.add(self._fleet.order(*order)),
            count_forged=lambda: self._tasks.add(self._count_forged()),
            clock=self._clock,
        )

    def _hurry(self) -> None:
        with contextlib.suppress(AttributeError):  # There may be none yet.
            self._fleet.hurry()

    async def _count_forged(self) -> None:
        with contextlib.suppress(JobctlError):
            await self._store.run(transitions.count(self._keys, "forged"))

    def _on_reload(self) -> None:
        if not self._stopping.asked.is_set():
            self._reloads.ask()

    def _on_replace(self) -> None:
        """Begin to replace this process by a new one, which may be of another version."""
        if not self._stopping.asked.is_set():
            self._tasks.add(self._replace())

    async def _replace(self) -> None:
        if await self._reloads.readable():
            self._stopping.replace()

    async def _apply(self, config: Config) -> None:
        check_unchanged(self._config, config)
        # From here on the new one is in force; a store that is away only delays that.
        old, self._config = self._config, config
        self._signing.configure(config.security, config.settings)
        removed = dict.fromkeys(limit_sizes(old).keys() - limit_sizes(config).keys(), "")
        if removed:
            await self._patience.insist(
                lambda: self._store.run(transitions.set_limits(self._keys, removed))
            )
        await self._patience.insist(lambda: self._fleet.configure(config))
        if self._duties is not None:
            self._duties.configure(config)
        await self._patience.insist(lambda: self._register(error=""))

    def _beat(self) -> None:
        if self._duties is not None:
            self._duties.beat()

    async def _readmit(self) -> None:
        """Register again with a store that has lost its data."""
        await self._patience.insist(self._register)
        await self._patience.insist(self._fleet.readmit)
        if self._duties is not None:
            self._duties.configure(self._config)

    async def _renew(self) -> None:
        """Go on under a new id: the runs of the old one were given to others."""
        if self._duties is not None:
            await self._duties.stop()
        self._identity = self._identity.renewed()
        self._lock.describe(self._identity)
        await self._patience.insist(self._register)
        await self._patience.insist(lambda: self._fleet.renew(self._identity))
        self._duties = self._start_duties()
        log.info("going on as supervisor %s", self._identity.supervisor)

    async def _reap(self) -> None:
        """Collect orphans: attempts among them whose pool and keeper are dead."""
        while True:
            await asyncio.sleep(REAP_EVERY)
            reap_orphans(self._known_children(), stray_exits(self._state_dir))

    def _known_children(self) -> set[int]:
        known = self._connections.children
        return known if self._duties is None else known | self._duties.children

    def _doing(self) -> list[str]:
        if not self._serving:
            return ["starting"]
        parts = ["finishing what runs"] if self._stopping.asked.is_set() else []
        return [*parts, f"{self._fleet.running} running, {len(self._config.jobs)} jobs"]

    def _unrecorded(self) -> int:
        return self._fleet.unrecorded if self._serving else 0

    async def _stop_when_idle(self) -> None:
        await wait_idle(self._store, self._keys, self._fleet, self._config)
        self._stopping.asked.set()

    # Stop

    async def _wind_down(self, duties: Duties) -> bool:
        """Stop in order; return whether nothing is left behind.

        Schedules first, so that nothing new comes; then pools; the heartbeat last, for their sake.
        """
        duties.beat()
        self._signs.tell("STOPPING=1")
        await duties.stop_scheduling()
        await self._standing.close()
        await self._fleet.drain(self._stopping.drain_timeout)
        await duties.finish_notices()
        await duties.stop()
        left = await takeover.leave(self._store, self._keys, supervisor=self._identity.supervisor)
        await outlast_keepers()
        log.info("stopped")
        return left

    async def _close(self) -> None:
        await self._tasks.close()
        await self._connections.close(leaves=self._stopping.leaves)


def _slots(pool: PoolDef) -> str:
    if pool.max is None:
        return f"{pool.name}: {pool.slots} slots"
    return f"{pool.name}: {pool.min} to {pool.max} slots"
