"""The bundles of a pool that are under way: what becomes of each of their runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from jobctl.engine.adopted import UNSEEN
from jobctl.engine.bundle_answer import Answer
from jobctl.engine.bundle_leader import BundleLeader
from jobctl.engine.ending import Ending, Finding, judge_reply, outcome_of
from jobctl.engine.exchange import progress_json
from jobctl.engine.python_wire import MALFORMED
from jobctl.engine.spawn import SpawnError
from jobctl.model.run import Outcome, OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from jobctl.clock import Clock
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.bundle_recovery import Answered
    from jobctl.engine.executor import Executor
    from jobctl.engine.leader import Setting
    from jobctl.engine.ledger import Held
    from jobctl.engine.slot import Slot
    from jobctl.engine.warm_python import Warm
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef

log = logging.getLogger(__name__)

LOOK_EVERY = 0.01
"""Seconds between two looks whether a run of a bundle takes long."""
_SUCCEEDED = Finding(OutcomeKind.SUCCEEDED)


class Account(Protocol):
    """Who is told how runs of bundles end; the pool."""

    def on_bundled_ends(self, ends: list[tuple[Held, Outcome]], job: JobDef) -> None:
        """Settle runs."""

    def on_bundled_successes(
        self, ends: list[tuple[Held, Answer]], job: JobDef, *, pid: int
    ) -> None:
        """Settle runs that returned at their first attempt, printed nothing, and left no file."""

    def on_bundled_log(self, held: Held, outcome: Outcome, slot: Slot) -> None:
        """Pass on what a run printed: the slot has it until the next."""

    def on_bundled_return(self, runs: list[Held], job: JobDef, *, alone: bool) -> None:
        """Let runs that have not begun wait again; with ``alone`` they had better not travel."""

    def on_bundled_start(self, held: Held, slot: Slot) -> None:
        """Know that a run has a slot of its own from now on, until it ends."""

    def on_bundled_progress(self, held: Held, progress: str) -> None:
        """Pass on how far a run is."""


class Bundles:
    """Leads bundles, and knows where each of their runs is."""

    def __init__(self, account: Account, executor: Executor, *, clock: Clock) -> None:
        self._account = account
        self._executor = executor
        self._clock = clock
        self._leaders: dict[BundleLeader, list[Held]] = {}
        self._look: asyncio.TimerHandle | None = None
        self._settings: dict[Slot, tuple[JobDef, Config, Setting]] = {}
        """By slot: the job that it had last, by which configuration, and what its bundles need."""

    def begin(self, runs: list[Held], slot: Slot, job: JobDef) -> Coroutine[object, object, None]:
        """Begin several runs of a job in one slot, at once if its interpreter waits for them.

        What is returned sees them to their ends: none is left when it returns.
        """
        account = _Runs(self._account, self._executor, slot=slot, job=job)
        try:
            setting = self._setting(account, runs[0])
        except SpawnError:
            return account.refuse(runs)
        leader = BundleLeader(
            runs,
            python=slot.python,
            setting=setting,
            processes=slot.processes,
            clock=self._clock,
            owner=account,
        )
        self._leaders[leader] = runs
        leader.begin()
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._looks)
        return self._lead(leader)

    async def _lead(self, leader: BundleLeader) -> None:
        try:
            await leader.lead()
        finally:
            del self._leaders[leader]

    def _setting(self, account: _Runs, held: Held) -> Setting:
        """Return what bundles of a job are started with in a slot; raises SpawnError."""
        config = self._executor.config
        known = self._settings.get(account.slot)
        if known is not None and known[0] is account.job and known[1] is config:
            return known[2]
        setting = account.slot.setting(account.spec(held))
        self._settings[account.slot] = (account.job, config, setting)
        return setting

    def adopt(self, held: Held, job: JobDef, slot: Slot, found: Answered) -> None:
        """Take the answer to a run that a dead process of this pool had begun."""
        runs = _Runs(self._account, self._executor, slot=slot, job=job)
        try:
            answer = Answer.of(found.answer, placed=found.placed)
        except MALFORMED as error:
            log.warning("run %s: its answer cannot be read: %r", held.claim.id, error)
            runs.on_silence(held)
        else:
            runs.on_answer(held, answer, pid=found.started.pid)
            runs.on_answers_taken()

    def withdraw(self, held: Held) -> None:
        """Let a run not begin, or give it a slot of its own if it has begun."""
        for leader, runs in self._leaders.items():
            if held in runs:
                leader.withdraw(held)
                return

    def stop(self) -> None:
        """Let nothing more begin; what is under way goes on."""
        for leader in list(self._leaders):
            leader.stop()

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()

    def _looks(self) -> None:
        self._look = None
        now = self._clock.monotonic()
        for leader in list(self._leaders):
            leader.look(now)
        if not all(leader.alone for leader in self._leaders):
            self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._looks)


class _Runs:
    """The owner of the runs of one bundle."""

    def __init__(self, account: Account, executor: Executor, *, slot: Slot, job: JobDef) -> None:
        self._account = account
        self._executor = executor
        self.slot = slot
        self.job = job
        self._plain = 0 not in job.skip_codes
        self._alone = False
        self._ended: list[tuple[Held, Outcome]] = []
        self._succeeded: list[tuple[Held, Answer]] = []
        self._pid = 0

    def spec(self, held: Held) -> AttemptSpec:
        return self._executor.spec(held, self.slot, self.job)

    def on_begin(self, runs: list[Held], warm: Warm, number: int) -> None:
        self._pid = warm.child.pid
        self._executor.bundle_begins(runs, self.slot, warm, number=number)

    def on_answer(self, held: Held, answer: Answer, *, pid: int) -> None:
        if answer.returned and self._plain:
            if not (answer.log_bytes or answer.files or held.progress) and held.attempt == 1:
                self._succeeded.append((held, answer))
                self._pid = pid
                return
            ending = Ending(_SUCCEEDED, 0, result=answer.result)
        else:
            ending = judge_reply(self.job, answer.reply, stopped=None)
        size, truncated = answer.log_bytes, False
        if answer.files or (size and self._needs_us(answer)):
            ending, size, truncated = self.slot.collect(self.spec(held), ending, silent=not size)
            progress = self.slot.poll_progress()
            if progress is not None:
                self._account.on_bundled_progress(held, progress)
        outcome = outcome_of(
            ending,
            pid=pid,
            started_at=answer.started_at,
            duration=answer.duration,
            usage=answer.usage,
            log_bytes=size,
            log_truncated=truncated,
        )
        self._end(held, outcome)

    def on_answers_taken(self) -> None:
        if self._succeeded:
            succeeded, self._succeeded = self._succeeded, []
            self._account.on_bundled_successes(succeeded, self.job, pid=self._pid)
        if self._ended:
            ended, self._ended = self._ended, []
            self._account.on_bundled_ends(ended, self.job)

    def _end(self, held: Held, outcome: Outcome) -> None:
        if outcome.log_bytes:
            self._account.on_bundled_log(held, outcome, self.slot)
        self._ended.append((held, outcome))

    def on_return(self, runs: list[Held], *, alone: bool) -> None:
        self._account.on_bundled_return(runs, self.job, alone=alone)

    async def refuse(self, runs: list[Held]) -> None:
        """Give back what cannot travel: alone, the next one fails with what there is to say about it."""
        self.on_return(runs, alone=True)

    def on_silence(self, held: Held) -> None:
        outcome = Outcome(kind=OutcomeKind.LOST, reason=Reason.LOST, error=UNSEEN)
        self._end(held, outcome)
        self.on_answers_taken()

    def on_leftovers(self) -> None:
        self.slot.discard_output()

    def on_progress(self, held: Held, percent: float, message: str, *, gone: float) -> None:
        if self._alone:
            self.slot.on_progress(percent, message)
        else:
            # Whoever sees how far it is sees of which attempt: one that runs.
            self._executor.bundled_run_shows(held, pid=self._pid, gone=gone)
            self._account.on_bundled_progress(held, progress_json(percent, message))

    async def go_on(self, held: Held, call: Begun) -> None:
        self._alone = True
        self._account.on_bundled_start(held, self.slot)
        outcome = await self._executor.go_on(held, self.slot, self.job, call)
        held.progress = self.slot.poll_progress() or held.progress
        self._end(held, outcome)
        self.on_answers_taken()

    def _needs_us(self, answer: Answer) -> bool:
        """Return whether the output of a run is still to be named, cut or shipped."""
        settings, most = self._executor.config.settings, self.job.max_output
        return (
            not answer.placed
            or settings.redis is not None
            or answer.log_bytes > (settings.max_output if most is None else most)
        )
