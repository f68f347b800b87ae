from __future__ import annotations

import pytest

from jobctl.model.job import JobDef, OnLost, RetryPolicy
from jobctl.model.run import TRANSITIONS, Outcome, OutcomeKind, Reason
from jobctl.model.settle import Verdict, last_words, settle


def verdict(outcome: Outcome, job: JobDef | None = None, **options: float) -> Verdict:
    facts = {"attempt": 1, "max_attempts": 3, "elapsed": 0.0, "draw": 0.5, **options}
    return settle(job or JobDef(name="j"), outcome, **facts)


def failed(reason: Reason = Reason.EXIT, **options: object) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, reason=reason, **options)


@pytest.mark.parametrize("kind", list(OutcomeKind))
@pytest.mark.parametrize("attempt", [1, 3])
def test_every_verdict_is_a_move_the_store_makes(kind: OutcomeKind, attempt: int) -> None:
    reason = None if kind is OutcomeKind.SUCCEEDED else Reason.EXIT
    letter = verdict(Outcome(kind=kind, reason=reason), attempt=attempt).letter
    assert ("r", letter, "settle") in TRANSITIONS
    assert ("c", letter, "settle") in TRANSITIONS


def test_success_needs_no_reason() -> None:
    assert verdict(Outcome(kind=OutcomeKind.SUCCEEDED)) == Verdict("k", "")


def test_failure_is_tried_again_until_the_last_attempt() -> None:
    assert [verdict(failed(), attempt=n).letter for n in (1, 2, 3)] == ["d", "d", "x"]
    assert verdict(failed(), attempt=99, max_attempts=-1).letter == "d"


def test_attempt_that_could_not_start_is_tried_again_like_a_failure() -> None:
    outcome = Outcome(kind=OutcomeKind.NOT_STARTED, reason=Reason.SPAWN)
    assert verdict(outcome).letter == "d"
    assert verdict(outcome, attempt=3) == Verdict("x", "spawn")


def test_no_attempt_begins_after_the_total_timeout() -> None:
    job = JobDef(name="j", retry=RetryPolicy(delay=10.0, jitter=0.0), total_timeout=60.0)
    assert verdict(failed(), job, elapsed=49.0).letter == "d"
    assert verdict(failed(), job, elapsed=50.0) == Verdict("x", "timeout")


def test_run_stopped_by_its_host_is_tried_again_at_once() -> None:
    outcome = Outcome(kind=OutcomeKind.LOST, reason=Reason.LOST)
    assert verdict(outcome, attempt=3) == Verdict("d", "lost", 0.0)
    job = JobDef(name="j", on_lost=OnLost.FAIL)
    assert verdict(outcome, job) == Verdict("x", "lost")


def test_revoked_attempt_is_never_tried_again() -> None:
    assert verdict(Outcome(kind=OutcomeKind.REVOKED)) == Verdict("v", "user")
    outcome = Outcome(kind=OutcomeKind.REVOKED, reason=Reason.REPLACED)
    assert verdict(outcome) == Verdict("v", "replaced")


def test_skipped_attempt_is_final() -> None:
    outcome = Outcome(kind=OutcomeKind.SKIPPED, reason=Reason.CONDITION)
    assert verdict(outcome) == Verdict("s", "condition")


def test_third_loss_is_poison_but_interruptions_are_not() -> None:
    lost = Outcome(kind=OutcomeKind.LOST, reason=Reason.LOST)
    stopped = Outcome(kind=OutcomeKind.INTERRUPTED, reason=Reason.LOST)
    facts = {"attempt": 1, "max_attempts": 1, "elapsed": 0.0, "draw": 0.5}

    assert settle(JobDef(name="j"), lost, lost=1, **facts).letter == "d"
    assert settle(JobDef(name="j"), lost, lost=2, **facts) == Verdict("x", "poison")
    assert settle(JobDef(name="j"), stopped, lost=9, **facts).letter == "d"


def test_wish_for_another_attempt_that_is_not_granted_says_why() -> None:
    outcome = failed(Reason.EXCEPTION, error="busy", again=True)
    assert last_words(outcome, verdict(outcome)) == "busy"
    last = verdict(outcome, attempt=3)
    assert last_words(outcome, last) == "busy; it has no retries left"
    late = verdict(outcome, JobDef(name="j", total_timeout=1.0), elapsed=2.0)
    assert (late.reason, last_words(outcome, late)) == ("timeout", "busy")
    other = failed(Reason.EXCEPTION, error="busy")
    assert last_words(other, verdict(other, attempt=3)) == "busy"
