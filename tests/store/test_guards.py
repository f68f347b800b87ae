"""Guards of the scripts that nothing else would miss, each by what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from store_world import World


def exists(world: World, name: str) -> bool:
    return bool(world.raw("EXISTS", world.keys.prefix + name))


def test_namespace_laid_out_by_a_newer_program_is_left_alone(broken_world: World) -> None:
    world = broken_world
    run_id = world.submit()
    world.raw("SET", world.keys.schema, 2)
    with pytest.raises(JobctlError, match="SCHEMA 2"):
        world.claim()
    assert world.state(run_id) == "q"


def test_ended_run_whose_record_breaks_keeps_its_end(broken_world: World) -> None:
    world = broken_world
    run_id = world.running()
    world.settle(run_id)
    world.raw("HDEL", world.keys.run(run_id), "q")
    world.revoke(run_id)
    assert world.state(run_id) == "k"


def test_broken_claim_leaves_its_owner(broken_world: World) -> None:
    world = broken_world
    run_id = world.running()
    world.raw("HSET", world.keys.run(run_id), "ep", "many")
    world.revoke(run_id)
    assert world.state(run_id) == "x"
    assert not exists(world, "own:h1~a/p.1")


def test_broken_run_leaves_the_timetable_and_gives_back_its_lock(broken_world: World) -> None:
    world = broken_world
    run_id = world.submit(start_in=60, expires_in=120, unique="k", overlap="f")
    world.raw("SADD", world.keys.live("j"), run_id)
    world.raw("HDEL", world.keys.run(run_id), "p")
    world.revoke(run_id)
    assert world.state(run_id) == "x"
    assert not exists(world, "due")
    assert not exists(world, "u:k")
    assert not exists(world, "live:j")


def test_run_that_can_be_put_nowhere_fails_and_the_others_go_on(broken_world: World) -> None:
    world = broken_world
    first, second = world.submit(), world.submit(queue="other")
    world.claim(2, queues=["default", "other"])
    for name in ("q:default:5", "pk:q:default"):
        world.raw("SET", world.keys.prefix + name, "?")
    world.release((first, 1), (second, 1))
    assert world.states(first, second) == "xq"
    assert world.raw("LRANGE", world.keys.prefix + "bad", 0, -1) == [first.encode()]
    assert not exists(world, "own:h1~a/p.1")


@pytest.mark.parametrize("what", ["ended", "foreign", "gone"])
def test_unique_lock_of_no_living_run_refuses_nobody(broken_world: World, what: str) -> None:
    world = broken_world
    holder = world.running()
    world.settle(holder)
    if what != "ended":
        world.raw("DEL", world.keys.run(holder))
    if what == "foreign":
        world.raw("SET", world.keys.run(holder), "?")
    world.raw("SET", world.keys.prefix + "u:k", holder)
    assert world.answer(unique="k").kind == "ok"


@pytest.mark.parametrize("name", ["lim", "c:l:db", "rl:t:j"])
def test_limit_that_cannot_be_read_lets_nobody_through(world: World, name: str) -> None:
    world.limits(t_j="5:1000", l_db=5)
    run_id = world.submit(limits="l:db t:j")
    key = world.keys.prefix + name
    world.raw("DEL", key)
    world.raw("RPUSH", key, "?")
    assert world.claim() == []
    assert world.state(run_id) == "p"
    world.raw("DEL", key)
