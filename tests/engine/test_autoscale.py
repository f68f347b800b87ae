"""How many slots a pool wants: the policy alone, on a clock of numbers."""

from __future__ import annotations

import pytest

from jobctl.engine.autoscale import Autoscale, Load


def load(slots: int, busy: int, waiting: int = 0, cpu: float = 0.0) -> Load:
    return Load(slots=slots, busy=busy, waiting=waiting, cpu=cpu)


def test_busy_pool_grows_by_what_waits_and_at_most_to_the_double() -> None:
    policy = Autoscale(2, 16, by="depth")

    assert policy.decide(load(2, 2, waiting=1), now=0) == 3
    assert policy.decide(load(3, 3, waiting=100), now=1) == 6
    assert policy.decide(load(12, 12, waiting=100), now=2) == 16


def test_pool_with_a_free_slot_does_not_grow() -> None:
    assert Autoscale(1, 8, by="depth").decide(load(4, 3, waiting=9), now=0) == 4


def test_idle_slots_go_a_quarter_each_half_minute() -> None:
    policy = Autoscale(2, 16, by="depth")
    sizes, slots = [], 16
    for now in range(0, 121, 10):
        slots = policy.decide(load(slots, 0), now=now)
        sizes.append(slots)

    assert sizes == [16, 16, 16, 12, 12, 12, 9, 9, 9, 7, 7, 7, 6]


def test_pool_never_leaves_its_bounds() -> None:
    policy = Autoscale(2, 4, by="depth")

    assert policy.decide(load(1, 0), now=0) == 2
    assert policy.decide(load(9, 9), now=1) == 4
    for now in range(2, 1000, 31):
        assert policy.decide(load(2, 0), now=now) == 2


def test_load_in_between_begins_the_half_minute_anew() -> None:
    policy = Autoscale(1, 8, by="depth")
    policy.decide(load(8, 0), now=0)
    policy.decide(load(8, 8), now=29)

    assert policy.decide(load(8, 0), now=31) == 8
    assert policy.decide(load(8, 0), now=60) == 8
    assert policy.decide(load(8, 0), now=61) == 6


def test_by_wait_runs_must_have_waited_for_a_second() -> None:
    policy = Autoscale(1, 8, by="wait")

    assert policy.decide(load(2, 2, waiting=5), now=0) == 2
    assert policy.decide(load(2, 2, waiting=5), now=0.9) == 2
    assert policy.decide(load(2, 2, waiting=5), now=1.0) == 4
    assert policy.decide(load(2, 2), now=2) == 2
    assert policy.decide(load(2, 2, waiting=5), now=3) == 2


@pytest.mark.parametrize(("cpu", "slots"), [(0.5, 8), (0.9, 4), (0.99, 3)])
def test_by_cpu_the_host_must_have_some_to_spare(cpu: float, slots: int) -> None:
    policy = Autoscale(1, 16, by="cpu")

    assert policy.decide(load(4, 4, waiting=9, cpu=cpu), now=0) == slots
