"""Guards of the scripts that nothing else would miss, each by what happens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError
from jobctl.store import queries, transitions
from jobctl.store.calls import Call

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
    run_id = world.submit(limits="t:j" if name == "rl:t:j" else "l:db")
    key = world.keys.prefix + name
    world.raw("DEL", key)
    world.raw("RPUSH", key, "?")
    assert world.claim() == []
    assert world.state(run_id) == "p"
    world.raw("DEL", key)


def test_entry_of_a_run_that_ended_does_not_bring_it_back(world: World) -> None:
    world.limits(l_db=0)
    run_id = world.submit(limits="l:db")
    world.claim()
    world.revoke(run_id)
    world.raw("RPUSH", world.keys.parked("l:db"), run_id)
    world.limits(l_db=1)
    assert (world.state(run_id), world.claim()) == ("v", [])


def test_entry_of_a_run_parked_elsewhere_does_not_let_it_through(world: World) -> None:
    world.limits(l_a=0, l_b=0)
    run_id = world.submit(limits="l:b")
    world.claim()
    world.raw("RPUSH", world.keys.parked("l:a"), run_id)
    world.limits(l_a=1)
    assert world.state(run_id) == "p"
    world.limits(l_b=1)
    assert world.claim() == [run_id]


def test_run_that_waits_aside_keeps_its_place(world: World) -> None:
    world.limits(l_db=1)
    holder = world.running(limits="l:db")
    first = world.submit(limits="l:db")
    world.claim()
    world.let_pass(0.002)
    second = world.submit()
    world.claim()
    world.raw("SET", world.keys.queue("default", 5), "?")
    world.release((second, 1))
    world.settle(holder)
    assert world.states(first, second) == "pp"
    world.raw("DEL", world.keys.queue("default", 5))
    world.raw("ZADD", world.keys.due, 1, "!q:default")
    assert world.claim(5) == [first, second]


def test_end_of_a_run_does_not_free_the_lock_of_another(broken_world: World) -> None:
    world = broken_world
    run_id, other = world.running(unique="k"), world.submit()
    world.raw("SET", world.keys.prefix + "u:k", other)
    world.settle(run_id)
    assert world.raw("GET", world.keys.prefix + "u:k") == other.encode()


def its_time_passed(world: World, run_id: str) -> None:
    world.raw("HSET", world.keys.run(run_id), "xp", 1)
    world.raw("ZADD", world.keys.due, 1, f"^{run_id}")
    world.promote()


def test_run_that_was_started_once_does_not_expire(world: World) -> None:
    run_id = world.running(expires_in=60)
    world.supervisor("h2~b")
    world.rescue()
    its_time_passed(world, run_id)
    assert world.claim(sid="h2~b") == [run_id]


def test_claimed_run_does_not_expire_and_does_when_it_is_put_back(world: World) -> None:
    run_id = world.submit(expires_in=60)
    world.claim()
    its_time_passed(world, run_id)
    assert world.state(run_id) == "c"
    world.release((run_id, 1))
    world.promote()
    assert world.state(run_id) == "e"


def test_expiry_of_a_run_that_ended_changes_nothing(world: World) -> None:
    run_id = world.submit(expires_in=0.01)
    world.revoke(run_id)
    world.raw("ZADD", world.keys.due, 1, f"^{run_id}")
    world.let_pass(0.02)
    world.promote()
    assert world.state(run_id) == "v"


def test_expiry_does_not_start_a_run_before_its_time(world: World) -> None:
    run_id = world.submit(start_in=60, expires_in=120)
    world.raw("ZADD", world.keys.due, 1, f"^{run_id}")
    world.promote()
    assert world.state(run_id) == "d"
    world.raw("ZADD", world.keys.due, 9e12, f"^{run_id}")


def test_due_entry_of_a_run_in_hand_does_not_queue_it(world: World) -> None:
    run_id = world.running()
    world.raw("ZADD", world.keys.due, 1, run_id)
    world.promote()
    assert world.state(run_id) == "r"


def test_hundreds_of_stale_siblings_hide_no_running_one(broken_world: World) -> None:
    world = broken_world
    run_id = world.running(overlap="s")
    world.raw("SADD", world.keys.live("j"), *(f"stale{i}" for i in range(900)))
    assert str(world.answer(overlap="s")) == f"Answer(kind='skip', detail='{run_id}')"


def test_run_that_holds_its_slot_already_may_have_it(world: World) -> None:
    # A failover lost the claims and kept the slots. Of those, a claim drops one, by chance.
    world.limits(l_db=22)
    for _ in range(19):
        world.running(limits="l:db")
    ids = [world.submit(limits="l:db") for _ in range(3)]
    world.raw("SADD", world.keys.holders("l:db"), *ids)
    assert world.claim(3) == ids


def test_lost_run_in_a_queue_is_not_taken_for_a_broken_one(broken_world: World) -> None:
    world = broken_world
    run_id = world.submit()
    world.raw("DEL", world.keys.run(run_id))
    assert world.claim() == []
    assert not exists(world, "bad")


def test_entry_in_another_queue_does_not_let_a_run_be_claimed_from_there(world: World) -> None:
    run_id = world.submit()
    world.raw("RPUSH", world.keys.queue("other", 5), run_id)
    assert world.claim(queues=["other"]) == []
    assert world.claim() == [run_id]


def test_queue_without_a_level_that_is_a_list_stops_no_claim(broken_world: World) -> None:
    world = broken_world
    for priority in range(10):
        world.raw("SET", world.keys.queue("default", priority), "?")
    run_id = world.submit(queue="other")
    assert world.claim(queues=["default", "other"]) == [run_id]
    assert not world.take(queues=["default"]).more


def test_claim_tells_when_something_is_due(world: World) -> None:
    assert world.take().next_due is None
    world.submit(start_in=60)
    run_id = world.submit()
    due = world.now() + 60
    assert world.take().next_due == pytest.approx(due, abs=1)
    world.release((run_id, 1))
    call = transitions.claim_again(world.keys, supervisor="h1~a", owner="h1~a/p.1", ids=[run_id])
    assert world.run(call).next_due == pytest.approx(due, abs=1)
    assert world.promote().next_due == pytest.approx(due, abs=1)


def test_claim_takes_the_token_of_an_empty_queue(world: World) -> None:
    run_id = world.submit()
    assert exists(world, "b:default")
    assert world.claim() == [run_id]
    assert not exists(world, "b:default")


def test_note_of_a_record_of_another_type_stops_no_other(broken_world: World) -> None:
    world = broken_world
    run_id = world.running()
    world.raw("SET", world.keys.run("e" * 16), "?")
    items = [("e" * 16, 1, "{}"), (run_id, 1, '{"percent":5}')]
    assert world.run(transitions.note(world.keys, owner="h1~a/p.1", items=items)) == 1
    assert world.record(run_id)["pg"] == '{"percent":5}'


def test_stale_release_leaves_the_next_claim_of_the_same_owner(world: World) -> None:
    run_id = world.submit()
    world.claim()
    world.release((run_id, 1))
    world.claim()
    assert world.release((run_id, 1)) == ("stale",)
    assert world.run(queries.owned(world.keys, "h1~a/p.1")) == [run_id]


def test_foreign_mailbox_does_not_fail_what_is_to_stop(broken_world: World) -> None:
    world = broken_world
    run_id = world.running()
    world.raw("SET", world.keys.mailbox("h1~a"), "?")
    assert world.revoke(run_id) == ("r r",)
    assert world.state(run_id) == "r"


@pytest.mark.parametrize("what", ["no queue", "foreign"])
def test_broken_run_in_a_line_is_set_aside(broken_world: World, what: str) -> None:
    world = broken_world
    world.limits(l_db=0)
    run_id = world.submit(limits="l:db")
    world.claim()
    if what == "foreign":
        world.raw("DEL", world.keys.run(run_id))
        world.raw("SET", world.keys.run(run_id), "?")
    else:
        world.raw("HDEL", world.keys.run(run_id), "q")
    world.limits(l_db=1)
    assert world.raw("LRANGE", world.keys.prefix + "bad", 0, -1) == [run_id.encode()]
    if what != "foreign":
        assert world.state(run_id) == "x"


def test_line_that_cannot_be_read_is_looked_at_again(broken_world: World) -> None:
    world = broken_world
    world.limits(l_db=1)
    run_id = world.running(limits="l:db")
    world.raw("SET", world.keys.parked("l:db"), "?")
    world.settle(run_id)
    assert world.raw("ZSCORE", world.keys.due, "!l:db") is not None


def test_ended_run_leaves_no_expiry_behind(world: World) -> None:
    first, second = world.submit(expires_in=60), world.running(queue="o", expires_in=60)
    world.revoke(first)
    world.settle(second)
    assert not exists(world, "due")


def test_history_that_became_far_too_long_shrinks_a_hundred_at_a_time(broken_world: World) -> None:
    world = broken_world
    old = [f"{number:016}" for number in range(250)]
    world.raw("RPUSH", world.keys.history("j"), *old)
    for left in (151, 52, 3):
        world.settle(world.running(keep="3:1000000:"))
        assert world.raw("LLEN", world.keys.history("j")) == left


def test_seal_of_an_order_goes_to_the_owner_and_not_into_the_record(world: World) -> None:
    run_id = world.running()
    order = "user TERM 5 1 seal.of.it"
    world.run(Call((world.keys.prefix, run_id, order), lambda reply: reply, script="revoke"))
    assert world.record(run_id)["cx"] == "user TERM 5 1"
    (message,) = world.raw("LRANGE", world.keys.mailbox("h1~a"), 0, -1)
    assert message.decode() == f"revoke {run_id} 1 {order}"


@pytest.mark.parametrize(("letter", "kept"), [("k", "{}"), ("x", "{}"), ("v", "{}"), ("d", None)])
def test_progress_stays_with_a_run_that_ends_and_not_with_one_that_goes_on(
    world: World, letter: str, kept: str | None
) -> None:
    run_id = world.running()
    world.run(transitions.note(world.keys, owner="h1~a/p.1", items=[(run_id, 1, "{}")]))
    assert world.record(run_id)["pg"] == "{}"
    world.settle(run_id, letter=letter)
    assert world.record(run_id).get("pg") == kept


def test_what_keeps_a_run_from_beginning_is_said_of_one_claim_and_leaves_its_progress(
    world: World,
) -> None:
    def note(epoch: int, said: str) -> tuple[str, ...] | None:
        items = [(run_id, epoch, said)]
        world.run(transitions.note(world.keys, owner="h1~a/p.1", items=items))
        run = world.run(queries.run(world.keys, run_id))
        assert run is not None
        return run.blocked_by

    run_id = world.running()
    assert note(1, "{}") is None
    assert note(1, transitions.held_up(1, ["b" * 16, "c" * 16])) == ("b" * 16, "c" * 16)
    assert world.record(run_id)["pg"] == "{}"
    assert note(1, transitions.held_up(1, [])) == ()
    assert note(1, transitions.held_up(1, None)) is None
    assert note(1, transitions.held_up(1, ["b" * 16])) is not None
    world.settle(run_id, letter="d")
    world.promote()
    world.claim()
    world.start(run_id, epoch=2)
    assert note(2, "{}") is None


def test_progress_does_not_outlive_a_rescue(world: World) -> None:
    run_id = world.running()
    world.run(transitions.note(world.keys, owner="h1~a/p.1", items=[(run_id, 1, "{}")]))
    world.rescue()
    assert world.state(run_id) == "q"
    assert "pg" not in world.record(run_id)
