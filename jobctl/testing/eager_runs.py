"""The runs of eager mode: what a store and a pool would make of them, in this process."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING

from jobctl.client.references import LAST
from jobctl.engine.ending import keeps_result
from jobctl.engine.runner import request_spec
from jobctl.errors import JobctlError, NoSuchRun, UsageError
from jobctl.host import host_zone
from jobctl.model.ids import PREFIX_LEAST
from jobctl.model.run import AttemptRecord, Request, Run, RunState
from jobctl.model.settle import last_words, settle
from jobctl.model.units import format_duration
from jobctl.store.codec import decode_request
from jobctl.store.transitions import Answer
from jobctl.testing.clock import session_starts
from jobctl.testing.eager_link import EagerLink, Once, with_parent
from jobctl.testing.eager_requests import hook_runs, scheduled
from jobctl.testing.function_call import call

if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.plan import Ready
    from jobctl.clock import Clock
    from jobctl.model.job import JobDef
    from jobctl.model.run import Outcome, Parent
    from jobctl.model.settle import Verdict
    from jobctl.testing.clock import FakeClock, Start
    from jobctl.testing.function_call import Called

HOST = "eager"
ENDLESS = 100
"""Attempts after which a run that would be tried for ever counts as stuck."""
STATES = {
    "k": RunState.SUCCEEDED,
    "x": RunState.FAILED,
    "s": RunState.SKIPPED,
    "v": RunState.REVOKED,
    "e": RunState.EXPIRED,
    "d": RunState.RETRYING,
}


class EagerError(JobctlError):
    """Raised when eager mode cannot do what a daemon would; the message says what to do instead."""


class Held:
    """One run and what belongs to it."""

    def __init__(self, run: Run, job: JobDef, session: Session, *, unique: str) -> None:
        self.run = run
        self.job = job
        self.session = session
        self.unique = unique
        self.depth = 0
        """How many runs are above that of a hook."""
        self.due: float | None = run.not_before
        """Epoch seconds of its next attempt; ``None``: at once."""
        self.outputs: list[str] = []
        """What each attempt printed."""
        self.error: BaseException | None = None


class EagerRuns:
    """Every run submitted in eager mode, in order."""

    def __init__(
        self, *, clock: Clock, moved: FakeClock | None, hold: bool, raise_errors: bool
    ) -> None:
        """With ``moved`` (the clock that tests move) what is due later waits for it."""
        self.clock = clock
        self._moved = moved
        self._hold = hold
        self._raise_errors = raise_errors
        self._lock = RLock()
        self._once = Once()
        self._made: Counter[str] = Counter()
        """Runs of each schedule."""
        self.held: dict[str, Held] = {}

    # What the store would do.

    def submit(self, session: Session, ready: Ready, parent: Parent | None = None) -> Answer:
        """Accept a run, and make its attempts unless it waits for something."""
        job = ready.plan.job
        if job.python is None:
            raise EagerError(
                f"job {job.name} is a command, and eager mode calls only Python functions; "
                "use PrivateDaemon for it",
                job=job.name,
            )
        with self._lock:
            known = self.held.get(ready.id)
            if known is not None and known.run.job != job.name:
                return Answer("other", known.run.job)
            if known is not None:
                return Answer("dup", known.run.letter)
            for other in self.held.values():
                if ready.unique and other.unique == ready.unique and not other.run.state.final:
                    return Answer("unique", other.run.id)
            held = self._accept(session, ready, parent)
        self._make_attempts(held)
        if self._raise_errors and held.error is not None and held.run.state is RunState.FAILED:
            raise held.error
        return Answer("ok")

    def _accept(self, session: Session, ready: Ready, parent: Parent | None) -> Held:
        template = ready.plan.template
        asked = template.request
        request = decode_request(
            run_id=ready.id,
            job=ready.job,
            queue=asked.queue,
            priority=str(asked.priority),
            max_attempts=str(asked.max_attempts),
            envelope=ready.envelope,
        )
        now = self.clock.epoch()
        due = template.start_at if template.start_in is None else now + template.start_in
        later = self._moved is not None and due is not None and due > now
        run = Run(
            request=with_parent(request, parent),
            state=RunState.SCHEDULED if later else RunState.QUEUED,
            letter="d" if later else "q",
            submitted_at=now,
            not_before=due,
            expires_at=None if template.expires_in is None else now + template.expires_in,
        )
        held = Held(run, ready.plan.job, session, unique=ready.unique)
        if not later:
            held.due = None
        self.held[ready.id] = held
        return held

    def find(self, run_id: str) -> Held:
        """Return a run by its whole id; raises ``NoSuchRun``."""
        held = self.held.get(run_id)
        if held is None:
            raise NoSuchRun(
                f"no run {run_id}: it was not submitted in this eager mode", ids=[run_id]
            )
        return held

    def resolve(self, word: str) -> str:
        """Return the id of a run by its id, the beginning of one, its job's name, or ``@last``."""
        if word in self.held:
            return word
        ids = list(self.held)
        found = [one for one in ids if word == LAST or self.held[one].run.job == word][-1:]
        if not found and len(word) >= PREFIX_LEAST:
            found = [one for one in ids if one.startswith(word)]
        if len(found) > 1:
            raise UsageError(f"{word} is the beginning of {len(found)} runs; write more of it")
        if not found:
            raise NoSuchRun(f"no job or run {word!r} was submitted in this eager mode")
        return found[0]

    def revoke(self, run_id: str) -> bool:
        """End a run that waits; return whether there was anything left to end."""
        with self._lock:
            held = self.find(run_id)
            if held.run.state.final:
                return False
            held.due = None  # or the clock would wake it
            self._finish(held, "v", reason="user")
            return True

    # What a pool would do.

    def run_pending(self) -> list[Run]:
        """Make the attempts of what is held and due, and of what that submits; return those runs."""
        self._hold, before = False, self._hold
        done = []
        try:
            while waiting := [one for one in self.held.values() if one.run.letter == "q"]:
                for held in waiting:
                    self._make_attempts(held)
                    done.append(held.run)
        finally:
            self._hold = before
        return done

    def _make_attempts(self, held: Held) -> None:
        """Make attempts until the run is final, or waits for the clock."""
        while not self._hold and not held.run.state.final and held.due is None:
            self._attempt(held)

    def _attempt(self, held: Held) -> None:
        run, job = held.run, held.job
        now = self.clock.epoch()
        if run.expires_at is not None and run.attempt == 0 and now > run.expires_at:
            self._finish(held, "e", reason="deadline")
            self._call_hooks(held)
            return
        number = run.attempt + 1
        first = run.attempts[0].started_at if run.attempts else None
        spec = request_spec(
            run.request,
            job,
            held.session.settings,
            number=number,
            first_started_at=first,
            owner=HOST,
            timezone=held.session.settings.timezone or host_zone(),
            now=now,
        )
        held.run = dataclasses.replace(
            run, state=RunState.RUNNING, letter="r", attempt=number, started_at=now, host=HOST
        )
        link = EagerLink(
            held.session, run.request, attempt=number, once=self._once, submit=self.submit
        )
        called = call(spec, clock=self.clock, link=link)
        called.progress = link.reported or called.progress
        verdict = settle(
            job,
            called.outcome,
            attempt=number,
            max_attempts=run.request.max_attempts,
            elapsed=self.clock.epoch() - (first or now),
            draw=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        self._settle(held, called, verdict)

    def _settle(self, held: Held, called: Called, verdict: Verdict) -> None:
        outcome, letter = called.outcome, verdict.letter
        held.outputs.append(called.output)
        held.error = called.error
        again = letter == "d"
        keeps = keeps_result(held.job, succeeded=letter == "k")
        held.run = dataclasses.replace(
            held.run,
            exit_code=outcome.exit_code,
            duration=outcome.duration,
            pid=outcome.pid,
            error=last_words(outcome, verdict),
            result=outcome.result if keeps else None,
            progress=called.progress or held.run.progress,
            attempts=(*held.run.attempts, _record(outcome, held.run.attempt)),
        )
        held.due = None
        self._finish(held, letter, reason=verdict.reason)
        if again and self._moved is not None and verdict.delay > 0:
            held.due = self.clock.epoch() + verdict.delay
            held.run = dataclasses.replace(held.run, not_before=held.due)
        self._call_hooks(held)
        endless = held.run.request.max_attempts < 0
        if again and held.due is None and endless and held.run.attempt >= ENDLESS:
            raise EagerError(
                f"run {held.run.id} of {held.job.name} has failed {ENDLESS} times and is tried again"
                " without end (retries = -1), with nothing to wait for in between; submit it with"
                " _retries, or use eager(clock=…), where the time between attempts passes only when"
                f" you move it. The last failure: {held.run.error}"
            )

    def _finish(self, held: Held, letter: str, *, reason: str) -> None:
        held.run = dataclasses.replace(
            held.run,
            state=STATES[letter],
            letter=letter,
            reason=reason or None,
            finished_at=None if letter == "d" else self.clock.epoch(),
        )

    def _call_hooks(self, held: Held) -> None:
        """Make the runs that the end of a run, or of an attempt, asks for."""
        found = hook_runs(
            held.run,
            held.job,
            session=held.session,
            depth=held.depth,
            number=len(held.run.attempts),
            now=self.clock.epoch(),
        )
        for new in found:
            job = held.session.job(new.request.job)
            made = self._queued(new.request, job, held.session)
            made.depth = held.depth + 1
            self._make_attempts(made)

    def _queued(self, request: Request, job: JobDef, session: Session) -> Held:
        """Accept a run that nobody submitted."""
        run = Run(
            request=request,
            state=RunState.QUEUED,
            letter="q",
            submitted_at=self.clock.epoch(),
            not_before=None,
        )
        held = self.held[request.id] = Held(run, job, session, unique="")
        return held

    # What a scheduler would do.

    def pass_by(self, target: datetime, *, schedules: Session | None) -> None:
        """Make what is due until ``target``, each at its own time, in order."""
        clock = self._moved
        if clock is None:
            return
        starts: list[Start] = []
        if schedules is not None:
            starts = session_starts(
                schedules, clock.now(), target, anchor=clock.start, made=self._made
            )
        while True:
            waiting = [one for one in self.held.values() if one.due is not None]
            first = min(waiting, key=lambda one: one.due or 0.0, default=None)
            delayed = None if first is None else datetime.fromtimestamp(first.due or 0.0, UTC)
            start = starts[0].at.astimezone(UTC) if starts else None
            if delayed is not None and delayed <= target and (start is None or delayed <= start):
                clock.show(delayed)
                self._wake(first)
            elif start is not None and schedules is not None:
                clock.show(start)
                self._tick(schedules, starts.pop(0))
            else:
                return

    def _wake(self, held: Held | None) -> None:
        if held is not None:
            held.due = None
            held.run = dataclasses.replace(held.run, state=RunState.QUEUED, letter="q")
            self._make_attempts(held)

    def _tick(self, session: Session, start: Start) -> None:
        """Make the run of a scheduled instant; commands are left out."""
        job = session.job(start.job)
        if job.python is None:
            return
        request = scheduled(job, start, namespace=session.keys.namespace)
        self._make_attempts(self._queued(request, job, session))

    def stuck(self, held: Held) -> str:
        """Return why a run has not ended, and what would have it end."""
        if held.due is not None:
            left = timedelta(seconds=held.due - self.clock.epoch()).total_seconds()
            return f"it is due in {format_duration(max(left, 0.001))}; advance the clock"
        return "it is held; call run_pending()"


def _record(outcome: Outcome, number: int) -> AttemptRecord:
    return AttemptRecord(
        number=number,
        outcome=outcome.kind.value,
        reason=None if outcome.reason is None else outcome.reason.value,
        exit_code=outcome.exit_code,
        signal=None,
        error=outcome.error,
        host=HOST,
        pid=outcome.pid,
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        duration=outcome.duration,
        usage=outcome.usage,
        log_bytes=0,
        log_truncated=False,
        traceback=outcome.traceback,
    )
