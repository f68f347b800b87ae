"""One claimed run through one attempt: a short pipeline from claim to settlement."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobctl.engine.attempt import AttemptSpec
from jobctl.engine.ending import keeps_result
from jobctl.engine.python_failure import shortened_error
from jobctl.model.job import EXEC_JOB, JobDef
from jobctl.model.records import maker
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.model.settle import last_words, settle
from jobctl.store.attempts import encode_attempt, encode_success
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from jobctl.engine.bundle_answer import Answer
    from jobctl.engine.ledger import Held
    from jobctl.engine.slot import Slot
    from jobctl.model.config import Config, Settings
    from jobctl.model.run import Request
    from jobctl.model.settle import Verdict

POISON_ERROR = "whoever ran it died three times while it ran; it is not run again"
ERROR_MOST = 2000
"""Characters of an error text kept on a run."""
MANY = 1000
"""Runs whose records a job keeps at least, to count as one that does not forget soon."""
LONG = 3600.0
DAY = 86_400.0


_settlement = maker(Settlement)


def carry_out(order: str, slot: Slot) -> None:
    """Stop what runs in a slot; ``order`` is ``reason signal grace kill``, ``-`` the job's own."""
    reason, signal, grace, kill = order.split()
    slot.stop(
        kind=OutcomeKind.REVOKED,
        reason=Reason(reason),
        signal=None if signal == "-" else signal,
        grace=None if grace == "-" else float(grace),
        kill=kill == "1",
    )


def find_job(config: Config, request: Request) -> JobDef | None:
    """Return the definition of a run's job on this host; ``None`` when there is none."""
    if request.job == EXEC_JOB:
        return JobDef(name=EXEC_JOB, command=("@args",)) if config.settings.allow_exec else None
    return config.jobs.get(request.job)


def not_runnable(config: Config, request: Request) -> Outcome:
    """Return the outcome of a run that this host has no definition for."""
    if request.job == EXEC_JOB:
        error = (
            "ad-hoc commands are off on this host; set allow_exec = true in [jobctl] to permit them"
        )
    else:
        error = f"no job {request.job!r} in {config.path or 'jobs.toml'} on this host; define it there, or reload"
    return Outcome(kind=OutcomeKind.FAILED, reason=Reason.UNKNOWN_JOB, error=error, fatal=True)


def attempt_spec(
    held: Held, job: JobDef, settings: Settings, *, mark: str, timezone: str, now: float
) -> AttemptSpec:
    """Return what the slot needs to know to make the attempt. ``now`` is epoch seconds.

    ``mark`` is by which its processes are known, see :func:`jobctl.engine.survivors.mark`.
    """
    return request_spec(
        held.request,
        job,
        settings,
        number=held.attempt,
        first_started_at=held.claim.first_started_at,
        more=_uncounted(held),
        owner=mark,
        timezone=timezone,
        now=now,
    )


def request_spec(  # noqa: PLR0913 - what differs from attempt to attempt
    request: Request,
    job: JobDef,
    settings: Settings,
    *,
    number: int,
    first_started_at: float | None,
    owner: str,
    timezone: str,
    now: float,
    more: int = 0,
) -> AttemptSpec:
    """Return what the slot needs for attempt ``number`` of a request.

    ``more`` attempts may be made beyond the request's own, because as many were not its fault.

    ``first_started_at`` is when the first attempt started, ``None`` before; both it and ``now``
    are epoch seconds. ``timezone`` is for jobs that name none.
    """
    timeout = job.timeout if request.timeout is None else request.timeout
    if job.total_timeout is not None:
        left = job.total_timeout
        if first_started_at is not None:
            left = max(0.001, first_started_at + job.total_timeout - now)
        timeout = left if timeout is None else min(timeout, left)
    zone = job.timezone or timezone
    scheduled = None
    if request.scheduled_at is not None:
        from zoneinfo import ZoneInfo  # noqa: PLC0415 - 0.5 MB that only schedules need

        moment = datetime.fromtimestamp(request.scheduled_at, UTC).astimezone(ZoneInfo(zone))
        scheduled = moment.isoformat()
    return AttemptSpec(
        run_id=request.id,
        job=job,
        number=number,
        max_attempts=request.max_attempts + more if request.max_attempts >= 0 else -1,
        args=request.args,
        kwargs=request.kwargs,
        queue=request.queue,
        trigger=request.trigger,
        scheduled_at=scheduled,
        tags=request.tags,
        parent=request.parent,
        timeout=timeout,
        supervisor=owner,
        timezone=zone,
        max_output=settings.max_output if job.max_output is None else job.max_output,
        max_result=settings.max_result,
    )


def settlement(
    held: Held, job: JobDef, outcome: Outcome, *, now: float, host: str, pool: str
) -> Settlement:
    """Return what to tell the store about a finished attempt. ``now`` is epoch seconds."""
    first = held.claim.first_started_at or outcome.started_at or now
    verdict = settle(
        job,
        outcome,
        attempt=held.attempt - _uncounted(held),
        max_attempts=held.request.max_attempts,
        elapsed=now - first,
        draw=random.random(),  # noqa: S311 - spreads retries, guards nothing
        lost=held.claim.lost,
    )
    return _settlement(
        id=held.claim.id,
        epoch=held.claim.epoch,
        letter=verdict.letter,
        reason=verdict.reason,
        delay=verdict.delay,
        fields=_fields(held, outcome, verdict, job, host=host, pool=pool),
        submitted_at=held.claim.submitted_at,
        stays=stays(job),
        signed=None if held.counted else held.signed,
        last_start=held.last_start,
    )


def success(
    held: Held, answer: Answer, job: JobDef, *, pid: int, host: str, pool: str, stays: bool
) -> Settlement:
    """Return what to tell the store of a first attempt that returned and left nothing behind.

    It is what :func:`settlement` makes of such an outcome, less what the entry of the attempt says
    too. ``stays`` is :func:`stays` of its job.
    """
    entry = encode_success(
        pid=pid,
        started_at=answer.started_at,
        duration=answer.duration,
        used=answer.used,
        host=host,
        pool=pool,
    )
    fields: tuple[str | int, ...] = ("at", 1, "a1", entry, "rc", 0)
    if answer.result is not None and keeps_result(job, succeeded=True):
        fields = (*fields, "re", answer.result)
    claim = held.claim
    return _settlement(
        claim.id, claim.epoch, "k", "", 0.0, fields, claim.submitted_at, stays, held.signed, held.last_start
    )  # fmt: skip


def stays(job: JobDef) -> bool:
    """Return whether a job keeps its records for so long that one which is missing soon was lost."""
    failed = MANY if job.keep_failed is None else job.keep_failed
    return min(job.keep_runs, failed) >= MANY and job.keep_days * DAY >= LONG


def _uncounted(held: Held) -> int:
    """Count the attempts before this one that are not counted against ``retries``."""
    return held.claim.lost + held.claim.interrupted


def _fields(
    held: Held, outcome: Outcome, verdict: Verdict, job: JobDef, *, host: str, pool: str
) -> tuple[str | bytes | int, ...]:
    number = held.attempt
    entry = encode_attempt(
        number=number, outcome=outcome, verdict=verdict.letter, host=host, pool=pool
    )
    started = int(outcome.started_at * 1000) if outcome.started_at else None
    again = verdict.letter == "d"
    error = _error(outcome, verdict)
    fields: list[str | bytes | int] = [
        "at", number, f"a{number}", entry, "du", f"{outcome.duration:.4f}"
    ]  # fmt: skip
    if again and outcome.kind is OutcomeKind.LOST:
        fields += "ls", held.claim.lost + 1
    if again and outcome.kind is OutcomeKind.INTERRUPTED:
        fields += "dr", held.claim.interrupted + 1
    if started is not None:
        fields += "st", started
        if held.claim.first_started_at is None:
            fields += "fs", started
    for name, value in (("pi", outcome.pid), ("rc", outcome.exit_code), ("sg", outcome.signal)):
        if value is not None:
            fields += name, value
    if error:
        fields += "er", error
    if held.progress is not None and not again:
        fields += "pg", held.progress  # what was noted last may not have been sent
    if outcome.result is not None and keeps_result(job, succeeded=verdict.letter == "k"):
        fields += "re", outcome.result
    return tuple(fields)


def _error(outcome: Outcome, verdict: Verdict) -> str:
    """Return what is kept of an error: of an exception not only its end, which may be any text."""
    if verdict.reason == Reason.POISON.value:
        return POISON_ERROR
    error = last_words(outcome, verdict) or ""
    return shortened_error(error, ERROR_MOST) if outcome.exception else error[-ERROR_MOST:]
