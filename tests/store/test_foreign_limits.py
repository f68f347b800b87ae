"""A key of a foreign type under a limit's name: whoever holds the limit ends all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store_world import World

LIMIT = "l:db"


def spoil(world: World, family: str) -> None:
    key = f"{world.keys.prefix}{family}:{LIMIT}"
    world.raw("DEL", key)
    world.raw("SET", key, "?")


def in_queue(world: World) -> list[str]:
    return [item.decode() for item in world.raw("LRANGE", world.keys.queue("default", 5), 0, -1)]


def history(world: World, job: str = "j") -> list[str]:
    return [item.decode() for item in world.raw("LRANGE", f"{world.keys.prefix}h:{job}", 0, -1)]


@pytest.fixture(autouse=True)
def removed(world: World) -> Iterator[None]:
    """Takes the foreign keys away in the end: then there must be no other contradiction."""
    yield
    for family in ("c", "pk"):
        world.raw("DEL", f"{world.keys.prefix}{family}:{LIMIT}")


@pytest.fixture(params=["c", "pk"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_released_run_is_in_its_queue(world: World, family: str) -> None:
    run_id = world.submit(limits=LIMIT)
    world.claim()
    spoil(world, family)
    assert world.release((run_id, 1)) == ("ok",)
    assert (world.state(run_id), in_queue(world)) == ("q", [run_id])


def test_run_that_succeeded_is_recorded_so(world: World, family: str) -> None:
    run_id = world.running(limits=LIMIT)
    job = world.record(run_id)["j"]
    spoil(world, family)
    assert world.settle(run_id, "k") == "k"
    assert world.state(run_id) == "k"
    assert history(world, job) == [run_id]


def test_all_runs_of_a_revoke_are_revoked(world: World, family: str) -> None:
    first, second = world.submit(limits=LIMIT), world.submit(limits=LIMIT)
    spoil(world, family)
    world.revoke(first, second)
    assert world.states(first, second) == "vv"
    assert history(world, world.record(first)["j"]) == [second, first]
    assert all(world.raw("TTL", world.keys.run(run_id)) > 0 for run_id in (first, second))


def test_other_due_runs_become_ready(world: World, family: str) -> None:
    due = [world.submit(start_in=0.02) for _ in range(5)]
    world.raw("ZADD", f"{world.keys.prefix}due", 1, f"!{LIMIT}")
    spoil(world, family)
    world.let_pass(0.05)
    world.promote()
    assert sorted(world.claim(5)) == sorted(due)


def test_the_limit_is_looked_at_again_when_it_was_mended(world: World) -> None:
    world.raw("ZADD", f"{world.keys.prefix}due", 1, f"!{LIMIT}")
    spoil(world, "c")
    world.raw("RPUSH", f"{world.keys.prefix}pk:{LIMIT}", "x" * 16)
    world.promote()
    assert world.raw("ZSCORE", f"{world.keys.prefix}due", f"!{LIMIT}") is not None
