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

from jobctl.engine import bundle, recovery, runner
from jobctl.engine.bundles import Bundles
from jobctl.engine.executor import Executor
from jobctl.engine.gate import Gate
from jobctl.engine.ledger import Ledger
from jobctl.engine.listener import LISTEN, Listener
from jobctl.engine.loops import Loops, give_up, no_silent_death
from jobctl.engine.pace import Pace
from jobctl.engine.pump import Hold, Pump
from jobctl.engine.returned import returned
from jobctl.engine.seats import Seats
from jobctl.engine.watchdog import Watchdog
from jobctl.model.job import Delivery, JobDef
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.store import unrecorded
from jobctl.store.transitions import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobctl.clock import Clock
    from jobctl.engine.bundle_answer import Answer
    from jobctl.engine.bundle_recovery import Answered
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.journal_content import Content
    from jobctl.engine.lease import Lease
    from jobctl.engine.ledger import Held
    from jobctl.engine.repose import Repose
    from jobctl.engine.shipper import Shipper
    from jobctl.engine.slot import Slot
    from jobctl.engine.survivors import Survivor
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import ClaimReply

    _Ended = tuple[JobDef | None, Outcome]

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
        self._owner = owner
        self._host = host
        self._ears = ears
        self._keys = keys
        self._seats = Seats(slots, size=size)
        self.shipper: Shipper | None = None
        """Set when the store is shared with other hosts."""
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
        self._pace = Pace()
        self._bundles = Bundles(self, self._executor, clock=clock)
        self._attempts: set[asyncio.Task[None]] = set()
        self._services: list[asyncio.Task[None]] = []
        self.watchdog = Watchdog(clock=clock, on_stuck=give_up)
        """Whoever runs the pool lets it look every few seconds."""
        self._loops = Loops(self.watchdog, on_end=no_silent_death)

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
        for one in answered:
            held = recovery.held(one.started, now=self._clock.monotonic())
            job = recovery.definition(runner.find_job(self.config, held.request), one.started)
            self.ledger.running[held.claim.id] = held
            self._bundles.adopt(held, job, self._seats.at(one.started.slot), one)
        for survivor in found:
            held = recovery.held(survivor.started, now=self._clock.monotonic())
            slot = self._seats.take_back(held.claim.id, survivor.started.slot)
            self._begin(held, slot, self._executor.resume(held, slot, survivor))
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
        return not (self._attempts or self.ledger.backlog) and self.pump.clear

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
        self._fill()

    def reserve(self, slots: int) -> None:
        """Leave so many slots idle: an older pool of the same name still runs as many attempts."""
        self._seats.reserved = slots
        self.pump.look()
        self._fill()

    def pause(self, why: Hold) -> None:
        """Claim nothing more until this is lifted, and give back what has not started."""
        self.pump.holds.add(why)
        self._bundles.stop()
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
            self._bundles.withdraw(held)

    async def drain(self, deadline: float | None) -> None:
        """Claim nothing more, give back what has not started, wait for what runs.

        After ``deadline`` seconds (``None``: never) what still runs is stopped; it is tried again
        elsewhere. Returns when everything is settled.
        """
        self.pause(Hold.ENDING)
        loop = asyncio.get_running_loop()
        timer = None if deadline is None else loop.call_later(deadline, self.hurry)
        while self._attempts:
            await asyncio.wait(self._attempts)
        if timer is not None:
            timer.cancel()
        await self.pump.wait_clear()

    def hurry(self, kind: OutcomeKind = OutcomeKind.INTERRUPTED) -> None:
        """Stop everything that runs, as ``kind``: stop signal, grace, KILL."""
        self._executor.stopping = (kind, Reason.LOST)
        self._bundles.stop()
        for slot in self.busy.values():
            slot.stop(kind=kind, reason=Reason.LOST)

    async def close(self) -> None:
        """End the services and the slots; call after :meth:`drain`."""
        await self._loops.close()
        for task in self._services:
            task.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        self._bundles.close()
        for slot in self._seats:
            await slot.close()
        self._gate.close()

    def _rouse(self) -> None:
        """Let an interpreter wake up and get ready while the claim is looked at."""
        idle = self._seats.idle
        if idle:
            idle[-1].python.rouse()

    def _on_claims(self, reply: ClaimReply) -> None:
        admit = self._gate.admitting()
        for claim in reply.claims:
            if returned(claim, self.ledger, mark=self.pump.mark, settle=self.pump.settle):
                continue
            held = admit(claim)
            if isinstance(held, Settlement):
                self.pump.settle(held)
            elif self.pump.claiming:
                self.ledger.backlog.append(held)
            else:
                self.pump.release(claim.id, claim.epoch)
        self._fill()

    def _fill(self) -> None:
        while self._seats.free and self.ledger.backlog:
            job = runner.find_job(self.config, self.ledger.backlog[0].request)
            runs = bundle.together(
                self.ledger.backlog,
                job,
                pace=self._pace,
                slots=self.ledger.slots,
                room=self._seats.next.room,
            )
            if job is not None and runs:
                self._begin_bundle(runs, job)
                continue
            held = self.ledger.backlog.popleft()
            slot = self._seats.take(held.claim.id)
            self._begin(held, slot, self._executor.execute(held, slot))

    def _begin_bundle(self, runs: list[Held], job: JobDef) -> None:
        """Hand one run or several to one slot."""
        self.ledger.running.update((held.claim.id, held) for held in runs)
        slot = self._seats.take_for_many()
        attempts = self._bundles.begin(runs, slot, job)
        self._watch(asyncio.create_task(self._to_end_of_all(attempts, slot)))

    async def _to_end_of_all(self, attempts: Coroutine[object, object, None], slot: Slot) -> None:
        await attempts
        self._seats.give_up(slot)
        self.pump.freed()  # its runs were settled while it had the slot
        self._fill()

    def on_bundled_ends(self, ends: list[tuple[Held, Outcome]], job: JobDef) -> None:
        """Settle runs of a bundle."""
        for held, outcome in ends:
            run_id = held.claim.id
            if outcome.kind is OutcomeKind.INTERRUPTED and held.counted:
                self._gate.starts.excuse(run_id)
            del self.ledger.running[run_id]
            self._seats.taken.pop(run_id, None)
        self._settle(ends, job)

    def on_bundled_successes(
        self, ends: list[tuple[Held, Answer]], job: JobDef, *, pid: int
    ) -> None:
        """Settle runs that returned at their first attempt, printed nothing, and left no file."""
        stays = runner.stays(job)
        items = []
        for held, answer in ends:
            del self.ledger.running[held.claim.id]
            self.ledger.finished(answer.duration)
            self._pace.took(job.name, answer.duration)
            items.append(
                runner.success(
                    held, answer, job, pid=pid, host=self._host, pool=self._owner, stays=stays
                )
            )
        self.pump.settle(*items)

    def on_bundled_log(self, held: Held, outcome: Outcome, slot: Slot) -> None:
        """Ship what a run of a bundle printed."""
        if self.shipper is not None:
            self.shipper.finish(held.claim.id, held.attempt, slot, outcome)

    def on_bundled_return(self, runs: list[Held], job: JobDef, *, alone: bool) -> None:
        """Let runs of a bundle that have not begun wait again."""
        if alone:
            self._pace.give_up(job.name)
        for held in reversed(runs):
            del self.ledger.running[held.claim.id]
            if held.taken_over:
                continue
            if held.stop_order is None and self.pump.claiming:
                self.ledger.backlog.appendleft(held)
            else:
                self.pump.release(held.claim.id, held.claim.epoch)
        self._fill()

    def on_bundled_start(self, held: Held, slot: Slot) -> None:
        """Know that a run of a bundle has a slot of its own from now on."""
        self._seats.taken[held.claim.id] = slot

    def on_bundled_progress(self, held: Held, progress: str) -> None:
        """Pass on how far a run of a bundle is."""
        held.progress = progress
        self.pump.note(held.claim.id, held.claim.epoch, progress)

    def _begin(self, held: Held, slot: Slot, attempt: Coroutine[object, object, _Ended]) -> None:
        self.ledger.running[held.claim.id] = held
        self._watch(asyncio.create_task(self._to_end(held, slot, attempt)))

    def _watch(self, task: asyncio.Task[None]) -> None:
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        task.add_done_callback(no_silent_death)

    async def _to_end(
        self, held: Held, slot: Slot, attempt: Coroutine[object, object, _Ended]
    ) -> None:
        """Settle an attempt when it has ended, and take the next."""
        job, outcome = await attempt
        run_id = held.claim.id
        held.progress = slot.poll_progress() or held.progress
        if outcome.kind is OutcomeKind.INTERRUPTED:
            self._gate.starts.excuse(run_id)
        if job is not None and self.shipper is not None:
            self.shipper.finish(run_id, held.attempt, slot, outcome)
        del self.ledger.running[run_id]
        self._seats.leave(run_id)
        if outcome.kind is OutcomeKind.NOT_STARTED and outcome.reason is Reason.SPAWN:
            marked = job is not None and job.delivery is Delivery.AT_MOST_ONCE
            if not marked:
                self._wait_for_room(held, outcome.error or "")
                return
        self._settle([(held, outcome)], job or JobDef(name=held.request.job))
        self._fill()

    def _settle(self, ends: list[tuple[Held, Outcome]], job: JobDef) -> None:
        now = self._clock.epoch()
        items = []
        for held, outcome in ends:
            self.ledger.finished(outcome.duration)
            if job.python is not None:
                self._pace.took(job.name, outcome.duration)
            items.append(
                runner.settlement(held, job, outcome, now=now, host=self._host, pool=self._owner)
            )
        self.pump.settle(*items)

    def _wait_for_room(self, held: Held, why: str) -> None:
        """Give back what cannot be started for want of room, and claim nothing for a while."""
        if self.pump.claiming:
            log.warning("%s; nothing is started for %g s", why, SCARCE_PAUSE)
            self.pause(Hold.ROOM)
            asyncio.get_running_loop().call_later(SCARCE_PAUSE, self.resume, Hold.ROOM)
        self.pump.release(held.claim.id, held.claim.epoch)

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
            self._bundles.withdraw(held)
