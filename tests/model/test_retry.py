from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.model.job import RetryPolicy
from jobctl.model.retry import backoff, decide, matches
from jobctl.model.run import Outcome, OutcomeKind, Reason

EVEN = 0.5
"""A draw that moves a delay neither way."""


def failed(reason: Reason = Reason.EXIT, **facts: object) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, reason=reason, **facts)


def test_delays_grow_by_the_backoff_and_stop_at_the_cap() -> None:
    policy = RetryPolicy(retries=9, delay=30, backoff=2.0, max_delay=200, jitter=0)

    assert [backoff(policy, failures=n, draw=EVEN) for n in range(1, 6)] == [30, 60, 120, 200, 200]


def test_a_backoff_of_one_keeps_the_delay_fixed() -> None:
    policy = RetryPolicy(delay=7, backoff=1.0, jitter=0)

    assert {backoff(policy, failures=n, draw=EVEN) for n in range(1, 50)} == {7}


@given(
    st.integers(1, 100_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1e6),
    st.floats(1, 10),
    st.floats(0, 1),
)
def test_a_delay_is_never_negative_nor_above_the_cap(
    failures: int, draw: float, delay: float, factor: float, jitter: float
) -> None:
    policy = RetryPolicy(delay=delay, backoff=factor, jitter=jitter, max_delay=3600)

    assert 0 <= backoff(policy, failures=failures, draw=draw) <= 3600


def test_jitter_moves_a_delay_both_ways_by_its_fraction() -> None:
    policy = RetryPolicy(delay=100, jitter=0.1)

    assert backoff(policy, failures=1, draw=0.0) == pytest.approx(90)
    assert backoff(policy, failures=1, draw=0.999999) == pytest.approx(110, abs=0.01)


@pytest.mark.parametrize(
    ("attempt", "most", "again"), [(1, 1, False), (1, 2, True), (2, 2, False), (9999, -1, True)]
)
def test_attempts_are_counted_against_the_most(attempt: int, most: int, again: bool) -> None:
    decision = decide(RetryPolicy(), failed(exit_code=1), attempt=attempt, most=most, draw=EVEN)

    assert decision.again is again


@pytest.mark.parametrize(
    ("rules", "outcome", "again"),
    [
        ((75,), failed(exit_code=75), True),
        ((75,), failed(exit_code=1), False),
        (("timeout",), failed(Reason.TIMEOUT), True),
        (("timeout",), failed(exit_code=1), False),
        (("ConnectionError",), failed(Reason.EXCEPTION, exception="builtins.ConnectionError"), True),
        (("shop.Busy",), failed(Reason.EXCEPTION, exception="shop.Busy builtins.OSError"), True),
        (("OSError",), failed(Reason.EXCEPTION, exception="shop.Busy builtins.OSError"), True),
        (("ValueError",), failed(Reason.EXCEPTION, exception="shop.Busy"), False),
        ((), failed(exit_code=1), False),
        (None, failed(exit_code=1), True),
    ],
)
def test_retry_on_says_which_failures_are_tried_again(
    rules: tuple[int | str, ...] | None, outcome: Outcome, again: bool
) -> None:
    policy = RetryPolicy(retries=3, retry_on=rules)

    assert decide(policy, outcome, attempt=1, most=4, draw=EVEN).again is again


def test_no_retry_on_wins_over_retry_on() -> None:
    policy = RetryPolicy(retries=3, retry_on=("exit",), no_retry_on=(2,))

    assert not decide(policy, failed(exit_code=2), attempt=1, most=4, draw=EVEN).again
    assert decide(policy, failed(exit_code=3), attempt=1, most=4, draw=EVEN).again


def test_what_a_user_stopped_is_never_tried_again() -> None:
    outcome = Outcome(kind=OutcomeKind.FAILED, reason=Reason.USER)

    assert not decide(RetryPolicy(retries=5), outcome, attempt=1, most=6, draw=EVEN).again


def test_a_delay_the_job_asked_for_is_kept_but_not_beyond_the_attempts() -> None:
    policy = RetryPolicy(retries=1, delay=100, retry_on=())
    outcome = failed(Reason.EXCEPTION, retry_in=3.0)

    assert decide(policy, outcome, attempt=1, most=2, draw=EVEN).delay == 3.0
    assert not decide(policy, outcome, attempt=2, most=2, draw=EVEN).again


def test_a_fatal_outcome_is_final() -> None:
    assert not decide(RetryPolicy(retries=5), failed(fatal=True), attempt=1, most=6, draw=EVEN).again


def test_an_exit_code_is_not_taken_for_a_reason() -> None:
    assert not matches((1,), failed(Reason.TIMEOUT))
