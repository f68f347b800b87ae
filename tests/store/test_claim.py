from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import membership, queries, transitions

if TYPE_CHECKING:
    from store_world import World

    from jobctl.model.run import Run


def bells(world: World, *names: str) -> list[int]:
    return [world.raw("LLEN", world.keys.bell(name)) for name in names]


def test_higher_priority_goes_first_and_equal_ones_in_order(world: World) -> None:
    ids = [world.submit(priority=p) for p in (0, 5, 9, 5, 0, 9)]
    order = [ids[i] for i in (2, 5, 1, 3, 0, 4)]
    assert world.claim(2) + world.claim(1) + world.claim(9) == order


def test_low_first_claim_begins_at_the_lowest_priority(world: World) -> None:
    ids = [world.submit(priority=p) for p in (0, 5, 9)]
    assert world.claim(2, low_first=True) == ids[:2]


def test_queues_are_served_in_the_order_asked_for(world: World) -> None:
    low, high = world.submit(queue="b", priority=9), world.submit(queue="a", priority=0)
    assert world.claim(2, queues=["a", "b"]) == [high, low]


def test_claim_tells_what_the_run_needs(world: World) -> None:
    run_id = world.submit(
        job="backup", queue="night", priority=7, max_attempts=4, kwargs={"db": "shop"}
    )
    reply = world.take(3, queues=["night"])
    (claim,) = reply.claims
    assert not reply.fenced
    assert not reply.more
    assert (claim.id, claim.job, claim.queue, claim.priority) == (run_id, "backup", "night", "7")
    assert (claim.epoch, claim.attempt, claim.lost, claim.max_attempts) == (1, 0, 0, "4")
    assert claim.first_started_at is None
    assert claim.due_at is None
    assert b'"k":{"db":"shop"}' in claim.envelope
    assert abs(claim.submitted_at - reply.now) < 5


def test_retry_is_claimed_with_its_past(world: World) -> None:
    run_id = world.running(max_attempts=3)
    world.settle(run_id, "d", delay=0.001)
    world.let_pass(0.002)
    claim = world.claim_one(run_id)
    assert (claim.epoch, claim.attempt) == (2, 1)
    assert claim.first_started_at == 1_700_000_000.0
    assert claim.due_at is not None


def test_claimed_retry_does_not_show_the_process_of_the_attempt_before(world: World) -> None:
    run_id = world.running(max_attempts=3)

    def shown() -> Run:
        run = world.run(queries.run(world.keys, run_id))
        assert run is not None
        return run

    assert shown().pid
    world.settle(run_id, "d", delay=0.001)
    assert shown().pid is None
    world.let_pass(0.002)
    world.claim_one(run_id)
    assert (shown().pid, shown().started_at) == (None, None)


def test_claim_says_whether_more_is_left(world: World) -> None:
    world.submit()
    world.submit()
    assert world.take(1).more
    assert not world.take(1).more


def test_left_work_keeps_its_bell_and_empty_queues_have_none(world: World) -> None:
    for _ in range(3):
        world.submit()
    assert bells(world, "default") == [1]
    world.raw("DEL", world.keys.bell("default"))
    world.take(1)
    assert bells(world, "default") == [1]
    world.take(5)
    assert bells(world, "default") == [0]


def test_full_claim_rings_for_queues_it_did_not_come_to(world: World) -> None:
    """The token that woke the pool may have been that of the second queue."""
    world.submit(queue="a")
    world.submit(queue="b")
    world.raw("DEL", world.keys.bell("a"), world.keys.bell("b"))
    reply = world.take(1, queues=["a", "b"])
    assert reply.more
    assert bells(world, "a", "b") == [0, 1]


def test_claim_of_nothing_gives_the_bell_back(world: World) -> None:
    world.submit(queue="b")
    world.raw("DEL", world.keys.bell("b"))
    assert world.take(0, queues=["a", "b"]).claims == ()
    assert bells(world, "a", "b") == [0, 1]


def test_unknown_owner_is_fenced(world: World) -> None:
    world.submit()
    assert world.take(sid="h9~z").fenced
    world.run(membership.register(world.keys, supervisor="h2~b", facts={"host": "h2"}))
    assert world.take(sid="h2~b").fenced, "a pool that was not added"


def test_claim_promotes_what_is_due_and_names_what_is_next(world: World) -> None:
    soon, later = world.submit(start_in=0.001), world.submit(start_in=60)
    world.let_pass(0.002)
    reply = world.take(5)
    assert [claim.id for claim in reply.claims] == [soon]
    assert reply.next_due is not None
    assert 55 < reply.next_due - reply.now < 61
    assert world.state(later) == "d"


def test_delayed_run_is_due_at_its_time(world: World) -> None:
    at = world.now() + 3600
    run_id = world.submit(start_at=at)
    assert abs(float(world.record(run_id)["nb"]) - at * 1000) < 1
    assert world.run(queries.due_ids(world.keys, most=5)) == [run_id]
    assert world.claim() == []


def test_time_in_the_past_is_due_at_once(world: World) -> None:
    assert world.claim_one(world.submit(start_at=1_000_000.0))


def test_earliest_due_run_rings_the_promoter(world: World) -> None:
    world.submit(start_in=60)
    assert bells(world, "@due") == [1]
    world.raw("DEL", world.keys.bell("@due"))
    world.submit(start_in=90)
    assert bells(world, "@due") == [0]
    world.submit(start_in=30)
    assert bells(world, "@due") == [1]


def test_expired_run_is_never_started(world: World) -> None:
    queued = world.submit(expires_in=0.001)
    delayed = world.submit(expires_in=0.001, start_in=60)
    world.limits(l_gate=0)
    parked = world.submit(limits="l:gate", expires_in=0.2)
    fine = world.submit(expires_in=60)
    assert world.claim(5) == [fine]
    world.until(lambda: world.promote() and world.state(parked) == "e")
    assert world.states(queued, delayed, parked, fine) == "eeec"
    assert world.reason(queued) == "deadline"


def test_start_deadline_counts_from_the_due_time(world: World) -> None:
    late = world.submit(start_at=1_000_000.0, start_deadline="1000")
    soon = world.submit(start_in=60, start_deadline="1000")
    assert world.claim(5) == []
    assert world.states(late, soon) == "ed"
    record = world.record(soon)
    assert int(record["xp"]) == int(record["nb"]) + 1000


def test_earlier_of_expiry_and_deadline_counts(world: World) -> None:
    first = world.record(world.submit(expires_in=1, start_deadline="60000"))
    second = world.record(world.submit(expires_in=60, start_deadline="1000"))
    assert int(first["xp"]) - int(first["t"]) == int(second["xp"]) - int(second["t"]) == 1000


def test_retry_of_a_started_run_does_not_expire(world: World) -> None:
    run_id = world.running(expires_in=0.05)
    world.settle(run_id, "d", delay=0.06)
    world.let_pass(0.07)
    world.promote()
    assert world.claim() == [run_id]


def test_claim_given_back_still_expires(world: World) -> None:
    run_id = world.submit(expires_in=0.5)
    world.claim_one(run_id)
    world.let_pass(0.51)
    world.promote()
    assert world.state(run_id) == "c"
    world.release((run_id, 1))
    world.promote()
    assert world.state(run_id) == "e"


def test_released_runs_keep_their_order_and_their_attempts(world: World) -> None:
    ids = [world.submit() for _ in range(4)]
    claims = world.take(3).claims
    assert world.release(*((claim.id, claim.epoch) for claim in claims)) == ("ok",) * 3
    again = world.take(4).claims
    assert [claim.id for claim in again] == ids
    assert {claim.attempt for claim in again} == {0}


def test_promotion_of_many_says_call_again(world: World) -> None:
    runs = [world.submit(start_in=60) for _ in range(101)]
    for run_id in runs:
        world.raw("ZADD", world.keys.due, 1, run_id)
    assert world.promote().again
    assert not world.promote().again
    assert set(world.states(*runs)) == {"q"}


def test_revoked_entries_of_a_long_queue_are_dropped_when_met(world: World) -> None:
    ids = [world.submit() for _ in range(3)]
    filler = ["zzzzzzzzzzzzzzzz"] * 2000
    world.raw("RPUSH", world.keys.queue("default", 5), *filler)
    world.revoke(*ids[:2])
    assert world.raw("LLEN", world.keys.queue("default", 5)) == 2003
    assert world.claim(1) == [ids[2]]
    while world.take(50).more:
        pass
    assert world.raw("EXISTS", world.keys.queue("default", 5)) == 0


def test_run_under_way_is_claimed_again_only_while_it_waits(world: World) -> None:
    """After a failover that lost the claim; whoever got it meanwhile keeps it."""
    world.limits(**{"l:db": 1})
    world.supervisor("h2~a")

    def again(run_id: str, sid: str) -> list[str]:
        call = transitions.claim_again(world.keys, supervisor=sid, owner=f"{sid}/p.1", ids=[run_id])
        return [claim.id for claim in world.run(call).claims]

    first, second = world.submit(limits="l:db"), world.submit(limits="l:db")
    world.claim_one(first)
    assert again(first, "h1~a") == []
    assert again(first, "h2~a") == []
    # It runs, whatever its limit says.
    assert again(second, "h2~a") == [second]
    holders = f"{world.keys.prefix}c:l:db"
    assert world.raw("SISMEMBER", holders, second) == 1
    assert world.states(first, second) == "cc"
    assert world.record(second)["o"] == "h2~a/p.1"
    assert world.claim() == []
    world.start(second, sid="h2~a")
    world.settle(second, "k", sid="h2~a")
    assert again(second, "h1~a") == []
    assert again("z" * 16, "h1~a") == []


def test_bell_of_a_queue_that_was_found_empty_rings_for_what_the_same_claim_wakes(
    world: World,
) -> None:
    world.limits(l_db=1)
    world.running(queue="b", limits="l:db")
    parked = world.submit(queue="a", limits="l:db")
    assert world.claim(1, queues=["a"]) == []
    late = world.submit(queue="b", limits="l:db", expires_in=0.001)
    due = world.submit(queue="a", start_in=0.001)
    world.let_pass(0.002)
    world.raw("ZREM", world.keys.due, "!l:db", f"^{late}")
    world.raw("HSET", world.keys.prefix + "lim", "l:db", 2)

    assert world.claim(9, queues=["a", "b"]) == [due]
    assert world.states(parked, late) == "qe"
    assert bells(world, "a") == [1]


def test_runs_claimed_together_are_told_their_own_epochs(world: World) -> None:
    again = world.submit()
    new = [world.submit(), world.submit()]
    world.claim_one(again)
    assert world.release((again, 1)) == ("ok",)
    claims = world.take(3).claims
    assert [claim.id for claim in claims] == [again, *new]
    assert [claim.epoch for claim in claims] == [
        int(world.record(claim.id)["ep"]) for claim in claims
    ]
    assert claims[0].epoch > claims[1].epoch == claims[2].epoch == 1


def test_run_that_ends_before_its_time_to_start_leaves_the_timetable(world: World) -> None:
    run_id = world.submit(expires_in=60)
    assert world.raw("ZSCORE", world.keys.due, f"^{run_id}") is not None
    world.claim_one(run_id)
    world.settle(run_id)
    assert world.raw("ZSCORE", world.keys.due, f"^{run_id}") is None
