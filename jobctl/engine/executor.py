"""Sees one claimed run through one attempt in a slot, with everything that has to know of it.

The journal first of all, then the store, then the lease of a job that must not run twice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.engine import recovery, runner, survivors
from jobctl.engine.host_journal import COMMAND, PYTHON
from jobctl.errors import JobctlError
from jobctl.model.job import Delivery
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.store import transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.batch import Mark
    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.lease import Lease
    from jobctl.engine.ledger import Held
    from jobctl.engine.slot import Slot
    from jobctl.engine.starts import Starts
    from jobctl.engine.survivors import Survivor
    from jobctl.engine.warm_python import Warm
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

CUT_OFF = (
    "it was killed because this host had shown no life, so that it would not run on two at once"
)

MARK_AFTER = 0.02
"""Seconds an attempt runs before its start mark is sent on its own; shorter ones are settled only."""


class Executor:
    """Makes the attempts of one pool.

    ``number`` tells the place of a slot in the pool, ``mark`` queues a start mark for the store.
    ``config`` may be replaced at any time: the next attempt follows it.
    """

    def __init__(  # noqa: PLR0913 - assembled in one place, the pool
        self,
        config: Config,
        *,
        owner: str,
        timezone: str,
        store: AsyncStore,
        keys: Keys,
        journal: HostJournal,
        lease: Lease,
        number: Callable[[Slot], int],
        mark: Callable[[Mark], None],
        starts: Starts,
        clock: Clock,
    ) -> None:
        self.config = config
        self.stopping: tuple[OutcomeKind, Reason] | None = None
        """As what everything ends that starts now; ``None`` while the pool goes on."""
        self._owner = owner
        self._timezone = timezone
        self._store = store
        self._keys = keys
        self._journal = journal
        self._lease = lease
        self._number = number
        self._mark = mark
        self._starts = starts
        self._clock = clock

    async def execute(self, held: Held, slot: Slot) -> tuple[JobDef | None, Outcome]:
        """Make an attempt; return the definition it followed, if this host has one, and its end."""
        job = runner.find_job(self.config, held.request)
        if job is None:
            return None, runner.not_runnable(self.config, held.request)
        return job, await self._execute(held, slot, job)

    async def resume(
        self, held: Held, slot: Slot, survivor: Survivor
    ) -> tuple[JobDef | None, Outcome]:
        """See an attempt to its end that a dead process of this pool started."""
        started = survivor.started
        job = recovery.definition(runner.find_job(self.config, held.request), started)
        spec = self._spec(held, slot, job, now=started.started_at)
        log.info("run %s: taking over attempt %d (pid %d)", held.claim.id, held.attempt, held.pid)
        self._mark(held.mark())

        def on_start() -> None:
            if job.strict_single:
                self._lease.begin(held.claim.id, held.pid)
            self._catch_up(held, slot)

        try:
            return job, self._blamed(
                held, job, await slot.resume(spec, survivor, on_start=on_start)
            )
        finally:
            self._lease.end(held.claim.id)

    def spec(self, held: Held, slot: Slot, job: JobDef) -> AttemptSpec:
        """Return what an attempt that begins now needs to know."""
        return self._spec(held, slot, job, now=self._clock.epoch())

    def bundle_begins(self, runs: list[Held], slot: Slot, warm: Warm, *, number: int) -> None:
        """Note that a child may begin several runs from now on, one after the other."""
        self._journal.bundle(
            runs, slot=self._number(slot), pid=warm.child.pid, born=warm.born, number=number
        )

    def bundled_run_shows(self, held: Held, *, pid: int, gone: float) -> None:
        """Have the store know that a run of a bundle began ``gone`` seconds ago."""
        started_at = self._clock.epoch() - gone
        self._mark((held.claim.id, held.claim.epoch, held.attempt, started_at, pid))

    async def go_on(self, held: Held, slot: Slot, job: JobDef, begun: Begun) -> Outcome:
        """See a run of a bundle to its end that takes longer than was expected."""
        self._journal.starting(held, slot=self._number(slot), kind=PYTHON)

        def on_start(pid: int, started_at: float) -> None:
            held.pid, held.started_at = pid, started_at
            self._journal.started(held, born=slot.born)
            self._count(held)
            self._mark(held.mark())
            self._catch_up(held, slot)

        return await slot.go_on(self.spec(held, slot, job), begun, on_start=on_start)

    async def _execute(self, held: Held, slot: Slot, job: JobDef) -> Outcome:
        spec = self._spec(held, slot, job, now=self._clock.epoch())
        if job.delivery is Delivery.AT_MOST_ONCE and not await self._mark_first(held):
            return Outcome(kind=OutcomeKind.NOT_STARTED, reason=Reason.USER, fatal=True)
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def on_launch() -> None:
            kind = COMMAND if job.python is None else PYTHON
            self._journal.starting(held, slot=self._number(slot), kind=kind)

        def on_start(pid: int, started_at: float) -> None:
            nonlocal timer
            held.pid, held.started_at = pid, started_at
            self._journal.started(held, born=slot.born)
            self._count(held)
            if job.strict_single:
                self._lease.begin(held.claim.id, pid)
            timer = loop.call_later(MARK_AFTER, lambda: self._mark(held.mark()))
            self._catch_up(held, slot)

        def on_move(pid: int) -> None:
            held.pid = pid
            on_launch()
            self._journal.started(held, born=slot.born)

        try:
            outcome = await slot.execute(
                spec, on_launch=on_launch, on_start=on_start, on_move=on_move
            )
            return self._blamed(held, job, outcome)
        finally:
            if timer is not None:
                timer.cancel()
            self._lease.end(held.claim.id)

    def _count(self, held: Held) -> None:
        if held.signed is not None:
            self._starts.began((held.claim.id, held.signed, held.last_start))
            held.counted = True

    def _blamed(self, held: Held, job: JobDef, outcome: Outcome) -> Outcome:
        """Return how an attempt ended, were it not for a keeper that killed it for the lease."""
        killed = outcome.kind is OutcomeKind.FAILED and outcome.signal == signal.SIGKILL
        if not (killed and job.strict_single and self._lease.took(held.pid)):
            return outcome
        log.error("run %s was killed: this host was cut off, others may start it", held.claim.id)
        return replace(outcome, kind=OutcomeKind.LOST, reason=Reason.LOST, error=CUT_OFF)

    def _spec(self, held: Held, slot: Slot, job: JobDef, *, now: float) -> AttemptSpec:
        return runner.attempt_spec(
            held,
            job,
            self.config.settings,
            mark=survivors.mark(self._owner, slot=self._number(slot), epoch=held.claim.epoch),
            timezone=self._timezone,
            now=now,
        )

    def _catch_up(self, held: Held, slot: Slot) -> None:
        """Carry out the orders that came before the attempt could be stopped."""
        if held.taken_over:
            slot.stop(kind=OutcomeKind.LOST, reason=Reason.LOST, grace=0.0)
        elif held.stop_order is not None:
            runner.carry_out(held.stop_order, slot)
        elif self.stopping is not None:
            slot.stop(kind=self.stopping[0], reason=self.stopping[1])

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
