from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.model.job import RetryPolicy
from jobctl.model.retry import backoff, decide, matches
from jobctl.model.run import Outcome, OutcomeKind, Reason


def failed(reason: Reason = Reason.EXIT, **options: object) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, reason=reason, **options)


def again(policy: RetryPolicy, outcome: Outcome, **options: float) -> bool:
    return decide(policy, outcome, **{"attempt": 1, "most": 9, "draw": 0.5, **options}).again


def test_delay_grows_by_the_factor_up_to_its_bound() -> None:
    policy = RetryPolicy(delay=2.0, backoff=3.0, jitter=0.0, max_delay=50.0)
    delays = [backoff(policy, failures=n, draw=0.5) for n in range(1, 6)]
    assert delays == [2.0, 6.0, 18.0, 50.0, 50.0]


@given(
    failures=st.integers(1, 10**6),
    draw=st.floats(0, 1, exclude_max=True),
    delay=st.floats(0, 1e6),
    factor=st.floats(1, 1e3),
    jitter=st.floats(0, 1),
)
def test_delay_is_never_negative_nor_above_its_bound(
    failures: int, draw: float, delay: float, factor: float, jitter: float
) -> None:
    policy = RetryPolicy(delay=delay, backoff=factor, jitter=jitter, max_delay=3600.0)
    assert 0 <= backoff(policy, failures=failures, draw=draw) <= 3600.0


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        (3, failed(exit_code=3)),
        ("timeout", failed(Reason.TIMEOUT)),
        ("ValueError", failed(Reason.EXCEPTION, exception="ValueError")),
        ("Gone", failed(Reason.EXCEPTION, exception="shop.errors.Gone")),
        ("shop.errors.Gone", failed(Reason.EXCEPTION, exception="shop.errors.Gone")),
    ],
)
def test_rule_names_an_exit_code_a_reason_or_an_exception(
    rule: int | str, outcome: Outcome
) -> None:
    assert matches((rule,), outcome)
    assert not matches((4, "memory", "KeyError"), outcome)
    assert again(RetryPolicy(retry_on=(rule,)), outcome)
    assert not again(RetryPolicy(no_retry_on=(rule,)), outcome)
    assert not again(RetryPolicy(retry_on=(4,)), outcome)


def test_job_that_asks_for_another_try_gets_it_within_its_attempts() -> None:
    policy = RetryPolicy(retry_on=())
    outcome = failed(retry_in=7.5)
    assert decide(policy, outcome, attempt=1, most=2, draw=0.5).delay == 7.5
    assert not again(policy, outcome, attempt=2, most=2)


def test_fatal_and_revoked_attempts_are_not_tried_again() -> None:
    assert not again(RetryPolicy(), failed(fatal=True))
    assert not again(RetryPolicy(), failed(Reason.USER), most=-1)
