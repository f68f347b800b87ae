"""From the outcome of an attempt to what becomes of its run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.model.retry import decide
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.model.job import JobDef
    from jobctl.model.run import Outcome

LOST_MOST = 3
"""Attempts of a run that may end with a dead owner; ``rescue.lua`` counts the same way."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a run: a record letter, the reason, and the delay before another attempt."""

    letter: str
    """``k``, ``x``, ``s``, ``v``, or ``d`` for another attempt."""
    reason: str
    delay: float = 0.0
    """Seconds; only for ``d``."""


_SUCCEEDED = Verdict("k", "")


def settle(  # noqa: PLR0911 - one return a case reads best
    job: JobDef,
    outcome: Outcome,
    *,
    attempt: int,
    max_attempts: int,
    elapsed: float,
    draw: float,
    lost: int = 0,
) -> Verdict:
    """Return what becomes of a run after attempt number ``attempt``.

    ``attempt`` counts only attempts that came to an end of their own, and ``lost`` those before
    this one that ended with a dead owner. ``elapsed`` is the time in seconds since the run's first attempt started: with
    ``total_timeout`` no attempt begins after it. ``draw`` is uniform in [0, 1).
    """
    reason = outcome.reason.value if outcome.reason is not None else ""
    match outcome.kind:
        case OutcomeKind.SUCCEEDED:
            return _SUCCEEDED
        case OutcomeKind.SKIPPED:
            return Verdict("s", reason)
        case OutcomeKind.REVOKED:
            return Verdict("v", reason or Reason.USER.value)
        case OutcomeKind.LOST | OutcomeKind.INTERRUPTED:
            # Not the job's failure, so it is run again whatever its retries, unless it must not
            # run twice, or takes whoever runs it down each time.
            if not job.repeatable:
                return Verdict("x", Reason.LOST.value)
            if outcome.kind is OutcomeKind.LOST and lost + 1 >= LOST_MOST:
                return Verdict("x", Reason.POISON.value)
            return Verdict("d", Reason.LOST.value)
        case OutcomeKind.NOT_STARTED | OutcomeKind.FAILED:
            decision = decide(job.retry, outcome, attempt=attempt, most=max_attempts, draw=draw)
            if not decision.again:
                return Verdict("x", reason)
            if job.total_timeout is not None and elapsed + decision.delay >= job.total_timeout:
                return Verdict("x", Reason.TIMEOUT.value)
            return Verdict("d", reason, decision.delay)


def last_words(outcome: Outcome, verdict: Verdict) -> str | None:
    """Return the error that is kept with the run: of a wish for another attempt, why there is none."""
    if outcome.again and verdict.letter == "x" and verdict.reason == outcome.reason:
        return f"{outcome.error}; it has no retries left"
    return outcome.error
