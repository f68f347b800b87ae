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

from jobctl.engine import recovery, runner, survivors, unrecorded
from jobctl.engine.host_journal import COMMAND, PYTHON
from jobctl.engine.ledger import Held, Ledger
from jobctl.engine.listener import LISTEN, listen
from jobctl.engine.loops import Loops, Turn
from jobctl.engine.pump import Pump
from jobctl.engine.watchdog import Watchdog
from jobctl.errors import JobctlError
from jobctl.model.job import Delivery, JobDef
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.store import transitions
from jobctl.store.codec import BadPayloadError, decode_request

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from jobctl.clock import Clock
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.batch import Mark
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.journal_content import Content
    from jobctl.engine.lease import Lease
    from jobctl.engine.shipper import Shipper
    from jobctl.engine.slot import Slot
    from jobctl.engine.survivors import Survivor
    from jobctl.engine.watchdog import StuckError
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Claim, ClaimReply, Settlement

log = logging.getLogger(__name__)

MARK_AFTER = 0.02
"""Seconds an attempt runs before its start mark is sent on its own; shorter ones are settled only."""
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
        journal: HostJournal,
        lease: Lease,
        clock: Clock,
    ) -> None:
        self.config = config
        self.fenced = asyncio.Event()
        self._supervisor = supervisor
        self._owner = owner
        self._host = host
        self._timezone = timezone
        self._ears = ears
        self._keys = keys
        self._numbers = {slot: number for number, slot in enumerate(slots)}
        self._size = size
        self._idle = list(reversed(slots[:size]))
        self._reserved = 0
        self.busy: dict[str, Slot] = {}
        """By run id: the slots in which something runs."""
        self.shipper: Shipper | None = None
        """Set when the store is shared with other hosts."""
        self._clock = clock
        self.ledger = Ledger(slots=size)
        self._store = store
        self._journal = journal
        self.lease = lease
        self.pump = Pump(
            store,
            keys,
            self.ledger,
            supervisor=supervisor,
            owner=owner,
            queues=queues,
            journal=journal,
            idle=self._free,
            on_claims=self._on_claims,
            on_stale=self._on_stale,
            on_gone=self._on_gone,
            on_fenced=self.fenced.set,
        )
        self._attempts: set[asyncio.Task[None]] = set()
        self._services: list[asyncio.Task[None]] = []
        self.watchdog = Watchdog(clock=clock, on_stuck=_give_up)
        """Whoever runs the pool lets it look every few seconds."""
        self._loops = Loops(self.watchdog, on_end=_no_silent_death)
        self._slots = slots
        self._stopping: tuple[OutcomeKind, Reason] | None = None
        self._draining = False

    def start(self) -> None:
        """Begin to claim."""
        self._loops.add(
            "pump", self.pump.run, turn=self.pump.turn, longest=SEND, drop=self._drop_store
        )
        turn = Turn()
        self._loops.add(
            "ears",
            lambda: listen(self.pump, self._ears, self._keys, turn=turn),
            turn=turn,
            longest=LISTEN,
            drop=self._ears.drop,
        )
        self.pump.look()

    def care_for(self, work: Coroutine[object, object, None]) -> None:
        """Run one of the pool's loops until :meth:`close`; a bug in it ends the process."""
        task = asyncio.create_task(work)
        task.add_done_callback(_no_silent_death)
        self._services.append(task)

    def adopt(self, content: Content, found: list[Survivor]) -> None:
        """Go on for a dead process of this pool; call before :meth:`start`."""
        slots = {number: slot for slot, number in self._numbers.items()}
        for survivor in found:
            held = recovery.held(survivor.started, now=self._clock.monotonic())
            slot = slots[survivor.started.slot]
            if slot in self._idle:
                self._idle.remove(slot)
            self._begin(held, slot, self._resume(held, slot, survivor))
        self.pump.inherit(content.outcomes)

    @property
    def settled(self) -> bool:
        """True when nothing runs and everything is acknowledged."""
        return not (self._attempts or self.ledger.backlog) and self.pump.clear

    @property
    def running(self) -> list[dict[str, object]]:
        """What runs now, for the supervisor's status line."""
        return [
            {"id": held.claim.id, "job": held.request.job, "pid": held.pid}
            for held in self.ledger.running.values()
        ]

    def reserve(self, slots: int) -> None:
        """Leave so many slots idle: an older pool of the same name still runs as many attempts."""
        self._reserved = slots
        self.pump.look()
        self._fill()

    def pause(self) -> None:
        """Claim nothing more until :meth:`resume`, and give back what has not started."""
        self.pump.claiming = False
        while self.ledger.backlog:
            held = self.ledger.backlog.pop()
            self.pump.release(held.claim.id, held.claim.epoch)

    def resume(self) -> None:
        """Claim again."""
        if self._stopping is None and not self._draining:
            self.pump.claiming = True
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
        self.config = config
        self.pump.queues = queues
        self._ears.drop()
        self.pump.look()

    def revoke(self, run_id: str, epoch: int, order: str) -> None:
        """Stop a run this pool holds; ``order`` is ``reason signal grace kill``."""
        held = self.ledger.find(run_id)
        if held is None or held.claim.epoch != epoch:
            return
        held.stop_order = order
        slot = self.busy.get(run_id)
        if slot is not None:
            runner.carry_out(order, slot)
        elif held in self.ledger.backlog:
            self.ledger.backlog.remove(held)
            self.pump.release(run_id, epoch)

    async def drain(self, deadline: float | None) -> None:
        """Claim nothing more, give back what has not started, wait for what runs.

        After ``deadline`` seconds (``None``: never) what still runs is stopped; it is tried again
        elsewhere. Returns when everything is settled.
        """
        self._draining = True
        self.pause()
        loop = asyncio.get_running_loop()
        timer = None if deadline is None else loop.call_later(deadline, self.hurry)
        while self._attempts:
            await asyncio.wait(self._attempts)
        if timer is not None:
            timer.cancel()
        await self.pump.wait_clear()

    def hurry(self, kind: OutcomeKind = OutcomeKind.INTERRUPTED) -> None:
        """Stop everything that runs, as ``kind``: stop signal, grace, KILL."""
        self._stopping = (kind, Reason.LOST)
        for slot in self.busy.values():
            slot.stop(kind=kind, reason=Reason.LOST)

    async def close(self) -> None:
        """End the services and the slots; call after :meth:`drain`."""
        await self._loops.close()
        for task in self._services:
            task.cancel()
        await asyncio.gather(*self._services, return_exceptions=True)
        for slot in self._slots:
            await slot.close()

    def _on_claims(self, reply: ClaimReply) -> None:
        now = self._clock.monotonic()
        for claim in reply.claims:
            try:
                request = decode_request(
                    run_id=claim.id,
                    job=claim.job,
                    queue=claim.queue,
                    priority=claim.priority,
                    max_attempts=claim.max_attempts,
                    envelope=claim.envelope,
                )
            except BadPayloadError as error:
                self._refuse(claim, error)
                continue
            held = Held(claim=claim, request=request, claimed_at=now, attempt=claim.attempt + 1)
            if self.pump.claiming:
                self.ledger.backlog.append(held)
            else:
                self.pump.release(claim.id, claim.epoch)
        self._fill()

    def _refuse(self, claim: Claim, error: BadPayloadError) -> None:
        log.error("%s", error)
        fields = ("er", str(error))
        self.pump.settle(
            transitions.Settlement(
                claim.id, claim.epoch, "x", Reason.BAD_PAYLOAD.value, 0.0, fields
            )
        )

    def _free(self) -> int:
        return max(0, len(self._idle) - self._reserved)

    def _fill(self) -> None:
        while self._free() and self.ledger.backlog:
            held = self.ledger.backlog.popleft()
            slot = self._idle.pop()
            self._begin(held, slot, self._attempt(held, slot))

    def _begin(self, held: Held, slot: Slot, work: Coroutine[object, object, None]) -> None:
        self.ledger.running[held.claim.id] = held
        self.busy[held.claim.id] = slot
        task = asyncio.create_task(work)
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
        task.add_done_callback(_no_silent_death)

    async def _attempt(self, held: Held, slot: Slot) -> None:
        job = runner.find_job(self.config, held.request)
        if job is None:
            self._end(held, slot, None, runner.not_runnable(self.config, held.request))
        else:
            self._end(held, slot, job, await self._execute(held, slot, job))

    async def _resume(self, held: Held, slot: Slot, survivor: Survivor) -> None:
        """See an attempt to its end that a dead process of this pool started."""
        started = survivor.started
        job = recovery.definition(runner.find_job(self.config, held.request), started)
        spec = self._spec(held, slot, job, now=started.started_at)
        log.info("run %s: going on with attempt %d (pid %d)", held.claim.id, held.attempt, held.pid)
        self.pump.mark(_mark(held))

        def on_start() -> None:
            if job.strict_single:
                self.lease.begin(held.claim.id, held.pid)
            self._catch_up(held, slot)

        self._end(held, slot, job, await slot.resume(spec, survivor, on_start=on_start))

    def _catch_up(self, held: Held, slot: Slot) -> None:
        """Carry out the orders that came before the attempt could be stopped."""
        if held.stop_order is not None:
            runner.carry_out(held.stop_order, slot)
        elif self._stopping is not None:
            slot.stop(kind=self._stopping[0], reason=self._stopping[1])

    def _end(self, held: Held, slot: Slot, job: JobDef | None, outcome: Outcome) -> None:
        """Settle an attempt and take the next."""
        run_id = held.claim.id
        if job is not None and self.shipper is not None:
            self.shipper.finish(run_id, held.attempt, slot, outcome)
        del self.ledger.running[run_id]
        del self.busy[run_id]
        self.lease.end(run_id)
        if self._numbers[slot] < self._size:
            self._idle.append(slot)
        if outcome.kind is OutcomeKind.NOT_STARTED and outcome.reason is Reason.SPAWN:
            marked = job is not None and job.delivery is Delivery.AT_MOST_ONCE
            if not marked:
                self._wait_for_room(held, outcome.error or "")
                return
        self.ledger.finished(outcome.duration)
        self.pump.settle(
            runner.settlement(
                held,
                job or JobDef(name=held.request.job),
                outcome,
                now=self._clock.epoch(),
                host=self._host,
                pool=self._owner,
            )
        )
        self._fill()

    def _wait_for_room(self, held: Held, why: str) -> None:
        """Give back what cannot be started for want of room, and claim nothing for a while."""
        if self.pump.claiming:
            log.warning("%s; nothing is started for %g s", why, SCARCE_PAUSE)
            self.pause()
            asyncio.get_running_loop().call_later(SCARCE_PAUSE, self.resume)
        self.pump.release(held.claim.id, held.claim.epoch)

    def _spec(self, held: Held, slot: Slot, job: JobDef, *, now: float) -> AttemptSpec:
        return runner.attempt_spec(
            held,
            job,
            self.config.settings,
            mark=survivors.mark(self._owner, slot=self._numbers[slot], epoch=held.claim.epoch),
            timezone=self._timezone,
            now=now,
        )

    async def _execute(self, held: Held, slot: Slot, job: JobDef) -> Outcome:
        spec = self._spec(held, slot, job, now=self._clock.epoch())
        if job.delivery is Delivery.AT_MOST_ONCE and not await self._mark_first(held):
            return Outcome(kind=OutcomeKind.NOT_STARTED, reason=Reason.USER, fatal=True)
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def on_launch() -> None:
            kind = COMMAND if job.python is None else PYTHON
            self._journal.starting(held, slot=self._numbers[slot], kind=kind)

        def on_start(pid: int, started_at: float) -> None:
            nonlocal timer
            held.pid, held.started_at = pid, started_at
            self._journal.started(held, born=slot.born)
            if job.strict_single:
                self.lease.begin(held.claim.id, pid)
            timer = loop.call_later(MARK_AFTER, self._mark, held)
            self._catch_up(held, slot)

        try:
            return await slot.execute(spec, on_launch=on_launch, on_start=on_start)
        finally:
            if timer is not None:
                timer.cancel()

    def _mark(self, held: Held) -> None:
        self.pump.mark(_mark(held))

    async def _mark_first(self, held: Held) -> bool:
        """Have the start acknowledged before there is a process (at-most-once)."""
        mark = (held.claim.id, held.claim.epoch, held.attempt, self._clock.epoch(), 0)
        while True:
            try:
                answers = await self._store.run(
                    transitions.start(self._keys, owner=self._owner, marks=[mark])
                )
            except JobctlError as error:
                log.warning(
                    "run %s waits for its start to be acknowledged: %s", held.claim.id, error
                )
                await asyncio.sleep(1.0)
                continue
            return answers[0] == "ok"

    def obey_lease(self) -> None:
        """Kill what must not run when others may soon start it."""
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
        if held is not None and slot is not None and held.claim.epoch == epoch:
            log.error("run %s was taken over by another supervisor; stopping ours", run_id)
            slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)


def _mark(held: Held) -> Mark:
    return held.claim.id, held.claim.epoch, held.attempt, held.started_at, held.pid


def _give_up(error: StuckError) -> None:
    """End the process when one of its loops is stuck: the supervisor restarts the pool."""
    log.critical("pool: %s", error)
    raise SystemExit(70) from error


def _no_silent_death(task: asyncio.Task[None]) -> None:
    """End the process when one of its loops died of a bug: the supervisor restarts the pool."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("pool: unexpected error", exc_info=error)
        raise SystemExit(70) from error
