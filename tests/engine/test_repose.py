"""When the idle children of a pool are let go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobctl.engine.repose import LONGEST, SHORTEST, Repose


class Interpreter:
    """What a slot tells of its child."""

    def __init__(self, *, start_cost: float = 0.0, dearest: float = 0.0) -> None:
        self.resting: Any = SimpleNamespace(
            child=SimpleNamespace(calls=1, start_cost=start_cost), dearest=dearest
        )

    @property
    def children(self) -> int:
        return 0 if self.resting is None else 1

    def rest(self) -> None:
        self.resting = None


def gone_after(repose: Repose, idle: list[Interpreter], *, most: float = 2000.0) -> float | None:
    """Return the seconds after which the first child went, looking four times a second."""
    for tick in range(int(most * 4) + 1):
        if repose.look(idle, now=100.0 + tick / 4):  # type: ignore[arg-type]
            return tick / 4
    return None


def test_last_child_stays() -> None:
    first, last = Interpreter(), Interpreter()

    assert gone_after(Repose(10.0), [first, last]) == 10.0
    assert first.resting is None
    assert gone_after(Repose(10.0), [first, last]) is None


def test_one_that_stays_is_the_last_that_there_is() -> None:
    first, last = Interpreter(), Interpreter()
    last.rest()

    assert gone_after(Repose(10.0), [first, last]) is None


def test_call_begins_the_time_anew() -> None:
    first, repose = Interpreter(), Repose(10.0)
    idle: Any = [first, Interpreter()]
    repose.look(idle, now=0.0)
    first.resting.child.calls += 1

    assert repose.look(idle, now=9.0) == 0
    assert repose.look(idle, now=18.9) == 0
    assert repose.look(idle, now=19.0) == 1


def test_time_in_which_a_slot_was_busy_does_not_count() -> None:
    first, last, repose = Interpreter(), Interpreter(), Repose(10.0)
    idle: Any = [first, last]
    repose.look(idle, now=0.0)
    repose.look(idle[1:], now=9.0)

    assert repose.look(idle, now=18.0) == 0
    assert repose.look(idle, now=28.0) == 1


@pytest.mark.parametrize(
    ("start_cost", "dearest", "seconds"),
    [
        (0.003, 0.001, SHORTEST),
        (0.04, 0.0, 20.0),
        (0.02, 0.4, 210.0),
        (0.02, 30.0, LONGEST),
    ],
)
def test_child_is_kept_by_what_a_new_one_would_cost(
    start_cost: float, dearest: float, seconds: float
) -> None:
    idle = [Interpreter(start_cost=start_cost, dearest=dearest), Interpreter()]

    assert gone_after(Repose("auto"), idle) == pytest.approx(seconds, abs=0.3)


def test_own_time_counts_whatever_a_child_has_cost() -> None:
    assert gone_after(Repose(1.0), [Interpreter(dearest=9.0), Interpreter()]) == 1.0


def test_without_a_time_all_stay() -> None:
    assert gone_after(Repose(None), [Interpreter(), Interpreter()]) is None
