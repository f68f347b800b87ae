"""Whoever had to come back keeps its place: among those let through, put back and parked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.store import transitions

if TYPE_CHECKING:
    from store_world import World


def submitted(world: World, count: int, **options: object) -> list[str]:
    runs = [new_run(**options) for _ in range(count)]
    world.run(transitions.submit(world.keys, runs))
    return [run.request.id for run in runs]


def ready(world: World, priority: int = 5) -> list[str]:
    found = world.raw("LRANGE", world.keys.queue("default", priority), 0, -1)
    return [item.decode() for item in found]


def parked(world: World, limit: str = "l:db") -> list[str]:
    return [item.decode() for item in world.raw("LRANGE", world.keys.parked(limit), 0, -1)]


def let_through(world: World, count: int) -> list[str]:
    """Park ``count`` runs for l:db and let all of them through again, then fill the limit."""
    world.limits(l_db=0)
    ids = submitted(world, count, limits="l:db")
    assert world.claim(count) == []
    assert parked(world) == ids
    world.limits(l_db=count)
    assert ready(world) == ids
    others = submitted(world, count, limits="l:db", priority=9)
    for _ in range(count):
        world.claim(1)
    assert [world.state(run_id) for run_id in others] == ["c"] * count
    return ids


@pytest.mark.parametrize("want", [1, 100])
@pytest.mark.parametrize("count", [2, 5, 40])
def test_runs_whose_slots_others_took_are_parked_in_their_old_order(
    world: World, count: int, want: int
) -> None:
    ids = let_through(world, count)
    assert world.claim(want) == []
    world.until(lambda: world.claim(want) == [] and not ready(world))
    assert parked(world) == ids


def test_runs_parked_again_are_ahead_of_those_that_wait_for_the_first_time(world: World) -> None:
    ids = let_through(world, 3)
    late = submitted(world, 2, limits="l:db")
    world.claim(10)
    assert parked(world) == [*ids, *late]


def test_runs_parked_again_one_by_one_come_between_those_that_are_back(world: World) -> None:
    ids = let_through(world, 4)
    world.raw("DEL", world.keys.queue("default", 5))
    for run_id in (ids[3], ids[0], ids[2], ids[1]):
        world.raw("RPUSH", world.keys.queue("default", 5), run_id)
        assert world.claim(1) == []
    assert parked(world) == ids


def test_strays_in_a_line_do_not_change_its_order(broken_world: World) -> None:
    world = broken_world
    world.limits(l_db=0)
    ids = []
    for _ in range(6):
        ids += submitted(world, 1, limits="l:db")
        world.claim()
        world.raw("LPUSH", world.keys.parked("l:db"), "stray1")
        world.raw("RPUSH", world.keys.parked("l:db"), "stray2")
    assert [run_id for run_id in parked(world) if run_id in ids] == ids


def test_run_parked_for_a_second_limit_is_ahead_of_later_ones(world: World) -> None:
    world.limits(l_a=0, l_b=0)
    (both,) = submitted(world, 1, limits="l:a l:b")
    world.claim()
    later = submitted(world, 2, limits="l:b")
    world.claim(5)
    world.limits(l_a=1)
    world.claim(5)
    assert parked(world, "l:b") == [both, *later]


def test_hundreds_let_through_one_by_one_stay_in_order(world: World) -> None:
    world.limits(l_db=0)
    ids = submitted(world, 70, limits="l:db")
    world.claim(70)
    for size in range(1, 71):
        world.limits(l_db=size)
        world.raw("ZREM", world.keys.due, "!l:db")
    assert ready(world) == ids
    assert world.claim(70) == ids


def test_released_run_does_not_part_those_let_through_before_and_after(world: World) -> None:
    world.limits(l_db=0)
    ids = submitted(world, 3, limits="l:db")
    (free,) = submitted(world, 1)
    assert world.claim(4) == [free]
    world.limits(l_db=1)
    world.release((free, 1))
    world.limits(l_db=3)
    assert [run_id for run_id in ready(world) if run_id in ids] == ids
    assert sorted(world.claim(4)) == sorted([free, *ids])


def test_released_run_is_in_front_of_what_its_slot_lets_through(world: World) -> None:
    world.limits(l_db=1)
    holder, parked_run = submitted(world, 2, limits="l:db")
    assert world.claim(2) == [holder]
    world.release((holder, 1))
    assert ready(world) == [holder, parked_run]


def test_released_runs_are_in_front_in_the_order_they_are_named(world: World) -> None:
    ids = submitted(world, 4)
    assert world.claim(3) == ids[:3]
    assert world.release(*((run_id, 1) for run_id in ids[:3])) == ("ok",) * 3
    assert ready(world) == ids


def test_attempt_after_the_first_queues_up_anew(world: World) -> None:
    world.limits(l_db=1)
    first, second, third = submitted(world, 3, limits="l:db")
    world.claim(3)
    world.settle(first)
    (claim,) = world.take().claims
    assert claim.id == second
    assert world.settle(second, "d", epoch=claim.epoch, delay=60) == "d"
    assert world.claim(1) == [third]
    (fourth,) = submitted(world, 1, limits="l:db")
    world.claim(1)
    world.raw("ZADD", world.keys.due, 1, second)
    world.claim(1)
    assert parked(world) == [fourth, second]


def park_again(world: World, run_id: str) -> None:
    """What has a number comes back to its line."""
    world.raw("HSET", world.keys.run(run_id), "s", "q")
    world.raw("RPUSH", world.keys.queue("default", 5), run_id)
    assert world.claim(1) == []


def four_parked(world: World) -> list[str]:
    world.limits(l_db=0)
    ids = submitted(world, 4, limits="l:db")
    assert world.claim(4) == []
    return ids


def line_of(world: World, *ids: str) -> None:
    world.raw("DEL", world.keys.parked("l:db"))
    world.raw("RPUSH", world.keys.parked("l:db"), *ids)


@pytest.mark.parametrize("stale", ["e" * 16, "ended"])
def test_stale_entry_in_the_middle_of_a_line_is_passed_over(
    broken_world: World, stale: str
) -> None:
    world = broken_world
    first, second, third, fourth = four_parked(world)
    if stale == "ended":
        stale = world.running()
        world.settle(stale)
        world.raw("HSET", world.keys.run(stale), "nr", 1)
    line_of(world, first, third, stale, fourth)
    park_again(world, second)
    assert parked(world) == [first, second, third, stale, fourth]


def test_entry_of_an_ended_run_with_a_high_number_holds_nobody_up(broken_world: World) -> None:
    world = broken_world
    first, second, _, _ = four_parked(world)
    ended = world.running()
    world.settle(ended)
    world.raw("HSET", world.keys.run(ended), "nr", 9e15)
    line_of(world, ended, first)
    park_again(world, second)
    assert parked(world) == [ended, first, second]


def test_whoever_was_parked_without_a_number_is_ahead(world: World) -> None:
    # As programs before this one parked.
    first, second, third, fourth = four_parked(world)
    for run_id in (first, second):
        world.raw("HDEL", world.keys.run(run_id), "nr")
    line_of(world, first, second, fourth)
    park_again(world, third)
    assert parked(world) == [first, second, third, fourth]


def test_line_that_is_to_be_looked_at_soon_is_not_put_off(world: World) -> None:
    world.limits(l_db=0)
    submitted(world, 1, limits="l:db")
    world.claim(1)
    submitted(world, 1, limits="l:db")
    soon = int((world.now() + 30) * 1000)
    world.raw("ZADD", world.keys.due, soon, "!l:db")
    world.raw("DEL", world.keys.bell("@due"))
    world.claim(1)
    assert not world.raw("EXISTS", world.keys.bell("@due"))
    assert float(world.raw("ZSCORE", world.keys.due, "!l:db")) == soon
