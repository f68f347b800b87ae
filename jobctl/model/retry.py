"""When a failed attempt is followed by another: a pure function of policy, outcome and a draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.model.run import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.model.job import RetryPolicy
    from jobctl.model.run import Outcome

FLOOR = 0.0
"""Shortest delay in seconds: a policy may ask for none."""
_MOST_DOUBLINGS = 1024


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """Whether to try again, and after how many seconds."""

    again: bool
    delay: float = 0.0


def matches(rules: Iterable[int | str], outcome: Outcome) -> bool:
    """Return whether an exit code, a reason or an exception name of ``outcome`` is in ``rules``.

    Exception names match with or without their module.
    """
    names = set()
    if outcome.reason is not None:
        names.add(outcome.reason.value)
    for name in (outcome.exception or "").split():
        names.add(name)
        names.add(name.rpartition(".")[2])
    return any(
        rule == outcome.exit_code if isinstance(rule, int) else rule in names for rule in rules
    )


def backoff(policy: RetryPolicy, *, failures: int, draw: float) -> float:
    """Return the delay in seconds after the ``failures``-th failed attempt (from 1).

    ``draw`` is uniform in [0, 1); the delay moves by up to ``policy.jitter`` of itself, either way,
    and never exceeds ``policy.max_delay``.
    """
    exponent = min(failures - 1, _MOST_DOUBLINGS)
    try:
        delay = policy.delay * policy.backoff**exponent
    except OverflowError:
        delay = policy.max_delay
    delay = min(delay, policy.max_delay)
    delay *= 1 + policy.jitter * (2 * draw - 1)
    return max(FLOOR, min(delay, policy.max_delay))


def decide(
    policy: RetryPolicy, outcome: Outcome, *, attempt: int, most: int, draw: float
) -> RetryDecision:
    """Return whether ``outcome`` of attempt number ``attempt`` is tried again.

    ``most`` is the number of attempts the run may have, -1 for no end. What a user asked to stop
    is never tried again; what the job itself asked for wins over ``retry_on``, not over ``most``.
    """
    if outcome.fatal or outcome.reason is Reason.USER:
        return RetryDecision(again=False)
    if most >= 0 and attempt >= most:
        return RetryDecision(again=False)
    delay = outcome.retry_in
    if delay is None:
        delay = backoff(policy, failures=attempt, draw=draw)
    if outcome.again or outcome.retry_in is not None:
        return RetryDecision(again=True, delay=delay)
    if matches(policy.no_retry_on, outcome):
        return RetryDecision(again=False)
    if policy.retry_on is not None and not matches(policy.retry_on, outcome):
        return RetryDecision(again=False)
    return RetryDecision(again=True, delay=delay)
