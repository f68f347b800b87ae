"""A pool process: claims runs in batches, runs attempts in its slots, settles in batches.

It is a process of its own so that the supervisor's heartbeat never waits for work, and so that a
crash here takes nobody else with it. When the supervisor is gone the pool claims nothing more and
sees what runs to its end; when the pool itself was killed, the process that follows it adopts what
still runs.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine import runner
from jobctl.engine.executor import Executor
from jobctl.engine.gate import Gate
from jobctl.engine.hold import Hold
from jobctl.engine.ledger import Ledger
from jobctl.engine.listener import LISTEN, Listener
from jobctl.engine.loops import Loops, give_up, no_silent_death
from jobctl.engine.pump import Pump
from jobctl.engine.seats import Seats
from jobctl.engine.watchdog import Watchdog
from jobctl.engine.work import Work
from jobctl.model.run import OutcomeKind, Reason
from jobctl.store import unrecorded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobctl.clock import Clock
    from jobctl.engine.bundle_recovery import Answered
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.journal_content import Content
    from jobctl.engine.lease import Lease
    from jobctl.engine.repose import Repose
    from jobctl.engine.slot import Slot
    from jobctl.engine.survivors import Survivor
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import ClaimReply

log = logging.getLogger(__name__)

SEND = 10.0
"""Longest that a turn of the pump may take; its calls have five seconds each."""
SCARCE_PAUSE = 5.0
"""Seconds without new starts when there was no room for another process or descriptor."""


class Pool:
    """The work of one pool process.

    ``slots`` are its slots, of which the first ``size`` take new attempts and the others only end
    what they began. ``journal`` is its host journal.
    ``store`` carries the batches and ``ears`` only waits for doorbells.
    """

    def __init__(  # noqa: PLR0913 - assembled in one place, pool_main
        self,
        *,
        config: Config,
        queues: tuple[str, ...],
        supervisor: str,
        owner: str,
        host: str,
        timezone: str,
        store: AsyncStore,
        ears: AsyncStore,
        keys: Keys,
        slots: list[Slot],
        size: int,
        prefetch: int = 0,
        journal: HostJournal,
        lease: Lease,
        signing: Signing,
        clock: Clock,
    ) -> None:
        self.fenced = asyncio.Event()
        self._ears = ears
        self._keys = keys
        self._seats = Seats(slots, size=size)
        self._clock = clock
        self.ledger = Ledger(slots=size, prefetch=prefetch)
        self._store = store
        self.lease = lease
        self._gate = Gate(config, signing, keys=keys, send=self.send, clock=clock)
        self.pump = Pump(
            store,
            keys,
            self.ledger,
            supervisor=supervisor,
            owner=owner,
            queues=queues,
            journal=journal,
            idle=lambda: self._seats.free,
            on_claims=self._on_claims,
            on_stale=self._on_stale,
            on_gone=self._on_gone,
            on_answered=self._gate.starts.ended,
            on_fenced=self.fenced.set,
            hush=self._hush,
        )
        self._listener = Listener(self.pump, ears, keys, on_bell=self._rouse)
        self._executor = Executor(
            config,
            owner=owner,
            timezone=timezone,
            store=store,
            keys=keys,
            journal=journal,
            lease=lease,
            number=self._seats.number,
            mark=self.pump.mark,
            starts=self._gate.starts,
            clock=clock,
        )
        self.work = Work(
            pump=self.pump,
            ledger=self.ledger,
            seats=self._seats,
            gate=self._gate,
            executor=self._executor,
            owner=owner,
            host=host,
            clock=clock,
            on_scarce=self._wait_for_room,
        )
        self._services: list[asyncio.Task[None]] = []
        self._late: asyncio.TimerHandle | None = None
        """Stops what still runs in a pool that drains."""
        self.watchdog = Watchdog(clock=clock, on_stuck=give_up)
        """Whoever runs the pool lets it look every few seconds."""
        self._loops = Loops(self.watchdog, on_end=no_silent_death)

    def _on_claims(self, reply: ClaimReply) -> None:
        self.work.take_in(reply)

    async def _hush(self) -> None:
        await self._listener.hush()

    def start(self) -> None:
        """Begin to claim."""
        self._loops.add(
            "pump", self.pump.run, turn=self.pump.turn, longest=SEND, drop=self._drop_store
        )
        self._loops.add(
            "ears",
            self._listener.run,
            turn=self._listener.turn,
            longest=LISTEN,
            drop=self._ears.drop,
        )
        self.pump.look()

    def care_for(self, work: Coroutine[object, object, None]) -> None:
        """Run one of the pool's loops until :meth:`close`; a bug in it ends the process."""
        task = asyncio.create_task(work)
        task.add_done_callback(no_silent_death)
        self._services.append(task)

    def adopt(
        self, content: Content, found: list[Survivor], answered: Sequence[Answered] = ()
    ) -> None:
        """Go on for a dead process of this pool; call before :meth:`start`.

        ``answered`` are runs of bundles that have ended.
        """
        self.work.adopt(found, answered)
        self.pump.inherit(content.outcomes)

    @property
    def config(self) -> Config:
        """What the next attempt follows."""
        return self._executor.config

    @property
    def busy(self) -> dict[str, Slot]:
        """By run id: the slots in which something runs."""
        return self._seats.taken

    @property
    def settled(self) -> bool:
        """True when nothing runs and everything is acknowledged."""
        return not (self.work.attempts or self.ledger.backlog) and self.pump.clear

    @property
    def size(self) -> int:
        """How many slots take new attempts."""
        return self._seats.size

    @property
    def free(self) -> int:
        """How many of them have nothing to do."""
        return self._seats.free

    @property
    def children(self) -> int:
        """How many interpreters its slots keep."""
        return sum(slot.python.children for slot in self._seats)

    def rest(self, repose: Repose) -> None:
        """Let go of interpreters that have long had nothing to do."""
        repose.look((slot.python for slot in self._seats.idle), now=self._clock.monotonic())

    def resize(self, size: int, make: Callable[[int], Slot]) -> None:
        """Have ``size`` slots from now on; what runs in others goes on to its end."""
        self._seats.resize(size, make)
        self.ledger.slots = size
        self.pump.look()
        self.work.fill()

    def reserve(self, slots: int) -> None:
        """Leave so many slots idle: an older pool of the same name still runs as many attempts."""
        self._seats.reserved = slots
        self.pump.look()
        self.work.fill()

    def pause(self, why: Hold) -> None:
        """Claim nothing more until this is lifted, and give back what has not started."""
        self.pump.holds.add(why)
        self.work.bundles.stop()
        self._ears.drop()  # with the claim that waits there
        while self.ledger.backlog:
            held = self.ledger.backlog.pop()
            self.pump.release(held.claim.id, held.claim.epoch)

    def resume(self, *lifted: Hold) -> None:
        """Claim again, if there is no other reason not to."""
        self.pump.holds.difference_update(lifted)
        if self.pump.claiming:
            self.pump.check()
            self.pump.look()

    def _drop_store(self) -> None:
        """Let the pump begin anew: what it had sent may or may not have arrived."""
        self._store.drop()
        self.pump.check()
        self.pump.look()

    @property
    def unrecorded(self) -> int:
        """Outcomes that the store has not taken yet."""
        return len(self.ledger.unsettled)

    def send(self, call: Call[object]) -> None:
        """Send a call whose loss does no harm."""
        self.pump.send(call)

    def configure(self, config: Config, queues: tuple[str, ...]) -> None:
        """Use new definitions from the next attempt on; running ones keep theirs."""
        self._executor.config = config
        self._gate.configure(config)
        self.pump.queues = queues
        self._ears.drop()
        self.pump.look()

    def revoke(self, run_id: str, epoch: int, order: str) -> None:
        """Stop a run this pool holds; ``order`` is ``reason signal grace kill``."""
        held = self.ledger.find(run_id)
        if held is None or held.claim.epoch != epoch:
            return
        genuine = self._gate.genuine(order, held)
        if genuine is None:
            return
        held.stop_order = genuine
        slot = self.busy.get(run_id)
        if slot is not None:
            runner.carry_out(genuine, slot)
        elif held in self.ledger.backlog:
            self.ledger.backlog.remove(held)
            self.pump.release(run_id, epoch)
        else:
            self.work.bundles.withdraw(held)

    async def drain(self, deadline: float | None) -> None:
        """Claim nothing more, give back what has not started, wait for what runs.

        After ``deadline`` seconds (``None``: never) what still runs is stopped; it is tried again
        elsewhere. Returns when everything is settled.
        """
        self.pause(Hold.ENDING)
        if deadline is not None:
            self.end_within(deadline)
        while self.work.attempts:
            await asyncio.wait(self.work.attempts)
        if self._late is not None:
            self._late.cancel()
        await self.pump.wait_clear()

    def end_within(self, seconds: float) -> None:
        """Stop what still runs then, unless that happens sooner anyway."""
        loop = asyncio.get_running_loop()
        if self._late is not None:
            if self._late.when() <= loop.time() + seconds:
                return
            self._late.cancel()
        self._late = loop.call_later(seconds, self.hurry)

    def hurry(self, kind: OutcomeKind = OutcomeKind.INTERRUPTED) -> None:
        """Stop everything that runs, as ``kind``: stop signal, grace, KILL."""
        self._executor.stopping = (kind, Reason.LOST)
        self.work.bundles.stop()
        for slot in self.busy.values():
            slot.stop(kind=kind, reason=Reason.LOST)

    async def close(self) -> None:
        """End the services and the slots; call after :meth:`drain`."""
        await self._loops.close()
        for task in self._services:
            task.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        self.work.bundles.close()
        await asyncio.gather(*(slot.close() for slot in self._seats))
        self._gate.close()

    def _rouse(self) -> None:
        """Let an interpreter wake up and get ready while the claim is looked at."""
        idle = self._seats.idle
        if idle:
            idle[-1].python.rouse()

    def _wait_for_room(self, why: str) -> None:
        """Claim nothing for a while: what was claimed could not be started."""
        if self.pump.claiming:
            log.warning("%s; nothing is started for %g s", why, SCARCE_PAUSE)
            self.pause(Hold.ROOM)
            asyncio.get_running_loop().call_later(SCARCE_PAUSE, self.resume, Hold.ROOM)

    def obey_lease(self) -> None:
        """When others may soon take over: kill what must not run twice, and begin nothing more."""
        if self.lease.over != (Hold.LEASE in self.pump.holds):
            (self.pause if self.lease.over else self.resume)(Hold.LEASE)
        for run_id in self.lease.expired():
            slot = self.busy.get(run_id)
            if slot is not None:
                log.error("run %s is killed: this host is cut off, others may start it", run_id)
                self.lease.end(run_id)
                slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)

    def _on_gone(self, item: Settlement) -> None:
        state_dir = Path(self.config.settings.state_dir)
        unrecorded.keep(state_dir, item, now=self._clock.epoch())

    def _on_stale(self, run_id: str, epoch: int) -> None:
        held = self.ledger.find(run_id)
        slot = self.busy.get(run_id)
        if held is None or held.claim.epoch != epoch:
            return
        if slot is not None:
            log.error("run %s was taken over by another supervisor; stopping ours", run_id)
            slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)
        elif run_id in self.ledger.running:
            held.taken_over = True
            self.work.bundles.withdraw(held)
