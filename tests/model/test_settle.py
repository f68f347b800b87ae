from __future__ import annotations

import pytest

from jobctl.model.job import JobDef, OnLost, RetryPolicy
from jobctl.model.run import Outcome, OutcomeKind, Reason
from jobctl.model.settle import Verdict, settle

PLAIN = JobDef(name="j", command="x")
RETRIES = JobDef(name="j", command="x", retry=RetryPolicy(retries=2, delay=30, jitter=0))


def verdict(job: JobDef, outcome: Outcome, *, attempt: int = 1, elapsed: float = 0.0) -> Verdict:
    return settle(
        job,
        outcome,
        attempt=attempt,
        max_attempts=job.retry.retries + 1,
        elapsed=elapsed,
        draw=0.5,
    )


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(kind=OutcomeKind.SUCCEEDED), Verdict("k", "")),
        (Outcome(kind=OutcomeKind.FAILED, reason=Reason.EXIT, exit_code=3), Verdict("x", "exit")),
        (Outcome(kind=OutcomeKind.FAILED, reason=Reason.TIMEOUT), Verdict("x", "timeout")),
        (Outcome(kind=OutcomeKind.SKIPPED, reason=Reason.CONDITION), Verdict("s", "condition")),
        (Outcome(kind=OutcomeKind.REVOKED, reason=Reason.USER), Verdict("v", "user")),
        (Outcome(kind=OutcomeKind.REVOKED, reason=Reason.REPLACED), Verdict("v", "replaced")),
        (Outcome(kind=OutcomeKind.LOST, reason=Reason.LOST), Verdict("d", "lost")),
    ],
)
def test_each_outcome_has_its_verdict(outcome: Outcome, expected: Verdict) -> None:
    assert verdict(PLAIN, outcome) == expected


def test_a_failure_with_retries_left_is_scheduled_again() -> None:
    outcome = Outcome(kind=OutcomeKind.FAILED, reason=Reason.EXIT, exit_code=1)

    assert verdict(RETRIES, outcome, attempt=1) == Verdict("d", "exit", 30)
    assert verdict(RETRIES, outcome, attempt=2) == Verdict("d", "exit", 60)
    assert verdict(RETRIES, outcome, attempt=3) == Verdict("x", "exit")


def test_a_lost_attempt_of_a_job_that_must_not_repeat_is_final() -> None:
    job = JobDef(name="j", command="x", on_lost=OnLost.FAIL)

    assert verdict(job, Outcome(kind=OutcomeKind.LOST, reason=Reason.LOST)) == Verdict("x", "lost")


def test_no_attempt_begins_after_the_total_timeout() -> None:
    job = JobDef(name="j", command="x", retry=RETRIES.retry, total_timeout=100)
    outcome = Outcome(kind=OutcomeKind.FAILED, reason=Reason.EXIT, exit_code=1)

    assert verdict(job, outcome, elapsed=60) == Verdict("d", "exit", 30)
    assert verdict(job, outcome, elapsed=70) == Verdict("x", "timeout")
