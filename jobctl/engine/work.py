"""What a pool makes of its claims: attempts in its slots, alone or in bundles, and their settlements."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.engine import bundle, recovery, runner
from jobctl.engine.bundles import Bundles
from jobctl.engine.loops import no_silent_death
from jobctl.engine.pace import Pace
from jobctl.engine.returned import returned
from jobctl.model.job import Delivery, JobDef
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobctl.clock import Clock
    from jobctl.engine.bundle_answer import Answer
    from jobctl.engine.bundle_recovery import Answered
    from jobctl.engine.executor import Executor
    from jobctl.engine.gate import Gate
    from jobctl.engine.ledger import Held, Ledger
    from jobctl.engine.pump import Pump
    from jobctl.engine.seats import Seats
    from jobctl.engine.shipper import Shipper
    from jobctl.engine.slot import Slot
    from jobctl.engine.survivors import Survivor
    from jobctl.store.transitions import ClaimReply

    _Ended = tuple[JobDef | None, Outcome]


log = logging.getLogger(__name__)


class Work:
    """Everything that is under way in the slots of one pool.

    ``on_scarce`` is told why an attempt could not be started for want of processes, memory or
    descriptors; its run has been given back.
    """

    def __init__(  # noqa: PLR0913 - assembled in one place, the pool
        self,
        *,
        pump: Pump,
        ledger: Ledger,
        seats: Seats,
        gate: Gate,
        executor: Executor,
        owner: str,
        host: str,
        clock: Clock,
        on_scarce: Callable[[str], None],
    ) -> None:
        self.shipper: Shipper | None = None
        """Set when the store is shared with other hosts."""
        self.attempts: set[asyncio.Task[None]] = set()
        self._pump = pump
        self._ledger = ledger
        self._seats = seats
        self._gate = gate
        self._executor = executor
        self._owner = owner
        self._host = host
        self._clock = clock
        self._on_scarce = on_scarce
        self._pace = Pace()
        self.bundles = Bundles(self, executor, clock=clock)

    def adopt(self, found: list[Survivor], answered: Sequence[Answered]) -> None:
        """Go on with what a dead process of this pool began; ``answered`` has ended in bundles."""
        for one in answered:
            held = recovery.held(one.started, now=self._clock.monotonic())
            definition = runner.find_job(self._executor.config, held.request)
            job = recovery.definition(definition, one.started)
            self._ledger.running[held.claim.id] = held
            self.bundles.adopt(held, job, self._seats.at(one.started.slot), one)
        for survivor in found:
            held = recovery.held(survivor.started, now=self._clock.monotonic())
            slot = self._seats.take_back(held.claim.id, survivor.started.slot)
            self._begin(held, slot, self._executor.resume(held, slot, survivor))

    def take_in(self, reply: ClaimReply) -> None:
        """Begin what was claimed, as far as it is genuine and there is room."""
        admit = self._gate.admitting()
        waiting = {held.claim.id: held for held in self._ledger.backlog}
        for claim in reply.claims:
            if claim.id in waiting:
                log.warning(
                    "run %s: the store has lost that it was claimed; it waits here", claim.id
                )
                self._ledger.backlog.remove(waiting.pop(claim.id))
            if returned(claim, self._ledger, mark=self._pump.mark, settle=self._pump.settle):
                continue
            held = admit(claim)
            if isinstance(held, Settlement):
                self._pump.settle(held)
            elif self._pump.claiming:
                self._ledger.backlog.append(held)
            else:
                self._pump.release(claim.id, claim.epoch)
        self.fill()

    def fill(self) -> None:
        """Begin what waits, as far as there is room."""
        while self._seats.free and self._ledger.backlog:
            job = runner.find_job(self._executor.config, self._ledger.backlog[0].request)
            runs = bundle.together(
                self._ledger.backlog,
                job,
                pace=self._pace,
                slots=self._ledger.slots,
                room=self._seats.next.room,
            )
            if job is not None and runs:
                self._begin_bundle(runs, job)
                continue
            held = self._ledger.backlog.popleft()
            slot = self._seats.take(held.claim.id)
            self._begin(held, slot, self._executor.execute(held, slot))

    def _begin_bundle(self, runs: list[Held], job: JobDef) -> None:
        """Hand one run or several to one slot."""
        self._ledger.running.update((held.claim.id, held) for held in runs)
        slot = self._seats.take_for_many()
        attempts = self.bundles.begin(runs, slot, job)
        self._watch(asyncio.create_task(self._to_end_of_all(attempts, slot)))

    async def _to_end_of_all(self, attempts: Coroutine[object, object, None], slot: Slot) -> None:
        await attempts
        self._seats.give_up(slot)
        self._pump.freed()  # its runs were settled while it had the slot
        self.fill()

    def on_bundled_ends(self, ends: list[tuple[Held, Outcome]], job: JobDef) -> None:
        """Settle runs of a bundle."""
        for held, outcome in ends:
            run_id = held.claim.id
            if outcome.kind is OutcomeKind.INTERRUPTED and held.counted:
                self._gate.starts.excuse(run_id)
            del self._ledger.running[run_id]
            self._seats.taken.pop(run_id, None)
            self._ledger.finished(outcome.duration)
        self._settle(ends, job)

    def on_bundled_successes(
        self, ends: list[tuple[Held, Answer]], job: JobDef, *, pid: int
    ) -> None:
        """Settle runs that returned at their first attempt, printed nothing, and left no file."""
        stays = runner.stays(job)
        items = []
        for held, answer in ends:
            del self._ledger.running[held.claim.id]
            self._ledger.finished(answer.duration)
            self._pace.took(job.name, answer.duration)
            items.append(
                runner.success(
                    held, answer, job, pid=pid, host=self._host, pool=self._owner, stays=stays
                )
            )
        self._pump.settle(*items)

    def on_bundled_log(self, held: Held, outcome: Outcome, slot: Slot) -> None:
        """Ship what a run of a bundle printed."""
        if self.shipper is not None:
            self.shipper.finish(held.claim.id, held.attempt, slot, outcome)

    def on_bundled_return(self, runs: list[Held], job: JobDef, *, alone: bool) -> None:
        """Let runs of a bundle that have not begun wait again."""
        if alone:
            self._pace.give_up(job.name)
        for held in reversed(runs):
            del self._ledger.running[held.claim.id]
            if held.taken_over:
                continue
            if held.stop_order is None and self._pump.claiming:
                self._ledger.backlog.appendleft(held)
            else:
                self._pump.release(held.claim.id, held.claim.epoch)
        self.fill()

    def on_bundled_start(self, held: Held, slot: Slot) -> None:
        """Know that a run of a bundle has a slot of its own from now on."""
        self._seats.taken[held.claim.id] = slot

    def on_bundled_progress(self, held: Held, progress: str) -> None:
        """Pass on how far a run of a bundle is."""
        self._pump.note(held, progress)

    def _begin(self, held: Held, slot: Slot, attempt: Coroutine[object, object, _Ended]) -> None:
        self._ledger.running[held.claim.id] = held
        self._watch(asyncio.create_task(self._to_end(held, slot, attempt)))

    def _watch(self, task: asyncio.Task[None]) -> None:
        self.attempts.add(task)
        task.add_done_callback(self.attempts.discard)
        task.add_done_callback(no_silent_death)

    async def _to_end(
        self, held: Held, slot: Slot, attempt: Coroutine[object, object, _Ended]
    ) -> None:
        """Settle an attempt when it has ended, and take the next."""
        begun = self._clock.monotonic()
        job, outcome = await attempt
        run_id = held.claim.id
        held.progress = slot.poll_progress() or held.progress
        if outcome.kind is OutcomeKind.INTERRUPTED:
            self._gate.starts.excuse(run_id)
        if job is not None and self.shipper is not None:
            self.shipper.finish(run_id, held.attempt, slot, outcome)
        del self._ledger.running[run_id]
        self._seats.leave(run_id)
        if outcome.kind is OutcomeKind.NOT_STARTED and outcome.reason is Reason.SPAWN:
            marked = job is not None and job.delivery is Delivery.AT_MOST_ONCE
            if not marked:
                self._pump.release(held.claim.id, held.claim.epoch)
                self._on_scarce(outcome.error or "")
                return
        # Not how long its function took: in an interpreter that slots share it also waits for others.
        self._ledger.finished(self._clock.monotonic() - begun)
        self._settle([(held, outcome)], job or JobDef(name=held.request.job))
        self.fill()

    def _settle(self, ends: list[tuple[Held, Outcome]], job: JobDef) -> None:
        now = self._clock.epoch()
        items = []
        for held, outcome in ends:
            if job.python is not None:
                self._pace.took(job.name, outcome.duration)
            items.append(
                runner.settlement(held, job, outcome, now=now, host=self._host, pool=self._owner)
            )
        self._pump.settle(*items)
