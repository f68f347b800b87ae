"""Entry point of a pool process: ``python -m jobctl.engine.pool_main CHANNEL JOURNAL``.

Both arguments are descriptors: the line to the supervisor, and the host journal with the lock that
says that this pool lives. Everything else comes over the line; a pool never reads jobs.toml, so it
stays small and uses exactly what the supervisor checked.
"""

from __future__ import annotations

from jobctl.engine import lean  # noqa: F401 - first of all, for what it does

# isort: split
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import (
    bundle_recovery,
    journal_content,
    recovery,
    rendezvous,
    spool,
)
from jobctl.engine.attempt import AttemptDirs
from jobctl.engine.channel import Channel, Message
from jobctl.engine.hold import Hold
from jobctl.engine.host_journal import HostJournal
from jobctl.engine.intake import signing_of
from jobctl.engine.journal import configure_logging
from jobctl.engine.lease import Lease
from jobctl.engine.loops import no_silent_death
from jobctl.engine.nursery import Nursery
from jobctl.engine.observer import Observer
from jobctl.engine.orphanage import Orphanage
from jobctl.engine.pool import Pool
from jobctl.engine.python_desk import Desk
from jobctl.engine.repose import Repose
from jobctl.engine.roster import PoolFiles
from jobctl.engine.scaling import Scaling
from jobctl.engine.shipper import Shipper
from jobctl.engine.slot import Slot
from jobctl.engine.workplace import Workplace
from jobctl.errors import ConfigError
from jobctl.model.config import Config, config_from_plain, job_from_plain
from jobctl.model.run import OutcomeKind
from jobctl.store import failpoints, scripts
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.keys import Keys
from jobctl.store.watch import watch_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobctl.engine.survivors import Survivor
    from jobctl.model.job import JobDef
    from jobctl.model.pool import PoolDef

log = logging.getLogger(__name__)

REPORT_EVERY = 2.0
QUICK_REPORT = 0.1
"""Seconds between two looks while somebody waits for this pool to end."""


class PoolProcess:
    """Connects a :class:`Pool` with its supervisor, whoever that is at the time."""

    def __init__(self, journal: int) -> None:
        """``journal`` is the inherited descriptor."""
        self._journal_fd = journal
        self._pool: Pool | None = None
        self._batch = 0
        self._defined: dict[int, list[JobDef]] = {}
        self._place: Workplace | None = None
        self._nursery: Nursery | None = None
        self._scaling: Scaling | None = None
        self._files: PoolFiles | None = None
        self._orphanage: Orphanage | None = None
        self._channel: Channel | None = None
        self._done = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self._reports: asyncio.Task[None] | None = None
        self._calling: asyncio.Task[None] | None = None
        self._reported: object = None

    async def run(self, sock: socket.socket) -> int:
        """Serve until drained, or until nothing runs and no supervisor has come back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        self._channel = await Channel.open(sock, self._on_message, self._on_supervisor_gone)
        await self._done.wait()
        for task in (self._reports, self._calling):
            if task is not None:
                task.cancel()
        if self._pool is not None:
            self._report_load()  # its successor may use its slots while interpreters still end
            await self._pool.close()
        if self._nursery is not None:
            await self._nursery.close()
        if self._place is not None:
            self._place.close()
        if self._files is not None and (self._pool is None or self._pool.settled):
            spool.clear(self._files, under_way=(), logs=())
            self._files.remove()
        self._channel.send({"say": "done"})
        self._channel.close()
        return 0

    def _on_stop_signal(self, number: signal.Signals) -> None:
        """Go on: pools stop when their supervisor says so.

        A job has its pool's id as ``$PPID``, and what the other slots run is none of its business.
        A handler, because jobs would inherit that the signal is ignored.
        """
        log.warning("pool: %s is of no use here; stop the daemon instead", number.name)

    def _on_message(self, message: Message) -> None:
        word = message.get("do")
        if word == "start":
            self._start(message)
        elif word == "define":
            self._define(message)
        elif word == "drain":
            deadline = message.get("deadline")
            self._begin_drain(None if deadline is None else float(str(deadline)))
        elif word == "hurry":
            self._hurry(OutcomeKind(str(message.get("kind", OutcomeKind.INTERRUPTED.value))))
        elif self._pool is not None:
            self._instruct(self._pool, message)

    def _instruct(self, pool: Pool, message: Message) -> None:
        match message.get("do"):
            case "attach":
                pool.configure(self._config(message), _queues(message))
                self._report_load()
                pool.resume(Hold.ALONE, Hold.FENCED)
            case "revoke":
                pool.revoke(str(message["id"]), int(str(message["epoch"])), str(message["order"]))
            case "configure" if _batch(message) > self._batch:
                # Not when one that was begun later is in force already.
                pool.configure(self._config(message), _queues(message))
            case "reserve":
                pool.reserve(int(str(message["slots"])))
            case "resize" if self._scaling is not None:
                self._scaling.change(int(str(message["by"])))
                self._report_load()  # somebody waits for it
            case "lease":
                pool.lease.renew(float(str(message["sent"])))
            case "ping":
                self._say({"say": "here"})
            case "check":
                pool.pump.check()
            case "resume":
                pool.resume(Hold.FENCED)

    def _config(self, message: Message) -> Config:
        """Return a message's configuration, with the jobs that were said before it."""
        plain: Mapping[str, object] = message["config"]  # type: ignore[assignment]
        self._batch = _batch(message)
        jobs = self._defined.pop(self._batch, [])
        # What a supervisor that is gone had begun to say.
        self._defined.clear()
        return config_from_plain(plain, jobs)

    def _define(self, message: Message) -> None:
        """Keep jobs for the configuration that will name them."""
        jobs: list[dict[str, object]] = message["define"]  # type: ignore[assignment]
        if _batch(message) > self._batch:
            self._defined.setdefault(_batch(message), []).extend(map(job_from_plain, jobs))

    def _start(self, message: Message) -> None:
        config = self._config(message)
        address = Address.from_facts(message["address"])  # type: ignore[arg-type]
        keys = Keys(config.settings.namespace)
        name = str(message["pool"])
        self._files = files = PoolFiles(Path(config.settings.state_dir), str(message["owner"]))
        content = journal_content.Content()
        survivors: list[Survivor] = []
        answered: list[bundle_recovery.Answered] = []
        if message.get("inherits"):
            content = journal_content.read(files.journal)
            answered = bundle_recovery.answered(files, content)
            survivors = recovery.survivors(files, content, address=address, keys=keys)
        journal = HostJournal(files.journal, self._journal_fd)
        self._place = place = Workplace.open(
            dirs=AttemptDirs.under(files.state_dir), clock=SYSTEM_CLOCK, witness=journal
        )
        self._nursery = nursery = Nursery(config.pools[name], place)
        size = config.pools[name].first_slots
        occupied = {one.started.slot for one in survivors}
        occupied.update(one.started.slot for one in answered)
        make = _maker(files, config.pools[name], place, nursery=nursery, occupied=occupied)
        store = AsyncStore(address, name=f"jobctl-{name}")
        ears = AsyncStore(address, name=f"jobctl-{name}-ears")
        signing = signing_of(config, clock=SYSTEM_CLOCK)
        self._pool = pool = Pool(
            config=config,
            queues=_queues(message),
            supervisor=str(message["supervisor"]),
            owner=files.owner,
            host=str(message["host"]),
            timezone=str(message["timezone"]),
            store=store,
            ears=ears,
            keys=keys,
            slots=[make(index) for index in range(max(size, *(n + 1 for n in occupied), 0))],
            size=size,
            prefetch=config.pools[name].prefetch,
            journal=journal,
            lease=Lease(files.lease, shared=config.settings.redis is not None),
            signing=signing,
            clock=SYSTEM_CLOCK,
        )  # fmt: skip
        place.desk = Desk(
            store, keys, owner=files.owner, host=str(message["host"]), ledger=pool.ledger,
            config=lambda: pool.config, signing=signing,
        )  # fmt: skip
        self._scaling = Scaling(
            pool, config.pools[name], make=make, store=store, keys=keys, clock=SYSTEM_CLOCK,
            on_resized=self._report_load,
        )  # fmt: skip
        if config.settings.redis is not None:
            pool.work.shipper = Shipper(keys, send=pool.send, tail=config.settings.log_tail)
        self._orphanage = Orphanage(
            pool, AsyncStore(address, name=f"jobctl-{name}-alone"), keys,
            supervisor=str(message["supervisor"]), name=name,
        )  # fmt: skip
        if message.get("inherits"):
            pool.adopt(content, survivors, answered)
            spool.clear(files, under_way=[one.started for one in survivors], logs=occupied)
        pool.start()
        observer = Observer(
            pool, journal=journal, tidy=place.processes.tidy,
            repose=Repose(config.pools[name].idle_timeout, shared=nursery.shared),
            clock=SYSTEM_CLOCK,
        )  # fmt: skip
        pool.care_for(observer.run())
        if self._scaling.automatic:
            pool.care_for(self._scaling.run())
        if address.group:
            pool.care_for(watch_group(store, ears))
        self._reports = asyncio.create_task(self._report())

    async def _report(self) -> None:
        """Tell the supervisor what runs, when that changed."""
        assert self._pool is not None  # noqa: S101 - started before
        self._say({"say": "ready", "pid": os.getpid()})
        while True:
            self._pool.watchdog.look()
            self._report_load()
            if self._pool.fenced.is_set():
                self._say({"say": "fenced"})
                self._pool.fenced.clear()
            await asyncio.sleep(REPORT_EVERY if self._drain is None else QUICK_REPORT)

    def _report_load(self) -> None:
        pool = self._pool
        assert pool is not None  # noqa: S101 - started before
        load = {
            "running": len(pool.busy),
            "unrecorded": pool.unrecorded,
            "slots": pool.size,
            "children": self._children(pool),
            "ordered": 0 if self._scaling is None else self._scaling.ordered,
        }
        if load != self._reported:
            self._reported = load
            self._say({"say": "load", **load})

    def _children(self, pool: Pool) -> int:
        """Count the Python interpreters, those that slots share included."""
        shared = None if self._nursery is None else self._nursery.shared
        return pool.children if shared is None else shared.children

    def _say(self, message: Message) -> None:
        assert self._channel is not None  # noqa: S101 - opened first of all
        self._channel.send(message)

    def _begin_drain(self, deadline: float | None) -> None:
        if self._pool is None:
            self._done.set()
        elif self._drain is None:
            self._drain = asyncio.create_task(self._drained(deadline))
            self._drain.add_done_callback(no_silent_death)
        elif deadline is not None:
            self._pool.end_within(
                deadline
            )  # a pool that is replaced has none until its daemon stops

    async def _drained(self, deadline: float | None) -> None:
        assert self._pool is not None  # noqa: S101 - started before
        await self._pool.drain(deadline)
        self._done.set()

    def _hurry(self, kind: OutcomeKind) -> None:
        if self._pool is not None:
            self._begin_drain(None)
            self._pool.hurry(kind)
        else:
            self._done.set()

    def _on_supervisor_gone(self) -> None:
        """Let what runs go on, and call until somebody answers."""
        if self._done.is_set():
            return
        if self._pool is None or self._files is None or self._orphanage is None:
            self._done.set()
            return
        if self._calling is None or self._calling.done():
            log.warning("pool %s: the supervisor is gone; what runs goes on", self._files.owner)
            self._calling = asyncio.create_task(
                self._call(self._files, self._pool, self._orphanage)
            )
            self._calling.add_done_callback(no_silent_death)

    async def _call(self, files: PoolFiles, pool: Pool, orphanage: Orphanage) -> None:
        pool.pause(Hold.ALONE)
        while True:
            try:
                sock = rendezvous.call(files.state_dir)
            except OSError:
                if await orphanage.wait():
                    log.warning("pool %s: no supervisor came back, and nothing runs", files.owner)
                    self._done.set()
                    return
                continue
            await orphanage.leave()
            self._channel = await Channel.open(sock, self._on_message, self._on_supervisor_gone)
            self._say(
                {
                    "say": "hello",
                    "owner": files.owner,
                    "pid": os.getpid(),
                    "running": len(pool.busy),
                }
            )
            return


def _batch(message: Message) -> int:
    return int(str(message["batch"]))


def _queues(message: Message) -> tuple[str, ...]:
    queues: list[str] = message["queues"]  # type: ignore[assignment]
    return tuple(queues)


def _maker(
    files: PoolFiles, definition: PoolDef, place: Workplace, *, nursery: Nursery, occupied: set[int]
) -> Callable[[int], Slot]:
    """Return what makes the slot of a number; those in ``occupied`` begin with an old attempt."""

    def make(index: int) -> Slot:
        return Slot(
            # Not the pool's name alone: its successor starts while it drains.
            name=f"{files.serial}-{index}",
            workplace=place,
            max_runs_per_child=definition.max_runs_per_child,
            max_rss_per_child=definition.max_rss_per_child,
            occupied=index in occupied,
            nursery=nursery,
        )

    return make


def main() -> None:
    """Serve one pool; the arguments are the descriptors of its line and of its journal."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    configure_logging()
    try:
        failpoints.arm("pool")
        scripts.load_all()
    except ConfigError as error:
        log.error("pool: %s", error)  # noqa: TRY400 - the message says it all
        raise SystemExit(error.exit_code) from None
    os.umask(0o077)
    raise SystemExit(asyncio.run(PoolProcess(int(sys.argv[2])).run(sock)))


if __name__ == "__main__":
    main()
