"""What scripts write down for others to read: about supervisors, attempts, schedules, the latest run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from store_world import new_run

from jobctl.store import decisions, membership, queries, transitions

if TYPE_CHECKING:
    from store_world import World

    from jobctl.store.decisions import TickReply


def hash_of(world: World, name: str) -> dict[str, str]:
    flat = [item.decode() for item in world.raw("HGETALL", world.keys.prefix + name)]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def ttl(world: World, name: str) -> int:
    return int(world.raw("TTL", world.keys.prefix + name))


def exists(world: World, name: str) -> bool:
    return bool(world.raw("EXISTS", world.keys.prefix + name))


def tick(world: World, last: float, step: float = 0.001, **options: Any) -> TickReply:
    run = options.pop("run", None)
    words: dict[str, Any] = {
        "schedule": "s", "generation": "g", "previous": last, "instant": last + step,
        "following": last + 60, "kind": "fire" if run else "missed", "who": "h1~a",
    }  # fmt: skip
    world.until(lambda: world.now() > last + step)
    return world.run(decisions.tick(world.keys, run=run, **{**words, **options}))


def introduced(world: World, generation: str = "g") -> float:
    (last,) = world.run(decisions.introduce_schedules(world.keys, {"s": generation}))
    return last


def test_registration_says_since_when_and_what(world: World) -> None:
    facts = hash_of(world, "sup:h1~a")
    assert (facts["st"], facts["host"], facts["beat"]) == ("up", "h1~a", "1")
    assert abs(int(facts["bt"]) / 1000 - world.now()) < 10
    assert world.run(queries.supervisors(world.keys)) == ["h1~a"]
    assert world.raw("GET", world.keys.schema) == b"1"


def test_second_registration_shows_life_and_keeps_the_record(world: World) -> None:
    world.raw("HSET", world.keys.supervisor("h1~a"), "bt", 1)
    world.raw("EXPIRE", world.keys.supervisor("h1~a"), 100)
    world.run(membership.register(world.keys, supervisor="h1~a", facts={"host": "h"}))
    assert int(hash_of(world, "sup:h1~a")["bt"]) > 1
    assert ttl(world, "sup:h1~a") == -1


def test_beat_says_when_and_with_what_load(world: World) -> None:
    world.raw("HSET", world.keys.supervisor("h1~a"), "bt", 1)
    world.run(membership.beat(world.keys, supervisor="h1~a", load="much", owners=[]))
    facts = hash_of(world, "sup:h1~a")
    assert int(facts["bt"]) > 1
    assert (facts["load"], facts["beat"]) == ("much", "2")


def test_at_most_a_hundred_messages_come_with_a_beat(world: World) -> None:
    world.raw("RPUSH", world.keys.mailbox("h1~a"), *(f"m{i}" for i in range(150)))
    replies = []
    heard = 0
    for _ in range(3):
        call = membership.beat(world.keys, supervisor="h1~a", load="", owners=[], heard=heard)
        replies.append(world.run(call))
        heard = replies[-1].beat
    assert [len(reply.messages) for reply in replies] == [100, 50, 0]
    call = membership.beat(world.keys, supervisor="h1~a", load="", owners=[])
    world.raw("RPUSH", world.keys.mailbox("h1~a"), "last")
    assert world.run(call).messages == ("last",)
    assert not exists(world, "mb:h1~a")


def test_message_after_a_beat_without_memory_is_not_skipped(world: World) -> None:
    world.raw("RPUSH", world.keys.mailbox("h1~a"), "one", "two")
    without = membership.beat(world.keys, supervisor="h1~a", load="", owners=[])
    beat = world.run(without).beat
    world.raw("RPUSH", world.keys.mailbox("h1~a"), "three")
    call = membership.beat(world.keys, supervisor="h1~a", load="", owners=[], heard=beat)
    assert world.run(call).messages == ("three",)


def test_start_is_written_down(world: World) -> None:
    run_id = world.running()
    found = world.record(run_id)
    assert [found[name] for name in ("s", "at", "st", "pi", "fs")] == [
        "r", "1", "1700000000000", "4242", "1700000000000",
    ]  # fmt: skip
    mark = (run_id, 1, 1, 1_800_000_000.0, 1)
    world.run(transitions.start(world.keys, owner="h1~a/p.1", marks=[mark]))
    assert world.record(run_id)["fs"] == "1700000000000"


def test_claim_is_written_down(world: World) -> None:
    run_id = world.submit()
    world.claim()
    found = world.record(run_id)
    assert (found["s"], found["o"], found["ep"]) == ("c", "h1~a/p.1", "1")
    assert abs(int(found["ct"]) / 1000 - world.now()) < 10


def test_rescued_supervisor_leaves_only_a_record_that_expires(world: World) -> None:
    world.supervisor("h2~b")
    run_id = world.running(sid="h2~b")
    world.revoke(run_id)
    assert exists(world, "mb:h2~b")
    assert exists(world, "b:@h2~b")
    world.rescue("h2~b")
    assert 0 < ttl(world, "sup:h2~b") <= 3600
    assert world.run(queries.supervisors(world.keys)) == ["h1~a"]
    for name in ("mb:h2~b", "b:@h2~b", "pools:h2~b", "own:h2~b/p.1"):
        assert not exists(world, name)


def test_supervisor_that_left_leaves_nothing(world: World) -> None:
    world.supervisor("h2~b")
    world.raw("RPUSH", world.keys.mailbox("h2~b"), "m")
    world.raw("RPUSH", world.keys.bell("@h2~b"), "1")
    assert world.run(membership.leave(world.keys, supervisor="h2~b")) == 0
    for name in ("sup:h2~b", "mb:h2~b", "b:@h2~b", "pools:h2~b"):
        assert not exists(world, name)


def test_rescue_of_unknown_supervisor_makes_no_record(world: World) -> None:
    world.rescue("h9~z")
    assert not exists(world, "sup:h9~z")


def test_rescue_counts_what_is_left_of_all_pools(world: World) -> None:
    world.supervisor("h2~b")
    world.run(membership.add_pool(world.keys, supervisor="h2~b", owner="h2~b/p.2"))
    runs = [new_run() for _ in range(260)]
    world.run(transitions.submit(world.keys, runs))
    for owner in ("h2~b/p.1", "h2~b/p.2"):
        call = transitions.claim(
            world.keys, supervisor="h2~b", owner=owner, want=130, queues=["default"]
        )
        assert len(world.run(call).claims) == 130
    replies = [world.rescue("h2~b") for _ in range(3)]
    assert [reply.moved for reply in replies] == [100, 100, 60]
    assert [bool(reply.left) for reply in replies] == [True, True, False]
    assert world.counters()["rescued"] == 260


def test_rescue_of_one_pool_tells_how_many_are_left(world: World) -> None:
    runs = [new_run() for _ in range(130)]
    world.run(transitions.submit(world.keys, runs))
    assert len(world.claim(130)) == 130
    reply = world.rescue(owner="h1~a/p.1")
    assert (reply.moved, reply.left) == (100, 30)
    reply = world.rescue(owner="h1~a/p.1")
    assert (reply.moved, reply.left) == (30, 0)
    assert hash_of(world, "sup:h1~a")["st"] == "up"


def test_rescued_items_are_counted(world: World) -> None:
    run_id = world.submit()
    world.claim()
    world.rescue(owner="h1~a/p.1", items=[(run_id, 1)])
    assert world.counters()["rescued"] == 1
    assert world.claim() == [run_id]


@pytest.mark.parametrize("script", ["tick", "boot", "submit"])
def test_latest_run_is_one_that_was_accepted(world: World, script: str) -> None:
    last = introduced(world)

    def accept(number: int) -> str:
        nonlocal last
        run = new_run(unique="k")
        if script == "tick":
            last = tick(world, last, run=run).last or 0.0
        elif script == "boot":
            words = {"schedule": "s", "host": "h", "boot_id": str(number), "who": "w"}
            world.run(decisions.boot(world.keys, run=run, **words))
        else:
            world.run(transitions.submit(world.keys, [run]))
        return run.request.id

    first = accept(1)
    accept(2)
    assert world.run(queries.latest(world.keys, "j")) == first
    count = world.counters()
    assert (count["submitted"], count.get("ticks", 0)) == (1, 2 if script == "tick" else 0)


@pytest.mark.parametrize("script", ["tick", "boot"])
def test_two_hundred_decisions_of_a_schedule_are_kept(world: World, script: str) -> None:
    last = introduced(world)
    world.raw("LPUSH", world.keys.schedule_history("s"), *["1|missed|missed||0|h"] * 200)
    if script == "tick":
        tick(world, last)
    else:
        call = decisions.boot(
            world.keys, schedule="s", host="h", boot_id="1", who="w", run=new_run()
        )
        world.run(call)
    assert world.raw("LLEN", world.keys.schedule_history("s")) == 200
    newest = world.raw("LINDEX", world.keys.schedule_history("s"), 0).decode()
    assert newest.split("|")[1] == ("missed" if script == "tick" else "fire")


def test_tick_says_what_comes_next_and_another_rule_forgets_that_alone(world: World) -> None:
    last = introduced(world)
    reply = tick(world, last, run=new_run())
    found = hash_of(world, "s:s")
    assert found["next"] == str(round((last + 60) * 1000))
    assert found["last"] == str(round((reply.last or 0) * 1000))
    assert found["fired"] == "1"
    world.let_pass(0.002)
    assert introduced(world, "other") > (reply.last or 0)
    found = hash_of(world, "s:s")
    assert (found["gen"], "next" in found, "fired" in found) == ("other", False, True)


def test_instant_that_lies_back_is_not_decided(world: World) -> None:
    last = introduced(world)
    reply = tick(world, last, step=0.0, run=new_run())
    assert reply.answer.kind == "moved"


def test_store_clock_that_is_a_little_behind_does_not_hold_up_a_tick(world: World) -> None:
    last = introduced(world)
    instant = world.now() + 0.2
    call = decisions.tick(
        world.keys, schedule="s", generation="g", previous=last, instant=instant,
        following=None, kind="missed", who="w", run=None,
    )  # fmt: skip
    assert world.run(call).answer.kind == "missed"


def test_schedule_with_a_rule_and_no_instant_starts_from_now(world: World) -> None:
    world.raw("HSET", world.keys.schedule("s"), "gen", "g")
    assert abs(introduced(world) - world.now()) < 10


def test_refused_runs_do_not_count_towards_max_runs(world: World) -> None:
    last = introduced(world)
    for expected in ("ok", "unique", "unique"):
        reply = tick(world, last, run=new_run(unique="k"), max_runs=2)
        assert reply.answer.kind == expected
        last = reply.last or 0.0
    assert hash_of(world, "s:s")["fired"] == "1"
    assert tick(world, last, run=new_run(), max_runs=2).answer.kind == "ok"


def test_instant_is_decided_only_by_who_knows_the_one_before(world: World) -> None:
    last = introduced(world)
    newer = tick(world, last).last or 0.0
    reply = tick(world, last, step=newer - last + 0.002, run=new_run())
    assert (reply.answer.kind, reply.last) == ("moved", newer)
