"""The daemon: owns the store server, the pools and the duties, and never runs user code itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import jobctl
from jobctl.engine import announce
from jobctl.engine.burst import wait_idle
from jobctl.engine.condition import Condition
from jobctl.engine.fleet import Fleet
from jobctl.engine.forwarder import Forwarder
from jobctl.engine.heart import Doorman, Heartbeat
from jobctl.engine.lock import StateLock, prepare
from jobctl.engine.notify import Notifier, watchdog_period
from jobctl.engine.orphans import reap_orphans
from jobctl.engine.pools import Identity
from jobctl.engine.processes import become_subreaper
from jobctl.engine.readiness import Patience
from jobctl.engine.rescuer import Promoter, Rescuer
from jobctl.engine.retention import Retention
from jobctl.engine.scheduler import Scheduler
from jobctl.engine.standing import Standing
from jobctl.engine.takeover import leave, take_over
from jobctl.engine.watchdog import Watchdog
from jobctl.errors import JobctlError
from jobctl.model.admission import limit_sizes
from jobctl.store import membership, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.clock import Clock
    from jobctl.engine.service import Service
    from jobctl.model.config import Config
    from jobctl.store.address import Address
    from jobctl.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)


class Supervisor:
    """One supervisor from start to stop.

    ``reload`` reads the configuration again (in a child, so that neither its cost nor its
    libraries stay here). ``embedded`` is the private store, when the configuration names none.
    """

    def __init__(  # noqa: PLR0913 - assembled in one place, the daemon command
        self,
        config: Config,
        *,
        reload: Callable[[], Awaitable[Config]],
        address: Address,
        embedded: EmbeddedStore | None,
        supervisor: str,
        host: str,
        timezone: str,
        boot_id: str,
        clock: Clock,
        scheduling: bool = True,
        burst: bool = False,
    ) -> None:
        self._config = config
        self._reload = reload
        self._address = address
        self._embedded = embedded
        self._sid = supervisor
        self._host = host
        self._timezone = timezone
        self._boot_id = boot_id
        self._clock = clock
        self._scheduling = scheduling
        self._burst = burst
        self._keys = Keys(config.settings.namespace)
        self._store = AsyncStore(address, name="jobctl-supervisor")
        self._ears = AsyncStore(address, name="jobctl-supervisor-ears")
        self._state_dir = Path(config.settings.state_dir)
        self._notifier = Notifier.from_environment()
        self._condition = Condition(on_change=self._tell_status, unrecorded=self._unrecorded)
        self._watchdog = Watchdog(clock=clock, on_stuck=self._on_bug)
        self._standing = Standing(readmit=self._readmit, renew=self._renew, on_bug=self._on_bug)
        self._started_at = clock.epoch()
        self._stop = asyncio.Event()
        self._patience = Patience(
            self._store, self._keys, condition=self._condition, stop=self._stop
        )
        self._bug: BaseException | None = None
        self._deadline: float | None = config.settings.drain_timeout
        self._serving = False
        self._signals = 0
        self._reloads = 0
        self._reload_asked = False
        self._reloading: asyncio.Task[None] | None = None
        self._services: list[Service] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        prepare(self._state_dir)
        lock = StateLock(self._state_dir)
        lock.acquire()
        try:
            become_subreaper()
            self._install_signals()
            await self._open_store()
            await self._patience.insist(
                lambda: take_over(
                    lock,
                    spool=self._state_dir / "spool",
                    store=self._store,
                    keys=self._keys,
                    clock=self._clock,
                )
            )
            self._write_facts(lock, [])
            await self._serve(lock)
        finally:
            await self._close()
            lock.release()
            self._ignore_signals()
        if self._bug is not None:
            raise self._bug
        return 0

    # Start

    async def _open_store(self) -> None:
        if self._embedded is not None:
            await self._embedded.start()
            self._tasks.append(asyncio.create_task(self._embedded.watch()))
        await self._patience.wait_ready(shared=self._embedded is None)

    async def _serve(self, lock: StateLock) -> None:
        self._pools_lock = lock.pools
        self._fleet = Fleet(
            self._identity(),
            store=self._store,
            keys=self._keys,
            on_change=lambda pids: self._write_facts(lock, pids),
            on_fenced=self._fenced,
            clock=self._clock,
        )
        await self._patience.insist(self._register)
        self._serving = True
        await self._fleet.start(self._config)
        self._start_services()
        period = watchdog_period(dict(os.environ))
        self._tasks.append(asyncio.create_task(self._pet_watchdog(period)))
        log.info(
            "jobctl %s: supervisor %s is ready (%d jobs, %s)",
            jobctl.__version__, self._sid, len(self._config.jobs),
            ", ".join(f"{pool.name}: {pool.slots} slots" for pool in self._config.pools.values()),
        )  # fmt: skip
        self._notifier.send("READY=1", f"STATUS={self._status()}")
        if self._burst:
            self._tasks.append(asyncio.create_task(self._stop_when_idle()))
        await self._stop.wait()
        if await self._wind_down():
            # Nothing is left to take over, and what a job left on purpose is not to be touched.
            lock.write_facts({})

    def _identity(self) -> Identity:
        return Identity(
            supervisor=self._sid,
            host=self._host,
            timezone=self._timezone,
            address=self._address,
            pools_lock=self._pools_lock,
        )

    def _write_facts(self, lock: StateLock, pools: list[int]) -> None:
        """Write down what the next supervisor of this state directory must know of this one."""
        try:
            lock.write_facts({"supervisor": self._sid, "pid": os.getpid(), "pools": pools})
        except OSError:
            log.exception(
                "supervisor.json cannot be written; should this daemon be killed, the next one "
                "does not know all of its pools"
            )

    async def _register(self, error: str | None = None) -> None:
        """Tell the store who we are; with ``error`` (maybe empty) that we have reloaded."""
        facts = announce.facts(
            self._config, host=self._host, timezone=self._timezone, started_at=self._started_at
        )
        if error is not None:
            self._reloads += 1
            facts |= {"reloads": str(self._reloads), "reload_error": error}
        await self._store.run(membership.register(self._keys, supervisor=self._sid, facts=facts))
        await self._store.run(transitions.set_limits(self._keys, limit_sizes(self._config)))

    def _start_services(self) -> None:
        """Start the duties; the heartbeat first, for without it everything else is refused."""
        self._heart = Heartbeat(
            self._store,
            self._keys,
            supervisor=self._sid,
            load=self._fleet.load,
            owners=self._fleet.owners,
            on_message=self._on_message,
            on_lost=self._on_lost,
            clock=self._clock,
        )
        self._promoter = Promoter(self._store, self._keys)
        self._rescuer = Rescuer(self._store, self._keys, supervisor=self._sid, clock=self._clock)
        self._doorman = Doorman(self._ears, self._keys, supervisor=self._sid, on_bell=self._on_bell)
        self._services = [self._heart, self._promoter, self._rescuer, self._doorman]
        self._services.append(
            Forwarder(self._store, self._keys, state_dir=str(self._state_dir), clock=self._clock)
        )
        self._retention = Retention(self._state_dir, clock=self._clock)
        self._retention.configure(self._config)
        self._services.append(self._retention)
        self._scheduler: Scheduler | None = None
        if self._scheduling:
            self._scheduler = Scheduler(
                self._store,
                self._keys,
                supervisor=self._sid,
                host=self._host,
                timezone=self._timezone,
                boot_id=self._boot_id,
                peers=lambda: (self._sid, *self._rescuer.alive),
                clock=self._clock,
            )
            self._scheduler.configure(self._config)
            self._services.append(self._scheduler)
        for service in self._services:
            service.start(self._on_bug, condition=self._condition, watchdog=self._watchdog)

    # Events

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    def _ignore_signals(self) -> None:
        """Let no signal that is late change the exit code of what has ended in order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _on_stop_signal(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals == 1:
            log.info("%s: finishing what runs (again: stop it now)", number.name)
            self._stop.set()
        else:
            log.info("%s: stopping what runs", number.name)
            with contextlib.suppress(AttributeError):
                self._fleet.hurry()

    def _on_message(self, message: str) -> None:
        word, _, rest = message.partition(" ")
        match word:
            case "revoke":
                run_id, epoch, order = rest.split(" ", 2)
                self._fleet.revoke(run_id, int(epoch), order)
            case "reload":
                self._on_reload()
            case "drain":
                log.info("asked to drain: finishing what runs, however long it takes")
                self._deadline = None
                self._stop.set()
            case "stop":
                log.info("asked to stop: finishing what runs")
                self._stop.set()
            case _:
                log.error("a message that is not known was dropped: %.80r", message)

    def _on_bell(self, which: str) -> None:
        if which == "mailbox":
            self._heart.wake()
        else:
            self._promoter.wake()

    def _on_reload(self) -> None:
        if self._stop.is_set():
            return
        self._reload_asked = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._serve_reloads())

    async def _serve_reloads(self) -> None:
        """Reload, and again when that was asked for after the files had been read."""
        while self._reload_asked:
            self._reload_asked = False
            await self._do_reload()

    async def _do_reload(self) -> None:
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")
        try:
            config = await self._reload()
            while self._reload_asked:
                self._reload_asked = False
                config = await self._reload()
            announce.check_unchanged(self._config, config)
            old, self._config = self._config, config
            removed = dict.fromkeys(limit_sizes(old).keys() - limit_sizes(config).keys(), "")
            if removed:
                await self._store.run(transitions.set_limits(self._keys, removed))
            await self._fleet.configure(config)
            self._retention.configure(config)
            if self._scheduler is not None:
                self._scheduler.configure(config)
            await self._register(error="")
            log.info("reloaded %s: %d jobs", config.path, len(config.jobs))
        except JobctlError as error:
            log.error("reload failed, the old configuration stays: %s", error)  # noqa: TRY400
            with contextlib.suppress(JobctlError):
                await self._register(error=str(error))
        finally:
            self._notifier.send("READY=1", f"STATUS={self._status()}")

    def _fenced(self) -> None:
        """Ask at once how we stand: a pool's claim was refused, and the beat tells why."""
        self._heart.wake()

    def _on_lost(self, unknown: bool) -> None:  # noqa: FBT001 - the heartbeat's word
        if not self._stop.is_set():
            self._standing.lost(unknown=unknown)

    async def _readmit(self) -> None:
        """Register again with a store that has lost its data."""
        await self._patience.insist(self._register)
        await self._patience.insist(self._fleet.readmit)
        if self._scheduler is not None:
            self._scheduler.configure(self._config)

    async def _renew(self) -> None:
        """Go on under a new id: the runs of the old one were given to others."""
        for service in reversed(self._services):
            self._watchdog.forget(service.name)
            await service.stop()
        self._sid = announce.incarnation(self._host, self._boot_id)
        await self._patience.insist(self._register)
        await self._patience.insist(lambda: self._fleet.renew(self._identity()))
        self._start_services()
        log.info("going on as supervisor %s", self._sid)

    def _on_bug(self, error: BaseException) -> None:
        log.critical("unexpected error; stopping in order", exc_info=error)
        self._bug = error
        self._stop.set()

    async def _pet_watchdog(self, period: float | None) -> None:
        while True:
            await asyncio.sleep(period or 10.0)
            reap_orphans(self._known_children())
            self._watchdog.look()
            if self._watchdog.well:
                self._notifier.send("WATCHDOG=1")
            self._tell_status()

    def _known_children(self) -> set[int]:
        known = set(self._fleet.pids())
        if self._embedded is not None:
            known.add(self._embedded.pid)
        return known

    def _status(self) -> str:
        if not self._serving:
            return "; ".join(("starting", *self._condition.parts))
        parts = [f"{self._fleet.running} running, {len(self._config.jobs)} jobs"]
        if self._stop.is_set():
            parts.insert(0, "finishing what runs")
        return "; ".join((*parts, *self._condition.parts))

    def _unrecorded(self) -> int:
        return self._fleet.unrecorded if self._serving else 0

    def _tell_status(self) -> None:
        self._notifier.send(f"STATUS={self._status()}")

    async def _stop_when_idle(self) -> None:
        await wait_idle(self._store, self._keys, self._fleet, self._config)
        self._stop.set()

    # Stop

    async def _wind_down(self) -> bool:
        """Stop in order; return whether nothing is left behind.

        Schedules first, so that nothing new comes; then pools; the heartbeat last, for their sake.
        """
        self._heart.wake()
        self._notifier.send("STOPPING=1", f"STATUS={self._status()}")
        if self._scheduler is not None:
            self._watchdog.forget(self._scheduler.name)
            await self._scheduler.stop()
        await self._standing.close()
        await self._fleet.drain(self._deadline)
        for service in reversed(self._services):
            self._watchdog.forget(service.name)
            await service.stop()
        left = await leave(self._store, self._keys, supervisor=self._sid)
        log.info("stopped")
        return left

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()
        await self._ears.close()
        if self._embedded is not None:
            await self._embedded.stop()
