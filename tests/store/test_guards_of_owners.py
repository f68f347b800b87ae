"""Guards of what owners say and of rescues, each by what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.store import decisions, membership, queries, transitions
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from store_world import World


def owned(world: World, owner: str = "h1~a/p.1") -> list[str]:
    return world.run(queries.owned(world.keys, owner))


def nowhere(world: World) -> None:
    """Runs of the queue "default" can be put nowhere now."""
    for name in ("q:default:5", "pk:q:default"):
        world.raw("SET", world.keys.prefix + name, "?")


def note(world: World, run_id: str, epoch: int = 1, sid: str = "h1~a") -> int:
    items = [(run_id, epoch, "{}")]
    return world.run(transitions.note(world.keys, owner=f"{sid}/p.1", items=items))


def test_only_the_owner_releases(world: World) -> None:
    world.supervisor("h2~b")
    run_id = world.submit()
    world.claim()
    assert world.release((run_id, 1), sid="h2~b") == ("stale",)
    assert (world.state(run_id), owned(world)) == ("c", [run_id])


def test_what_was_started_is_not_released(world: World) -> None:
    run_id = world.running()
    assert world.release((run_id, 1)) == ("stale",)
    assert (world.state(run_id), owned(world)) == ("r", [run_id])


def test_revoked_claim_that_is_released_ends_for_the_reason_it_was_revoked(world: World) -> None:
    run_id = world.submit()
    world.claim()
    assert world.revoke(run_id, reason="why") == ("c c",)
    assert world.release((run_id, 1)) == ("ok",)
    assert (world.state(run_id), world.reason(run_id)) == ("v", "why")
    assert world.counters()["v"] == 1


def test_revoke_ends_what_waits_for_its_reason_and_nothing_that_ended(world: World) -> None:
    waits, ended = world.submit(), world.submit(queue="other")
    world.settle(*world.claim(queues=["other"]))
    assert world.revoke(waits, ended, "e" * 16, reason="why") == ("q v", "k k", "-")
    assert (world.reason(waits), world.reason(ended)) == ("why", None)
    assert world.counters()["v"] == 1


def test_progress_counts_from_the_claim_to_the_end_and_from_the_owner_only(world: World) -> None:
    world.supervisor("h2~b")
    run_id = world.submit()
    world.claim()
    assert note(world, run_id) == 1
    assert note(world, run_id, sid="h2~b") == 0
    assert note(world, run_id, epoch=2) == 0
    world.start(run_id)
    assert note(world, run_id) == 1
    world.settle(run_id)
    assert note(world, run_id) == 0


def test_signature_is_given_only_to_what_is_as_it_was(world: World) -> None:
    waits, changed, ended = world.submit(), world.submit(), world.submit(queue="other")
    world.settle(*world.claim(queues=["other"]))
    before = world.record(waits)["e"]
    words = [word for run_id in (waits, ended, "e" * 16) for word in (run_id, before, "new")]
    parts = (world.keys.prefix, *words, changed, "another", "new")
    assert world.run(Call(parts, lambda reply: reply, script="seal")) == 1
    assert [world.record(run_id)["e"] for run_id in (waits, changed, ended)] == [
        "new", before, before,
    ]  # fmt: skip
    assert not world.raw("EXISTS", world.keys.prefix + "bad")
    world.raw("HSET", world.keys.run(waits), "e", before)


@pytest.mark.parametrize("state", ["elsewhere", "queued"])
def test_rescue_leaves_what_the_dead_one_does_not_own(world: World, state: str) -> None:
    world.supervisor("h2~b")
    run_id = world.submit()
    if state == "elsewhere":
        world.claim()
    else:
        world.raw("HSET", world.keys.run(run_id), "o", "h2~b/p.1", "ep", 1)
    before = world.record(run_id)
    world.raw("SADD", world.keys.own("h2~b/p.1"), run_id)
    world.rescue("h2~b")
    assert world.record(run_id) == before
    assert owned(world, "h2~b/p.1") == []


def test_items_of_a_rescue_that_the_owner_does_not_have_are_left_alone(world: World) -> None:
    world.supervisor("h2~b")
    run_id = world.submit()
    world.claim()
    reply = world.rescue("h2~b", owner="h2~b/p.1", items=[(run_id, 1)])
    assert (reply.moved, world.state(run_id)) == (0, "c")
    world.raw("SADD", world.keys.own("h2~b/p.1"), run_id)
    world.rescue("h2~b", owner="h2~b/p.1", items=[(run_id, 1)])
    assert (world.state(run_id), owned(world, "h2~b/p.1")) == ("c", [])


@pytest.mark.parametrize("items", [False, True])
def test_run_that_can_be_put_nowhere_does_not_stop_a_rescue(
    broken_world: World,
    items: bool,  # noqa: FBT001
) -> None:
    world = broken_world
    first, second = world.submit(), world.submit(queue="other")
    world.claim(2, queues=["default", "other"])
    nowhere(world)
    claims = [(first, 1), (second, 1)] if items else []
    reply = world.rescue(owner="h1~a/p.1", items=claims)
    assert (reply.moved, world.states(first, second)) == (2, "xq")
    assert owned(world) == []


def test_lost_run_says_so_and_poison_says_why(world: World) -> None:
    run_id = world.submit()
    for number in range(3):
        sid = f"h{number}~x"
        world.supervisor(sid)
        claim = world.claim_one(run_id, sid=sid)
        world.start(run_id, claim.epoch, sid=sid)
        world.rescue(sid)
        assert world.reason(run_id) == ("lost" if number < 2 else "poison")
    assert "died three times" in world.record(run_id)["er"]
    # Whoever seemed to be dead is told that it was fenced, not that it was settled.
    assert world.settle(run_id, epoch=claim.epoch, sid=sid) == "stale"


def test_supervisor_with_full_pools_stays_on_the_list_until_all_are_empty(world: World) -> None:
    world.supervisor("h2~b")
    world.run(membership.add_pool(world.keys, supervisor="h2~b", owner="h2~b/p.2"))
    world.run(transitions.submit(world.keys, [new_run() for _ in range(200)]))
    for owner in ("h2~b/p.1", "h2~b/p.2"):
        call = transitions.claim(
            world.keys, supervisor="h2~b", owner=owner, want=100, queues=["default"]
        )
        assert len(world.run(call).claims) == 100
    assert world.rescue("h2~b").left > 0
    assert "h2~b" in world.run(queries.supervisors(world.keys))
    assert world.rescue("h2~b").left == 0
    assert world.run(queries.supervisors(world.keys)) == ["h1~a"]


@pytest.mark.parametrize("name", ["latest", "sh:s"])
@pytest.mark.parametrize("script", ["tick", "boot"])
def test_schedule_fires_in_spite_of_a_foreign_key(world: World, name: str, script: str) -> None:
    world.raw("SET", world.keys.prefix + name, "?")
    (last,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g"}))
    world.let_pass(0.002)
    run = new_run(overlap="s")
    if script == "tick":
        call = decisions.tick(
            world.keys, schedule="s", generation="g", previous=last, instant=last + 0.001,
            following=None, kind="fire", who="w", run=run,
        )  # fmt: skip
        assert world.run(call).answer.kind == "ok"
    else:
        again = decisions.boot(world.keys, schedule="s", host="h", boot_id="1", who="w", run=run)
        assert world.run(again).kind == "ok"
    assert world.record(run.request.id)["lv"] == "S"
    world.raw("DEL", world.keys.prefix + name)


def test_supervisor_whose_claims_cannot_be_counted_may_leave(world: World) -> None:
    world.supervisor("h2~b")
    world.raw("SET", world.keys.own("h2~b/p.1"), "?")
    assert world.run(membership.leave(world.keys, supervisor="h2~b")) == 0
    world.raw("DEL", world.keys.own("h2~b/p.1"))


def test_beat_of_an_unknown_supervisor_is_told_from_that_of_a_lost_one(world: World) -> None:
    world.supervisor("h2~b")
    world.rescue("h2~b")
    replies = [
        world.run(membership.beat(world.keys, supervisor=sid, load="", owners=[]))
        for sid in ("h2~b", "h9~z")
    ]
    assert [(reply.fenced, reply.unknown) for reply in replies] == [(True, False), (True, True)]


def test_run_that_expires_when_it_is_due_is_counted(world: World) -> None:
    run_id = world.submit(expires_in=60)
    world.raw("HSET", world.keys.run(run_id), "xp", 1)
    world.raw("ZADD", world.keys.due, 1, f"^{run_id}")
    world.promote()
    assert world.counters()["e"] == 1


def test_run_that_cannot_be_ended_properly_stops_no_other_and_expires(broken_world: World) -> None:
    world = broken_world
    first, second = world.submit(keep=f"3:{10**30}:"), world.submit()
    world.revoke(first, second)
    assert world.states(first, second) == "vv"
    for run_id in (first, second):
        assert world.raw("PTTL", world.keys.run(run_id)) > 0


def test_outcome_that_was_recorded_is_answered_though_its_retention_is_nonsense(
    broken_world: World,
) -> None:
    world = broken_world
    run_id = world.running(keep=f"3:{10**30}:")
    assert (world.settle(run_id), world.state(run_id)) == ("k", "k")


def test_settling_what_is_not_ours_takes_it_out_of_our_claims(world: World) -> None:
    other = world.running()
    world.raw("SADD", world.keys.own("h2~b/p.1"), other, "a" * 16)
    assert world.settle(other, sid="h2~b") == "stale"
    assert world.settle("a" * 16, sid="h2~b") == "gone"
    assert world.raw("SMEMBERS", world.keys.own("h2~b/p.1")) == []
    assert world.state(other) == "r"


def test_run_that_its_owner_refuses_is_on_the_list_of_the_bad(broken_world: World) -> None:
    world = broken_world
    run_id, fine = world.running(), world.running()
    world.settle(fine, "x", reason="exit")
    world.settle(run_id, "x", reason="bad_payload")
    assert world.raw("LRANGE", world.keys.prefix + "bad", 0, -1) == [run_id.encode()]


def test_what_runs_is_not_stopped_by_what_queues_behind_it(world: World) -> None:
    first = world.running(overlap="l", limits="o:j")
    world.submit(overlap="l", limits="o:j")
    assert "cx" not in world.record(first)
