"""One run here and now: no store and no daemon, but the attempts that the daemon would make.

What needs a store is not looked at: limits that jobs or hosts share, ``overlap``, ``unique``.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine.attempt import AttemptDirs
from jobctl.engine.runner import request_spec
from jobctl.engine.slot import Slot
from jobctl.engine.tree import TreeTable
from jobctl.engine.workplace import Workplace
from jobctl.errors import NotPermittedError
from jobctl.model.run import LETTERS, AttemptRecord, OutcomeKind, Reason, Run, RunState
from jobctl.model.settle import last_words, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.model.config import Settings
    from jobctl.model.job import JobDef
    from jobctl.model.run import Outcome, Request
    from jobctl.model.settle import Verdict

LOOK_EVERY = 0.25
"""Seconds between two looks at the progress of an attempt."""
LOOKS_A_SAMPLE = 4
"""Looks between two samples of its memory, which cost more."""
ENTER = 0o711
"""Jobs with ``user =`` reach their own files below the scratch directory."""


class Foreground:
    """A run in this process; made and used inside an event loop, once."""

    def __init__(
        self,
        request: Request,
        job: JobDef,
        settings: Settings,
        *,
        output: int,
        timezone: str,
        host: str,
        clock: Clock,
    ) -> None:
        """``output`` is the descriptor that gets both output streams of the job.

        ``timezone`` is the IANA zone of jobs that name none.
        """
        self._request = request
        self._job = job
        self._settings = settings
        self._output = output
        self._timezone = timezone
        self._host = host
        self._clock = clock
        self._slot: Slot | None = None
        self._stopped = asyncio.Event()
        self._attempts: list[AttemptRecord] = []
        self._progress: str | None = None
        self._submitted_at = clock.epoch()
        self.on_progress: Callable[[str], None] = lambda _progress: None
        """Gets ``{"percent": …, "message": …}`` as JSON whenever the job said so."""
        self.on_retry: Callable[[Outcome, float], None] = lambda _outcome, _delay: None
        """Gets a failed attempt's outcome and the seconds until the next one."""

    async def run(self) -> Run:
        """Make the attempts the request allows, and return the run as it ended.

        Raises ``NotPermittedError`` when there is no room for temporary files.
        """
        scratch = _scratch()
        try:
            dirs = AttemptDirs(logs=scratch / "logs", spool=scratch / "spool")
            place = Workplace.open(dirs=dirs, clock=self._clock)
            try:
                return await self._run(Slot(name="run", workplace=place))
            finally:
                place.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def stop(self) -> None:
        """Stop what runs as the job asks for it; the second call kills it at once."""
        again = self._stopped.is_set()
        self._stopped.set()
        if self._slot is not None:
            grace = 0.0 if again else None
            self._slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER, grace=grace)

    async def _run(self, slot: Slot) -> Run:
        self._slot = slot
        watch = asyncio.create_task(self._watch(slot))
        try:
            while True:
                outcome, verdict = await self._attempt(slot)
                again = verdict.letter == "d" and not self._stopped.is_set()
                if again:
                    self.on_retry(outcome, verdict.delay)
                    again = await self._pause(verdict.delay)
                if not again:
                    return self._ended(outcome, verdict)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await slot.close()

    async def _attempt(self, slot: Slot) -> tuple[Outcome, Verdict]:
        number = len(self._attempts) + 1
        now = self._clock.epoch()
        first = self._attempts[0].started_at if self._attempts else None
        spec = request_spec(
            self._request,
            self._job,
            self._settings,
            number=number,
            first_started_at=first,
            owner="",
            timezone=self._timezone,
            now=now,
        )
        outcome = await slot.execute(spec, output=self._output)
        verdict = settle(
            self._job,
            outcome,
            attempt=number,
            max_attempts=self._request.max_attempts,
            elapsed=self._clock.epoch() - (first or now),
            draw=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )
        self._attempts.append(_record(outcome, number=number, host=self._host))
        return outcome, verdict

    async def _pause(self, delay: float) -> bool:
        """Wait before the next attempt; return False when the run was stopped meanwhile."""
        try:
            await asyncio.wait_for(self._stopped.wait(), delay)
        except TimeoutError:
            return not self._stopped.is_set()
        return False

    async def _watch(self, slot: Slot) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self._look(slot)
            looks += 1
            if looks % LOOKS_A_SAMPLE == 0 and slot.started_at is not None:
                slot.sample(TreeTable())

    def _look(self, slot: Slot) -> None:
        progress = slot.poll_progress()
        if progress is not None:
            self._progress = progress
            self.on_progress(progress)

    def _ended(self, outcome: Outcome, verdict: Verdict) -> Run:
        """Return the run as a store would have kept it."""
        if self._slot is not None:
            self._look(self._slot)
        state, reason = LETTERS[verdict.letter], verdict.reason
        if verdict.letter == "d":
            state, reason = RunState.REVOKED, Reason.USER.value
        last = self._attempts[-1]
        return Run(
            request=self._request,
            state=state,
            letter="v" if verdict.letter == "d" else verdict.letter,
            reason=reason or None,
            attempt=last.number,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            submitted_at=self._submitted_at,
            started_at=last.started_at,
            finished_at=self._clock.epoch(),
            duration=outcome.duration,
            host=self._host,
            pid=outcome.pid,
            error=last_words(outcome, verdict),
            result=outcome.result,
            progress=self._progress,
            attempts=tuple(self._attempts),
        )


def _scratch() -> Path:
    try:
        scratch = Path(tempfile.mkdtemp(prefix="jobctl-run-"))
        scratch.chmod(ENTER)
    except OSError as error:
        raise NotPermittedError(
            f"no temporary directory can be made: {error.strerror}; "
            "free some space, or set TMPDIR to a directory you can write to"
        ) from error
    return scratch


def _record(outcome: Outcome, *, number: int, host: str) -> AttemptRecord:
    return AttemptRecord(
        number=number,
        outcome=outcome.kind.value,
        reason=None if outcome.reason is None else outcome.reason.value,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        error=outcome.error,
        host=host,
        pid=outcome.pid,
        started_at=outcome.started_at or None,
        finished_at=outcome.finished_at or None,
        duration=outcome.duration,
        usage=outcome.usage,
        # The output was not kept.
        log_bytes=0,
        log_truncated=False,
    )
