"""Guards of the moves that nothing else would miss, each by what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.errors import JobctlError
from jobctl.store import decisions, settling, transitions
from jobctl.store.calls import Call
from jobctl.store.settling import Settlement
from jobctl.store.transitions import Answer

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
    parts[16] = b'{"v":1,"tr":"manual","y":"proof.of-it","z":"seal"}'
    world.run(Call(tuple(parts), lambda reply: reply, script="submit"))
    (message,) = world.raw("LRANGE", world.keys.mailbox("h1~a"), 0, -1)
    assert message.decode() == f"revoke {running} 1 replaced - - 1 proof.of-it"
    assert world.record(running)["cx"] == "replaced - - 1"


def test_id_that_is_taken_by_something_else_is_known_whenever_its_run_would_start(
    world: World,
) -> None:
    world.raw("SET", world.keys.run("taken"), "?")
    assert world.answer("taken", start_in=60) == Answer("dup", "x")
    assert world.answer("taken") == Answer("dup", "x")
    world.raw("DEL", world.keys.run("taken"))


def test_start_deadline_of_a_run_that_is_ready_at_once_is_its_expiry(world: World) -> None:
    run_id = world.submit(start_deadline="60000")
    found = world.record(run_id)
    assert int(found["xp"]) == int(found["t"]) + 60_000
    world.raw("HSET", world.keys.run(run_id), "xp", 1)
    assert world.claim() == []
    assert world.state(run_id) == "e"


def test_run_with_moments_that_queues_behind_all_is_not_watched(world: World) -> None:
    run_id = world.submit(overlap="a", expires_in=60)
    assert "lv" not in world.record(run_id)
    assert world.raw("EXISTS", world.keys.live("j")) == 0


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


def test_plain_runs_leave_nothing_behind_when_their_queue_is_none(world: World) -> None:
    runs = [new_run(), new_run()]
    world.raw("SET", world.keys.queue("default", 5), "?")
    with pytest.raises(JobctlError):
        world.run(transitions.submit(world.keys, runs))
    assert [world.record(run.request.id) for run in runs] == [{}, {}]
    world.raw("DEL", world.keys.queue("default", 5))
    answers = world.run(transitions.submit(world.keys, runs))
    assert {answer.kind for answer in answers} == {"ok"}


def test_run_whose_time_has_come_already_is_ready_at_once(world: World) -> None:
    run_id = world.submit(start_at=world.now() - 5)
    assert world.state(run_id) == "q"
    assert not world.raw("EXISTS", world.keys.due)


def test_skipped_run_is_kept_as_long_as_its_job_says(world: World) -> None:
    world.running(overlap="s")
    skipped = new_run(overlap="s", keep="3:50000:")
    world.run(transitions.submit(world.keys, [skipped]))
    assert 0 < world.raw("PTTL", world.keys.run(skipped.request.id)) <= 50000


def test_new_run_is_behind_one_that_came_back_without_a_number(world: World) -> None:
    run_id = world.submit()
    world.claim()
    world.settle(run_id, "d", delay=60)
    world.raw("ZADD", world.keys.due, 1, run_id)
    world.promote()
    later = world.submit()
    assert world.claim(2) == [run_id, later]


def test_supervisor_that_is_half_rescued_claims_nothing(world: World) -> None:
    world.supervisor("h2~b")
    world.run(transitions.submit(world.keys, [new_run() for _ in range(130)]))
    assert len(world.claim(130, sid="h2~b")) == 130
    assert world.rescue("h2~b").left
    reply = world.take(sid="h2~b")
    assert (reply.fenced, reply.claims) == (True, ())
    world.rescue("h2~b")


def test_run_that_cannot_even_be_parked_fails_and_the_next_is_claimed(broken_world: World) -> None:
    world = broken_world
    world.limits(l_db=0)
    first, second = world.submit(limits="l:db"), world.submit()
    for name in ("pk:l:db", "pk:q:default"):
        world.raw("SET", world.keys.prefix + name, "?")
    assert world.claim(2) == [second]
    assert world.state(first) == "x"


def test_outcome_of_a_run_that_can_be_put_nowhere_stops_no_other(broken_world: World) -> None:
    world = broken_world
    first, second = world.submit(), world.submit(queue="other")
    world.claim(2, queues=["default", "other"])
    for name in ("q:default:5", "pk:q:default"):
        world.raw("SET", world.keys.prefix + name, "?")
    done = ("du", "1")
    items = [
        Settlement(first, 1, "d", "exit", 0.0, done),
        Settlement(second, 1, "k", "", 0.0, done),
    ]

    answers = world.run(settling.settle(world.keys, owner="h1~a/p.1", items=items))
    assert answers == ("x", "k")
    assert world.states(first, second) == "xk"


def test_attempt_that_follows_at_once_is_ahead_of_what_waits(world: World) -> None:
    run_id = world.running()
    other = world.submit()
    assert world.settle(run_id, "d") == "d"
    assert world.claim(2) == [run_id, other]


def test_release_of_a_lost_run_is_no_broken_record(world: World) -> None:
    run_id = world.submit()
    world.claim()
    world.raw("DEL", world.keys.run(run_id))
    assert world.release((run_id, 1)) == ("stale",)
    assert not world.raw("EXISTS", world.keys.own("h1~a/p.1"))


def test_scheduled_run_that_comes_due_takes_the_place_of_a_retry(world: World) -> None:
    retry = world.running(overlap="s")
    world.settle(retry, "d", reason="exit", delay=60)
    (last,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g"}))
    world.let_pass(0.002)
    run = new_run(overlap="s", start_in=60)
    call = decisions.tick(
        world.keys, schedule="s", generation="g", previous=last, instant=last + 0.001,
        following=None, kind="fire", who="w", run=run,
    )  # fmt: skip
    assert world.run(call).answer.kind == "ok"
    world.raw("ZADD", world.keys.due, 1, run.request.id)
    world.promote()
    assert world.states(retry, run.request.id) == "xq"
    assert world.reason(retry) == "exit"
