from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from store_world import World, new_run

from jobctl.model.ids import derived_id
from jobctl.store import decisions, queries
from jobctl.store.blocking import BlockingStore

if TYPE_CHECKING:
    from jobctl.store.decisions import TickReply


@pytest.fixture
def last(world: World) -> float:
    """The last decided instant of the schedule "s", a little in the past."""
    world.run(decisions.introduce_schedules(world.keys, {"s": "g1"}))
    past = round(world.now() - 100, 3)
    world.raw("HSET", world.keys.schedule("s"), "last", round(past * 1000))
    return past


def tick(world: World, previous: float, instant: float, **options: object) -> TickReply:
    kind = options.pop("kind", "fire")
    run_id = derived_id("t", "s", str(instant))
    missed = kind == "missed"
    call = decisions.tick(
        world.keys,
        schedule="s",
        generation=options.pop("generation", "g1"),
        previous=previous,
        instant=instant,
        following=instant + 60,
        kind=kind,
        who=options.pop("who", "h1~a"),
        max_runs=options.pop("max_runs", None),
        run=None if missed else new_run(run_id, trigger="schedule", **options),
    )
    return world.run(call)


def decided(world: World) -> list[tuple[str, str]]:
    found = world.run(queries.schedule_history(world.keys, "s", newest=10))
    return [(item.kind, item.answer) for item in found]


def test_new_schedule_starts_from_now(world: World) -> None:
    (first,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g"}))
    assert abs(first - world.now()) < 5
    world.let_pass(0.002)
    assert world.run(decisions.introduce_schedules(world.keys, {"s": "g"})) == (first,)


def test_changed_rule_starts_from_now_and_keeps_its_count(world: World, last: float) -> None:
    tick(world, last, last + 10)
    (now,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g2"}))
    assert now > last + 50
    assert world.run(queries.schedule(world.keys, "s"))["fired"] == "1"
    assert tick(world, now, now + 0.001, generation="g1").answer.kind == "foreign"


def test_instant_fires_once(world: World, last: float) -> None:
    reply = tick(world, last, last + 10)
    assert (reply.answer.kind, reply.last) == ("ok", pytest.approx(last + 10))
    again = tick(world, last, last + 10)
    assert (again.answer.kind, again.last) == ("moved", pytest.approx(last + 10))
    assert len(world.claim(5)) == 1
    assert decided(world) == [("fire", "ok")]


def test_no_instant_fires_before_the_last_decided_one(world: World, last: float) -> None:
    assert tick(world, last, last).answer.kind == "moved"
    assert tick(world, last, last - 10).answer.kind == "moved"


def test_instant_of_the_future_is_early(world: World, last: float) -> None:
    reply = tick(world, last, world.now() + 5)
    assert (reply.answer.kind, reply.last) == ("early", pytest.approx(last))
    assert decided(world) == []


def test_concurrent_supervisors_fire_each_instant_once(world: World, last: float) -> None:
    answers: list[str] = []

    def supervise(name: str) -> None:
        with BlockingStore(world.store.address) as store:
            mine = World.__new__(World)
            mine.keys, mine.store, mine.run = world.keys, store, store.run
            previous = last
            while previous < last + 19.5:
                reply = tick(mine, previous, round(previous + 1, 3), who=name)
                answers.append(reply.answer.kind)
                assert reply.last is not None
                previous = reply.last

    threads = [threading.Thread(target=supervise, args=(f"h{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("ok") == 20
    assert set(answers) <= {"ok", "moved"}
    assert len(world.claim(50)) == 20


def test_missed_instant_is_recorded_and_not_run(world: World, last: float) -> None:
    reply = tick(world, last, last + 10, kind="missed")
    assert (reply.answer.kind, reply.last) == ("missed", pytest.approx(last + 10))
    assert world.claim() == []
    (decision,) = world.run(queries.schedule_history(world.keys, "s", newest=5))
    assert (decision.kind, decision.answer, decision.run_id) == ("missed", "missed", "")
    assert decision.who == "h1~a"
    assert 85 < decision.lag < 100


def test_schedule_with_a_number_of_runs_is_spent(world: World, last: float) -> None:
    kinds = [tick(world, last + i, last + i + 1, max_runs=2).answer.kind for i in range(3)]
    assert kinds == ["ok", "ok", "spent"]
    assert tick(world, last + 3, last + 4, max_runs=2).answer.kind == "spent"


def test_that_a_schedule_is_spent_is_told_once(world: World, last: float) -> None:
    for i in range(5):
        tick(world, last + i, last + i + 1, max_runs=1)
    assert decided(world) == [("fire", "spent"), ("fire", "ok")]
    tick(world, last + 5, last + 6, max_runs=2)
    tick(world, last + 6, last + 7, max_runs=2)
    assert [answer for _, answer in decided(world)] == ["spent", "ok", "spent", "ok"]


def test_schedule_that_is_spent_misses_nothing(world: World, last: float) -> None:
    tick(world, last, last + 1, max_runs=1)
    reply = tick(world, last + 1, last + 2, max_runs=1, kind="missed")
    assert reply.answer.kind == "spent"


def test_refused_instant_uses_no_run_up_and_is_not_the_latest(world: World, last: float) -> None:
    first = world.submit(max_length="1")
    reply = tick(world, last, last + 1, max_length="1", max_runs=1)
    assert reply.answer.kind == "full"
    assert world.run(queries.latest(world.keys, "j")) == first
    world.claim()
    assert tick(world, last + 1, last + 2, max_runs=1).answer.kind == "ok"


def test_instant_whose_run_is_known_is_not_run_again(world: World, last: float) -> None:
    """As after a restored backup, which sets ``last`` back."""
    tick(world, last, last + 10)
    (run_id,) = world.claim(5)
    world.settle(run_id)
    world.raw("HSET", world.keys.schedule("s"), "last", round(last * 1000))
    reply = tick(world, last, last + 10)
    assert (reply.answer.kind, reply.answer.detail) == ("dup", "k")
    assert world.claim() == []


def test_instant_whose_run_was_of_another_job_is_not_run_again(world: World, last: float) -> None:
    tick(world, last, last + 10)
    (run_id,) = world.claim(5)
    world.raw("HSET", world.keys.run(run_id), "j", "other")
    world.raw("HSET", world.keys.schedule("s"), "last", round(last * 1000))
    reply = tick(world, last, last + 10)
    assert (reply.answer.kind, reply.answer.detail) == ("dup", "c")


def test_scheduled_run_replaces_a_waiting_retry(world: World, last: float) -> None:
    tick(world, last, last + 1, overlap="s", max_attempts=5)
    (first,) = world.claim()
    world.settle(first, "d", reason="timeout", delay=60)
    assert tick(world, last + 1, last + 2, overlap="s").answer.kind == "ok"
    assert world.state(first) == "x"
    assert world.reason(first) == "timeout"


def test_queueing_schedule_keeps_its_retry_in_line(world: World, last: float) -> None:
    options = {"overlap": "a", "limits": "o:j"}
    tick(world, last, last + 1, **options)
    (first,) = world.claim()
    world.settle(first, "d", delay=60)
    tick(world, last + 1, last + 2, **options)
    assert world.state(first) == "d"


def test_skipped_instant_is_recorded(world: World, last: float) -> None:
    world.submit(overlap="s")
    assert tick(world, last, last + 1, overlap="s").answer.kind == "skip"
    assert decided(world)[0][1].startswith("skip ")


def test_history_holds_two_hundred_decisions(world: World, last: float) -> None:
    for i in range(205):
        tick(world, last + i / 10, last + (i + 1) / 10, kind="missed")
    assert len(world.run(queries.schedule_history(world.keys, "s", newest=999))) == 200


def boot(world: World, host: str, boot_id: str, **options: object) -> str:
    most = options.pop("max_runs", None)
    run = new_run(**options)
    call = decisions.boot(
        world.keys, schedule="s", host=host, boot_id=boot_id, who="h", run=run, max_runs=most
    )
    return world.run(call).kind


def test_boot_fires_once_per_host_and_boot(world: World) -> None:
    assert boot(world, "h1", "b1") == "ok"
    assert boot(world, "h1", "b1") == "moved"
    assert boot(world, "h2", "b1") == "ok"
    assert boot(world, "h1", "b2") == "ok"
    assert len(world.claim(9)) == 3


def test_runs_of_boots_are_counted_up_to_the_most_that_are_wanted(world: World) -> None:
    answers = [boot(world, "h1", name, max_runs=2) for name in ("b1", "b2", "b3")]
    assert answers == ["ok", "ok", "spent"]
    assert boot(world, "h1", "b3", max_runs=2) == "moved"
    assert world.run(queries.schedule(world.keys, "s"))["fired"] == "2"


def test_boots_of_other_hosts_do_not_skip_one_another(world: World) -> None:
    assert boot(world, "h1", "b1", overlap="h") == "ok"
    assert boot(world, "h2", "b1", overlap="h") == "ok"
    assert len(world.claim(9)) == 2
    assert boot(world, "h1", "b2", overlap="h") == "skip"


def test_boot_runs_again_once_the_last_run_of_its_host_has_ended(world: World) -> None:
    boot(world, "h1", "b1", overlap="h")
    (run_id,) = world.claim()
    world.settle(run_id)
    assert boot(world, "h1", "b2", overlap="h") == "ok"


def test_run_of_a_boot_is_in_the_way_of_the_job_s_other_runs(world: World) -> None:
    boot(world, "h1", "b1", overlap="h")
    assert world.run(queries.live_length(world.keys, "j")) == 1


def test_a_look_tells_how_far_schedules_are_decided(world: World, last: float) -> None:
    tick(world, last, last + 10)

    found = world.run(decisions.peek(world.keys, {"s": "g1", "unknown": "g1"}))

    assert found == (pytest.approx(last + 10), None)


def test_a_look_tells_nothing_of_another_rule(world: World, last: float) -> None:
    assert last
    assert world.run(decisions.peek(world.keys, {"s": "g2"})) == (None,)


def test_a_look_changes_nothing(world: World, last: float) -> None:
    assert last
    before = world.raw("HGETALL", world.keys.schedule("s"))
    world.run(decisions.peek(world.keys, {"s": "g1", "unknown": "g1"}))

    assert world.raw("HGETALL", world.keys.schedule("s")) == before
    assert not world.raw("EXISTS", world.keys.schedule("unknown"))
