"""A key of a foreign type under any name of ours: no run is lost by it, and one does not stop others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError
from jobctl.store import membership, transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from store_world import World

QUEUE = "q:default:5"
ALL = (
    QUEUE, "b:default", "c:l:db", "pk:l:db", "pk:q:default", "h:j", "hf:j", "live:j", "u:k", "lim",
    "own:h1~a/p.1", "n", "latest", "bad", "due", "rl:t:j",
)  # fmt: skip
"""Names of every family that moves of a run touch."""


def spoil(world: World, name: str) -> None:
    key = world.keys.prefix + name
    world.raw("DEL", key)
    if name.partition(":")[0] in ("u", "rl"):
        world.raw("RPUSH", key, "?")
    else:
        world.raw("SET", key, "?")


def mend(world: World, *names: str) -> None:
    """Takes the foreign keys away, and makes what waits for the timetable due."""
    for name in names:
        world.raw("DEL", world.keys.prefix + name)
    for member in world.raw("ZRANGE", world.keys.due, 0, -1):
        world.raw("ZADD", world.keys.due, "XX", 1, member)


def test_run_let_through_to_a_foreign_queue_waits_until_that_is_mended(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    blocked = world.submit(limits="l:db")
    other = world.submit(limits="l:db", queue="other")
    assert world.claim(5) == []
    assert world.claim(5, queues=["other"]) == []
    spoil(world, QUEUE)
    world.settle(holder)
    assert world.states(blocked, other) == "pq"
    assert world.claim(5, queues=["other"]) == [other]
    world.settle(other)
    mend(world, QUEUE)
    assert world.claim(5) == [blocked]


@pytest.mark.parametrize("move", ["release", "rescue", "retry", "due"])
def test_run_that_comes_back_to_a_foreign_queue_waits_until_that_is_mended(
    world: World, move: str
) -> None:
    world.supervisor("h2~b")
    if move == "due":
        run_id = world.submit(start_in=60)
        world.raw("ZADD", world.keys.due, 1, run_id)
    else:
        run_id = world.submit()
        world.claim(sid="h2~b")
    spoil(world, QUEUE)
    moves: dict[str, Callable[[], object]] = {
        "release": lambda: world.release((run_id, 1), sid="h2~b"),
        "rescue": lambda: world.rescue("h2~b"),
        "retry": lambda: world.settle(run_id, "d", sid="h2~b"),
        "due": world.promote,
    }
    moves[move]()
    assert world.state(run_id) == "p"
    # It is looked at again, and stays what it is, while the key is there.
    world.raw("ZADD", world.keys.due, 1, "!q:default")
    world.promote()
    assert world.state(run_id) == "p"
    mend(world, QUEUE)
    assert world.claim(5) == [run_id]


def test_due_run_whose_siblings_cannot_be_known_is_looked_at_again(world: World) -> None:
    run_id = world.submit(start_in=60, overlap="s")
    world.raw("ZADD", world.keys.due, 1, run_id)
    spoil(world, "live:j")
    world.promote()
    assert world.state(run_id) == "d"
    mend(world, "live:j")
    assert world.claim() == [run_id]


def test_beat_counts_in_spite_of_a_foreign_claim_set(world: World) -> None:
    spoil(world, "own:h1~a/p.1")
    owners = ["h1~a/p.1", "h1~a/p.2"]
    reply = world.run(membership.beat(world.keys, supervisor="h1~a", load="", owners=owners))
    assert (reply.fenced, reply.owned) == (False, (-1, 0))
    mend(world, "own:h1~a/p.1")


def test_many_runs_of_a_foreign_queue_keep_their_order(world: World) -> None:
    ids = [world.submit() for _ in range(5)]
    assert world.claim(5) == ids
    spoil(world, QUEUE)
    world.release(*((run_id, 1) for run_id in ids))
    mend(world, QUEUE)
    assert world.claim(5) == ids


def test_runs_that_wait_aside_are_in_the_order_of_their_claims(world: World) -> None:
    first, second = world.submit(), world.submit()
    assert world.claim() == [first]
    world.let_pass(0.002)
    assert world.claim() == [second]
    spoil(world, QUEUE)
    world.release((second, 1))
    world.release((first, 1))
    mend(world, QUEUE)
    assert world.claim(2) == [first, second]


@pytest.mark.parametrize("name", [QUEUE, "due", "live:j", "u:k"])
def test_submit_that_a_foreign_key_prevents_leaves_nothing_behind(world: World, name: str) -> None:
    spoil(world, name)
    with pytest.raises(JobctlError):
        world.answer("a" * 16, overlap="s", unique="k", expires_in=60)
    assert world.record("a" * 16) == {}
    mend(world, name)
    assert world.answer("a" * 16, overlap="s", unique="k", expires_in=60).kind == "ok"


@pytest.mark.parametrize("name", ["latest", "n", "b:default"])
def test_submit_is_answered_in_spite_of_a_foreign_key(world: World, name: str) -> None:
    spoil(world, name)
    run_id = world.submit()
    mend(world, name)
    assert world.claim() == [run_id]


@pytest.mark.parametrize("name", ["c:l:db", "pk:l:db", "lim", "rl:t:j", "h:j", "n", "bad"])
def test_run_is_not_failed_for_a_foreign_key_of_a_limit(world: World, name: str) -> None:
    world.limits(t_j="5:1000")
    run_id = world.submit(limits="l:db t:j")
    world.limits(l_db=0) if name == "pk:l:db" else world.limits(l_db=1)
    spoil(world, name)
    world.claim()
    assert world.state(run_id) in ("q", "p", "c")
    mend(world, name)
    world.limits(l_db=2, t_j="5:1000")
    assert world.claim() == [run_id] or world.state(run_id) == "c"


def test_foreign_claim_set_fails_no_run(world: World) -> None:
    run_id = world.submit()
    spoil(world, "own:h1~a/p.1")
    with pytest.raises(JobctlError):
        world.claim()
    assert world.state(run_id) == "q"
    mend(world, "own:h1~a/p.1")
    assert world.claim() == [run_id]


def test_run_under_way_is_claimed_again_whatever_its_limit_is(world: World) -> None:
    world.limits(l_db=1)
    run_id = world.submit(limits="l:db")
    spoil(world, "c:l:db")
    call = transitions.claim_again(world.keys, supervisor="h1~a", owner="h1~a/p.1", ids=[run_id])
    assert [claim.id for claim in world.run(call).claims] == [run_id]
    world.settle(run_id)
    mend(world, "c:l:db")


def test_foreign_claim_set_of_one_pool_does_not_stop_the_rescue_of_others(world: World) -> None:
    world.supervisor("h2~b")
    run_id = world.submit()
    world.claim(sid="h2~b")
    world.raw("SADD", world.keys.pools("h2~b"), "h2~b/p.2")
    spoil(world, "own:h2~b/p.2")
    reply = world.rescue("h2~b")
    assert (reply.moved, world.state(run_id)) == (1, "q")
    mend(world, "own:h2~b/p.2")


@pytest.mark.parametrize("letter", ["k", "x", "d", "v"])
@pytest.mark.parametrize("name", ALL)
def test_outcome_is_recorded_whatever_is_foreign(
    broken_world: World, name: str, letter: str
) -> None:
    world = broken_world
    world.limits(l_db=1, t_j="5:1000")
    run_id = world.running(
        limits="l:db t:j", unique="k", overlap="s", keep="5:1000000:5", expires_in=60
    )
    spoil(world, name)
    assert world.settle(run_id, letter, delay=60) == letter
    assert world.state(run_id) in (letter, "q" if name == "due" and letter == "d" else letter)
    if letter != "d":
        assert world.raw("PTTL", world.keys.run(run_id)) > 0


@pytest.mark.parametrize("name", ALL)
def test_every_run_of_a_release_goes_back_whatever_is_foreign(
    broken_world: World, name: str
) -> None:
    world = broken_world
    world.limits(l_db=5)
    first = world.submit(limits="l:db", unique="k", overlap="f", expires_in=60)
    second = world.submit(job="other")
    assert sorted(world.claim(5)) == sorted([first, second])
    spoil(world, name)
    assert world.release((first, 1), (second, 1)) == ("ok", "ok")
    assert world.states(first, second) == ("pp" if name == QUEUE else "qq")
    mend(world, name)
    assert sorted(world.claim(5)) == sorted([first, second])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("state", "qpdc")
def test_every_run_of_a_revoke_is_revoked_whatever_is_foreign(
    broken_world: World, name: str, state: str
) -> None:
    world = broken_world
    world.limits(l_db=0 if state == "p" else 5)
    later = {"start_in": 60} if state == "d" else {}
    options = {"limits": "l:db", "overlap": "f", "expires_in": 600, **later}
    first = world.submit(unique="k", **options)
    second = world.submit(**options)
    if state in "pc":
        world.claim(5)
    assert world.states(first, second) == state * 2
    spoil(world, name)
    world.revoke(first, second)
    after = "c" if state == "c" else "v"
    assert world.states(first, second) == after * 2
    for run_id in (first, second):
        assert (world.raw("PTTL", world.keys.run(run_id)) > 0) == (after == "v")
        assert ("cx" in world.record(run_id)) == (after == "c")


def test_message_that_a_foreign_mailbox_refuses_does_not_stop_a_revoke(world: World) -> None:
    first = world.running()
    second = world.submit()
    spoil(world, "mb:h1~a")
    world.revoke(first, second)
    assert world.state(second) == "v"
    # Whoever settles it sees the order.
    assert world.settle(first, "x") == "v"
    mend(world, "mb:h1~a")
