"""A pool process: claims runs in batches, runs attempts in its slots, settles in batches.

It is a process of its own so that the supervisor's heartbeat never waits for work, and so that a
crash here takes nobody else with it. When the supervisor is gone the pool stops its attempts and
ends: without a heartbeat another host would soon run them again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine import runner
from jobctl.engine.ledger import PATIENCE, Held, Ledger
from jobctl.engine.pump import RECONCILE_EVERY, Pump
from jobctl.engine.tree import TreeTable
from jobctl.errors import JobctlError
from jobctl.model.job import Delivery, JobDef
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.store import queries, transitions
from jobctl.store.codec import BadPayloadError, decode_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.engine.shipper import Shipper
    from jobctl.engine.slot import Slot
    from jobctl.model.config import Config
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Claim, ClaimReply

log = logging.getLogger(__name__)

MARK_AFTER = 0.02
"""Seconds an attempt runs before its start mark is sent on its own; shorter ones are settled only."""
LISTEN = 15.0
"""Longest wait on the doorbells in seconds; also covers a token lost with another waiter."""
WATCH_EVERY = 0.25
SAMPLE_EVERY = 1.0
SCARCE_PAUSE = 5.0
"""Seconds without new starts when there was no room for another process or descriptor."""


class Pool:
    """The work of one pool process.

    ``tidy`` collects orphans that have ended; it is called about once a second.
    ``store`` carries the batches and ``ears`` only waits for doorbells. ``slots`` are its slots;
    ``on_fenced`` is called when the store does not accept this owner any more.
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
        tidy: Callable[[], None],
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
        self._idle = list(reversed(slots))
        self._busy: dict[str, Slot] = {}
        self.shipper: Shipper | None = None
        """Set when the store is shared with other hosts."""
        self._tidy = tidy
        self._clock = clock
        self._ledger = Ledger(slots=len(slots))
        self._store = store
        self._pump = Pump(
            store,
            keys,
            self._ledger,
            supervisor=supervisor,
            owner=owner,
            queues=queues,
            idle=lambda: len(self._idle),
            on_claims=self._on_claims,
            on_stale=self._on_stale,
            on_fenced=self.fenced.set,
        )
        self._attempts: set[asyncio.Task[None]] = set()
        self._services: list[asyncio.Task[None]] = []
        self._slots = slots
        self._draining = False
        self._stopping: tuple[OutcomeKind, Reason] | None = None

    def start(self) -> None:
        """Begin to claim."""
        for work in (self._pump.run(), self._listen(), self._watch()):
            task = asyncio.create_task(work)
            task.add_done_callback(_no_silent_death)
            self._services.append(task)
        self._pump.look()

    @property
    def running(self) -> list[dict[str, object]]:
        """What runs now, for the supervisor's status line."""
        return [
            {"id": held.claim.id, "job": held.request.job, "pid": held.pid}
            for held in self._ledger.running.values()
        ]

    @property
    def unrecorded(self) -> int:
        """Outcomes that the store has not taken yet."""
        return len(self._ledger.unsettled)

    def send(self, call: Call[object]) -> None:
        """Send a call whose loss does no harm."""
        self._pump.send(call)

    def configure(self, config: Config, queues: tuple[str, ...]) -> None:
        """Use new definitions from the next attempt on; running ones keep theirs."""
        self.config = config
        self._pump.queues = queues
        self._ears.drop()
        self._pump.look()

    def resume(self) -> None:
        """Claim again, unless this pool is being drained."""
        if not self._draining:
            self._pump.resume()

    def revoke(self, run_id: str, epoch: int, order: str) -> None:
        """Stop a run this pool holds; ``order`` is ``reason signal grace kill``."""
        held = self._ledger.find(run_id)
        if held is None or held.claim.epoch != epoch:
            return
        held.stop_order = order
        slot = self._busy.get(run_id)
        if slot is not None:
            runner.carry_out(order, slot)
        elif held in self._ledger.backlog:
            self._ledger.backlog.remove(held)
            self._pump.release(run_id, epoch)

    async def drain(self, deadline: float | None) -> None:
        """Claim nothing more, give back what has not started, wait for what runs.

        After ``deadline`` seconds (``None``: never) what still runs is stopped; it is tried again
        elsewhere. Returns when everything is settled.
        """
        self._draining = True
        self._pump.claiming = False
        while self._ledger.backlog:
            held = self._ledger.backlog.pop()
            self._pump.release(held.claim.id, held.claim.epoch)
        loop = asyncio.get_running_loop()
        timer = None if deadline is None else loop.call_later(deadline, self.hurry)
        while self._attempts:
            await asyncio.wait(self._attempts)
        if timer is not None:
            timer.cancel()
        await self._pump.wait_clear()

    def hurry(self, kind: OutcomeKind = OutcomeKind.INTERRUPTED) -> None:
        """Stop everything that runs, as ``kind``: stop signal, grace, KILL."""
        self._stopping = (kind, Reason.LOST)
        for slot in self._busy.values():
            slot.stop(kind=kind, reason=Reason.LOST)

    async def close(self) -> None:
        """End the services and the slots; call after :meth:`drain`."""
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
            if self._pump.claiming:
                self._ledger.backlog.append(held)
            else:
                self._pump.release(claim.id, claim.epoch)
        self._fill()

    def _refuse(self, claim: Claim, error: BadPayloadError) -> None:
        log.error("%s", error)
        fields = ("er", str(error))
        self._pump.settle(
            transitions.Settlement(
                claim.id, claim.epoch, "x", Reason.BAD_PAYLOAD.value, 0.0, fields
            )
        )

    def _fill(self) -> None:
        while self._idle and self._ledger.backlog:
            held = self._ledger.backlog.popleft()
            slot = self._idle.pop()
            self._ledger.running[held.claim.id] = held
            self._busy[held.claim.id] = slot
            task = asyncio.create_task(self._attempt(held, slot))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)
            task.add_done_callback(_no_silent_death)

    async def _attempt(self, held: Held, slot: Slot) -> None:
        run_id = held.claim.id
        job = runner.find_job(self.config, held.request)
        if job is None:
            outcome = runner.not_runnable(self.config, held.request)
        else:
            outcome = await self._execute(held, slot, job)
        if job is not None and self.shipper is not None:
            self.shipper.finish(run_id, held.attempt, slot, outcome)
        del self._ledger.running[run_id]
        del self._busy[run_id]
        self._idle.append(slot)
        if outcome.kind is OutcomeKind.NOT_STARTED and outcome.reason is Reason.SPAWN:
            marked = job is not None and job.delivery is Delivery.AT_MOST_ONCE
            if not marked:
                self._pause(held, outcome.error or "")
                return
        self._ledger.finished(outcome.duration)
        definition = job or JobDef(name=held.request.job)
        self._pump.settle(
            runner.settlement(
                held,
                definition,
                outcome,
                now=self._clock.epoch(),
                host=self._host,
                pool=self._owner,
            )
        )
        self._fill()

    def _pause(self, held: Held, why: str) -> None:
        """Give back what cannot be started for want of room, and claim nothing for a while."""
        if self._pump.claiming:
            log.warning("%s; nothing is started for %g s", why, SCARCE_PAUSE)
            self._pump.claiming = False
            asyncio.get_running_loop().call_later(SCARCE_PAUSE, self.resume)
        for one in (held, *self._ledger.backlog):
            self._pump.release(one.claim.id, one.claim.epoch)
        self._ledger.backlog.clear()

    async def _execute(self, held: Held, slot: Slot, job: JobDef) -> Outcome:
        spec = runner.attempt_spec(
            held,
            job,
            self.config.settings,
            owner=self._owner,
            timezone=self._timezone,
            now=self._clock.epoch(),
        )
        if job.delivery is Delivery.AT_MOST_ONCE and not await self._mark_first(held):
            return Outcome(kind=OutcomeKind.NOT_STARTED, reason=Reason.USER, fatal=True)
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def on_start(pid: int, started_at: float) -> None:
            nonlocal timer
            held.pid, held.started_at = pid, started_at
            timer = loop.call_later(MARK_AFTER, self._mark, held)
            if held.stop_order is not None:
                runner.carry_out(held.stop_order, slot)
            elif self._stopping is not None:
                slot.stop(kind=self._stopping[0], reason=self._stopping[1])

        try:
            return await slot.execute(spec, on_start=on_start)
        finally:
            if timer is not None:
                timer.cancel()

    def _mark(self, held: Held) -> None:
        self._pump.mark((held.claim.id, held.claim.epoch, held.attempt, held.started_at, held.pid))

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

    def _on_stale(self, run_id: str, epoch: int) -> None:
        held = self._ledger.find(run_id)
        slot = self._busy.get(run_id)
        if held is not None and slot is not None and held.claim.epoch == epoch:
            log.error("run %s was taken over by another supervisor; stopping ours", run_id)
            slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)

    async def _listen(self) -> None:
        """Wait for doorbells while there is room and nothing to claim."""
        while True:
            await self._pump.wait_hungry()
            bells = [*self._pump.queues]
            try:
                rung = await self._ears.run(
                    queries.wait_for_bells(self._keys, bells, timeout=LISTEN)
                )
            except JobctlError as error:
                log.debug("doorbell: %s", error)
                await asyncio.sleep(0.5)
                self._pump.look()
                continue
            if rung is None:
                self._pump.look()
            else:
                self._pump.rang()
            await asyncio.sleep(0)

    async def _watch(self) -> None:
        """Look after what runs: samples, progress, shipping; give back what waits too long."""
        sampled = checked = self._clock.monotonic()
        while True:
            await asyncio.sleep(WATCH_EVERY if self._busy or self._ledger.backlog else PATIENCE * 2)
            now = self._clock.monotonic()
            for held in self._ledger.overdue(now):
                self._pump.release(held.claim.id, held.claim.epoch)
            if now - checked >= RECONCILE_EVERY:
                checked = now
                self._pump.check()
            every = now - sampled >= SAMPLE_EVERY
            if every:
                sampled = now
                self._tidy()
            # The first look comes early, so that attempts below a second have a peak too.
            fresh = any(not held.sampled and held.pid for held in self._ledger.running.values())
            table = TreeTable() if fresh or (every and self._busy) else None
            for run_id, slot in list(self._busy.items()):
                self._observe(run_id, slot, table, every=every)

    def _observe(self, run_id: str, slot: Slot, table: TreeTable | None, *, every: bool) -> None:
        held = self._ledger.running[run_id]
        progress = slot.poll_progress()
        if progress is not None:
            self._pump.note(run_id, held.claim.epoch, progress)
        if self.shipper is not None:
            self.shipper.poll(run_id, held.attempt, slot)
        if table is not None and held.pid and (every or not held.sampled):
            held.sampled = True
            slot.sample(table)


def _no_silent_death(task: asyncio.Task[None]) -> None:
    """End the process when one of its loops died of a bug: the supervisor restarts the pool."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("pool: unexpected error", exc_info=error)
        raise SystemExit(70) from error
