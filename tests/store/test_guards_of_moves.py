"""Guards of the moves that nothing else would miss, each by what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.errors import JobctlError
from jobctl.store import transitions
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from store_world import World


@pytest.mark.parametrize("policy", ["s", "l", "r"])
def test_sibling_that_ended_is_not_in_the_way(world: World, policy: str) -> None:
    ended = world.running(overlap=policy)
    world.settle(ended)
    world.raw("SADD", world.keys.live("j"), ended)
    assert world.answer(overlap=policy).kind == "ok"
    assert world.state(ended) == "k"


def test_run_that_replaces_another_hands_on_its_proof(world: World) -> None:
    running = world.running(overlap="r")
    call = transitions.submit(world.keys, [new_run(overlap="r")])
    parts = list(call.parts)
    parts[13] = b'{"v":1,"tr":"manual","y":"proof.of-it","z":"seal"}'
    world.run(Call(tuple(parts), lambda reply: reply, script="submit"))
    (message,) = world.raw("LRANGE", world.keys.mailbox("h1~a"), 0, -1)
    assert message.decode() == f"revoke {running} 1 replaced - - 1 proof.of-it"
    assert world.record(running)["cx"] == "replaced - - 1"


def test_retry_is_not_in_its_own_way(world: World) -> None:
    run_id = world.submit(overlap="s")
    world.claim()
    world.start(run_id)
    world.settle(run_id, "d", delay=60)
    world.raw("ZADD", world.keys.due, 1, run_id)
    world.promote()
    assert world.state(run_id) == "q"


def test_due_run_that_can_be_put_nowhere_stops_no_other(broken_world: World) -> None:
    world = broken_world
    first, second = world.submit(start_in=60), world.submit(start_in=60, queue="other")
    for name in ("q:default:5", "pk:q:default"):
        world.raw("SET", world.keys.prefix + name, "?")
    for score, run_id in enumerate((first, second)):
        world.raw("ZADD", world.keys.due, score + 1, run_id)
    world.promote()
    assert world.states(first, second) == "xq"


def test_runs_parked_for_a_shared_limit_do_not_fill_their_queue(world: World) -> None:
    world.limits(l_db=0)
    world.submit(limits="l:db")
    world.claim()
    assert world.answer(limits="l:db", max_length="1").kind == "ok"


def test_submit_leaves_nothing_behind_when_its_siblings_cannot_be_known(world: World) -> None:
    world.raw("SET", world.keys.live("j"), "?")
    with pytest.raises(JobctlError):
        world.answer("a" * 16, overlap="f")
    assert world.record("a" * 16) == {}
    world.raw("DEL", world.keys.live("j"))
