from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.store import queries, transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from store_world import World


def holders(world: World, limit: str) -> set[str]:
    return set(world.run(queries.holders(world.keys, limit)))


@pytest.mark.parametrize("limit", ["j:j", "q:default", "l:db"])
def test_limit_parks_what_is_over_it(world: World, limit: str) -> None:
    world.limits(**{limit.replace(":", "_"): 2})
    ids = [world.submit(limits=limit) for _ in range(4)]
    assert world.claim(9) == ids[:2]
    assert world.states(*ids) == "ccpp"
    assert holders(world, limit) == set(ids[:2])
    assert world.run(queries.run(world.keys, ids[2])).waits_for == limit
    world.settle(ids[0])
    assert world.states(*ids) == "kcqp"
    assert world.claim(9) == [ids[2]]


def test_other_jobs_run_past_a_full_limit(world: World) -> None:
    world.limits(l_db=1)
    world.running(limits="l:db")
    blocked = world.submit(limits="l:db")
    free = world.submit(job="other")
    assert world.claim(2) == [free]
    assert world.state(blocked) == "p"


def test_limit_without_a_size_lets_everything_through(world: World) -> None:
    ids = [world.submit(limits="l:none") for _ in range(3)]
    assert world.claim(5) == ids


FREES: dict[str, Callable[[World, str], object]] = {
    "settle": lambda world, i: world.settle(i),
    "retry": lambda world, i: world.settle(i, "d", delay=60),
    "failure": lambda world, i: world.settle(i, "x"),
    "release": lambda world, i: world.release((i, 1)),
    "rescue": lambda world, _: world.rescue("h2~b"),
    "revoke": lambda world, i: world.revoke(i) and world.settle(i, "v"),
    "limit raised": lambda world, _: world.limits(l_db=2),
    "limit removed": lambda world, _: world.limits(l_db=""),
}


@pytest.mark.parametrize("how", FREES)
def test_parked_run_is_let_through_when_a_slot_frees(world: World, how: str) -> None:
    owner = "h2~b" if how == "rescue" else "h1~a"
    if how == "rescue":
        world.supervisor(owner)
    world.limits(l_db=1)
    holder = world.submit(limits="l:db")
    world.claim_one(holder, sid=owner)
    parked = world.submit(limits="l:db")
    assert world.claim() == []
    if how in ("release", "rescue"):
        # They put the holder in front; it must not matter.
        FREES[how](world, holder)
        assert world.states(holder, parked) == "qq"
        assert world.claim(5) == [holder]
        assert world.settle(holder, "k", epoch=3) == "k"
    else:
        FREES[how](world, holder)
    assert world.claim() == [parked]


@pytest.mark.parametrize("how", ["revoke", "expire"])
def test_end_of_a_run_that_was_let_through_passes_the_slot_on(world: World, how: str) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    first, second = (world.submit(limits="l:db") for _ in range(2))
    world.claim()
    world.settle(holder)
    assert world.states(first, second) == "qp"
    if how == "revoke":
        world.revoke(first)
    else:
        world.raw("HSET", world.keys.run(first), "xp", 1)
        world.claim()
    assert world.claim() == [second] or world.state(second) == "c"


def test_revoking_a_parked_run_takes_it_out_of_the_line(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    first, second = (world.submit(limits="l:db") for _ in range(2))
    world.claim()
    world.revoke(first)
    assert world.run(queries.parked_ids(world.keys, "l:db", newest=5)) == [second]
    world.settle(holder)
    assert world.claim() == [second]


def test_slots_are_given_in_the_order_of_arrival(world: World) -> None:
    world.limits(l_db=0)
    ids = [world.submit(limits="l:db") for _ in range(5)]
    assert world.claim(5) == []
    world.limits(l_db=3)
    assert world.claim(5) == ids[:3]
    world.settle(ids[0])
    world.settle(ids[1])
    assert world.claim(5) == ids[3:]


def test_second_look_does_not_let_a_later_run_overtake(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    first, second = (world.submit(limits="l:db") for _ in range(2))
    world.claim(5)
    world.settle(holder)
    world.raw("ZADD", world.keys.due, 1, "!l:db")
    assert world.claim(5) == [first]
    world.settle(first)
    assert world.claim(5) == [second]


def test_run_that_lost_the_race_keeps_its_place_in_line(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    first, second = (world.submit(limits="l:db") for _ in range(2))
    world.claim()
    world.settle(holder)
    fast = world.submit(limits="l:db", priority=9)
    assert world.claim(1) == [fast]
    world.claim(1)
    assert world.states(first, second) == "pp"
    world.settle(fast)
    assert world.claim(5) == [first]


def test_run_needing_two_limits_takes_both_or_none(world: World) -> None:
    world.limits(l_a=1, l_b=1)
    holder = world.running(limits="l:b")
    both = world.submit(limits="l:a l:b")
    only_a = world.submit(limits="l:a")
    assert world.claim(5) == [only_a]
    assert world.state(both) == "p"
    assert holders(world, "l:a") == {only_a}
    world.settle(only_a)
    world.settle(holder)
    assert world.claim(5) == [both]


def test_slot_is_not_lost_by_a_run_that_waits_for_another_limit(world: World) -> None:
    world.limits(l_a=1, l_b=1)
    a, b = world.running(limits="l:a"), world.running(limits="l:b")
    both = world.submit(limits="l:a l:b")
    only_a = world.submit(limits="l:a")
    assert world.claim(5) == []
    assert world.states(both, only_a) == "pp"
    world.settle(a)
    # The one that needs both is let through, meets the other limit, and hands the slot on.
    assert world.claim(5) == [only_a]
    world.settle(only_a)
    world.settle(b)
    assert world.claim(5) == [both]


def test_slot_let_through_to_an_unserved_queue_is_given_to_others(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    unserved = world.submit(limits="l:db", queue="nobody")
    world.claim(queues=["nobody"])
    served = world.submit(limits="l:db")
    world.claim()
    world.settle(holder)
    assert world.states(unserved, served) == "qp"
    world.until(lambda: world.claim() == [served])


def test_hundreds_of_revoked_runs_ahead_do_not_strand_a_parked_one(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    parked = world.keys.parked("l:db")
    last = world.submit(limits="l:db")
    world.claim()
    world.raw("LPUSH", parked, *(f"stale{i}" for i in range(250)))
    world.settle(holder)
    world.until(lambda: world.claim() == [last])


def test_holder_that_ended_without_giving_back_is_dropped(world: World) -> None:
    world.limits(l_db=1)
    world.raw("SADD", world.keys.holders("l:db"), "gonegonegonegone")
    run_id = world.submit(limits="l:db")
    assert world.claim() == [run_id]


def test_stale_holder_does_not_keep_parked_runs_for_ever(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    parked = world.submit(limits="l:db")
    world.claim()
    # What a loss of data may leave behind.
    world.raw("DEL", world.keys.run(holder))
    world.raw("SREM", world.keys.own("h1~a/p.1"), holder)
    world.raw("ZADD", world.keys.due, 1, "!l:db")
    assert world.claim() == [parked]


def test_lowered_limit_with_a_stale_holder_lets_nobody_through(world: World) -> None:
    world.limits(l_db=3)
    running = [world.running(limits="l:db") for _ in range(3)]
    world.limits(l_db=1)
    world.raw("SADD", world.keys.holders("l:db"), "gonegonegonegone")
    late = world.submit(limits="l:db")
    for _ in range(20):
        assert world.claim() == []
    world.raw("SREM", world.keys.holders("l:db"), "gonegonegonegone")
    for run_id in running:
        world.settle(run_id)
    assert world.claim() == [late]


def test_limit_of_none_holds_everything_until_it_is_raised(world: World) -> None:
    world.limits(q_default=0)
    ids = [world.submit(limits="q:default") for _ in range(2)]
    assert world.claim(5) == []
    assert world.states(*ids) == "pp"
    world.limits(q_default=1)
    assert world.claim(5) == ids[:1]


def test_setting_limits_counts_changes(world: World) -> None:
    assert world.limits(l_a=1, l_b=2) == 2
    assert world.limits(l_a=1, l_b=3) == 1
    assert world.limits(l_a="") == 1
    assert world.run(queries.limit_sizes(world.keys)) == {"l:b": "3"}


def test_two_hundred_parked_runs_all_run_one_at_a_time(world: World) -> None:
    world.limits(j_j=1)
    ids = [new_run(limits="j:j") for _ in range(200)]
    world.run(transitions.submit(world.keys, ids))
    done = []
    while len(done) < 200:
        (claim,) = world.take(4).claims
        world.settle(claim.id, epoch=claim.epoch)
        done.append(claim.id)
    assert done == [run.request.id for run in ids]


def granted(world: World, count: int) -> list[tuple[float, str]]:
    """Claim until ``count`` runs came; return when each did."""
    out: list[tuple[float, str]] = []

    def more() -> bool:
        reply = world.take(9)
        for claim in reply.claims:
            out.append((reply.now, claim.id))
            world.settle(claim.id, epoch=claim.epoch)
        return len(out) >= count

    world.until(more)
    return out


def test_rate_is_never_exceeded_and_never_stalls(world: World) -> None:
    world.limits(t_j="10:200")
    ids = [world.submit(limits="t:j") for _ in range(40)]
    began = world.now()
    grants = granted(world, 40)
    assert [run_id for _, run_id in grants] == ids
    for position, (at, _) in enumerate(grants):
        # A bucket of 10 that fills by one every 20 ms.
        assert position + 1 <= 10 + (at - began) / 0.020 + 0.1
    assert grants[-1][0] - began < 0.6 + 3


def give_token(world: World) -> None:
    """As if the period of the rate t:j had passed."""
    world.raw("DEL", world.keys.prefix + "rl:t:j")
    world.raw("ZADD", world.keys.due, 0, "!t:j")


def test_token_is_not_lost_by_a_run_that_waits_for_another_limit(world: World) -> None:
    world.limits(t_j="1:60000", l_db=1)
    holder = world.running(job="other", limits="l:db")
    first = world.running(limits="t:j")
    blocked = world.submit(limits="t:j l:db")
    free = world.submit(limits="t:j")
    world.claim(5)
    assert world.states(blocked, free) == "pp"
    give_token(world)
    assert world.claim(5) == [free]
    world.settle(first)
    world.settle(holder)
    give_token(world)
    assert world.claim(5) == [blocked]


def test_token_survives_the_revoke_of_the_run_it_woke(world: World) -> None:
    world.limits(t_j="1:400")
    world.running(limits="t:j")
    first, second = (world.submit(limits="t:j") for _ in range(2))
    world.claim(5)
    world.until(lambda: world.promote() and world.state(first) == "q")
    world.revoke(first)
    world.until(lambda: world.claim(5) == [second])


def test_removed_rate_lets_all_go(world: World) -> None:
    world.limits(t_j="1:60000")
    ids = [world.submit(limits="t:j") for _ in range(4)]
    assert world.claim(5) == ids[:1]
    world.limits(t_j="")
    assert world.claim(5) == ids[1:]


def test_store_clock_set_back_does_not_stop_a_rate(world: World) -> None:
    world.limits(t_j="1:30")
    world.raw("SET", world.keys.prefix + "rl:t:j", str((world.now() + 3600) * 1000))
    run_id = world.submit(limits="t:j")
    world.until(lambda: world.claim() == [run_id])


def test_nonsense_for_a_rate_limits_nothing(world: World) -> None:
    world.limits(t_j="often")
    run_id = world.submit(limits="t:j")
    assert world.claim() == [run_id]
