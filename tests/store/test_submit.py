from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_world import new_run

from jobctl.model.ids import new_id
from jobctl.store import queries, transitions
from jobctl.store.transitions import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from store_world import World


def test_repeated_submit_is_answered_dup_and_changes_nothing(world: World) -> None:
    runs = [new_run(), new_run(start_in=60), new_run(unique="k")]
    call = transitions.submit(world.keys, runs)
    assert world.run(call) == (Answer("ok"),) * 3
    before = [world.record(run.request.id) for run in runs]
    assert world.run(call) == (Answer("dup", "q"), Answer("dup", "d"), Answer("dup", "q"))
    assert [world.record(run.request.id) for run in runs] == before
    assert world.counters() == {"submitted": 3}


def test_same_id_within_one_batch_is_accepted_once(world: World) -> None:
    run = new_run()
    answers = world.run(transitions.submit(world.keys, [run, run]))
    assert answers == (Answer("ok"), Answer("dup", "q"))


def test_runs_that_are_known_are_told_apart_from_new_ones_around_them(world: World) -> None:
    runs = [new_run(kwargs={"n": n}) for n in range(4)]
    world.run(transitions.submit(world.keys, [runs[0], runs[2]]))
    before = world.record(runs[2].request.id)

    answers = world.run(transitions.submit(world.keys, [*runs, runs[3]]))

    assert [answer.kind for answer in answers] == ["dup", "ok", "dup", "ok", "dup"]
    assert world.record(runs[2].request.id) == before
    assert world.counters() == {"submitted": 4}
    assert world.run(queries.latest(world.keys, "j")) == runs[3].request.id
    claims = world.take(9).claims
    assert [claim.id for claim in claims] == [runs[n].request.id for n in (0, 2, 1, 3)]
    assert {claim.id: claim.envelope[-7:-1] for claim in claims} == {
        run.request.id: b'"n":%d}' % n for n, run in enumerate(runs)
    }


def test_more_runs_of_a_job_than_one_command_takes_are_accepted_in_order(world: World) -> None:
    runs = [new_run() for _ in range(9000)]
    call = transitions.submit(world.keys, runs)

    assert set(world.run(call)) == {Answer("ok")}

    order = [run.request.id for run in runs]
    assert world.raw("LRANGE", world.keys.queue("default", 5), 0, -1) == [
        run_id.encode() for run_id in order
    ]
    assert set(world.run(call)) == {Answer("dup", "q")}
    assert world.run(queries.latest(world.keys, "j")) == order[-1]
    assert world.counters() == {"submitted": 9000}


def test_latest_run_of_many_is_the_last_that_was_new(world: World) -> None:
    runs = [new_run() for _ in range(501)]
    world.run(transitions.submit(world.keys, [runs[500]]))
    world.run(transitions.submit(world.keys, runs))
    assert world.run(queries.latest(world.keys, "j")) == runs[499].request.id


def test_runs_of_one_job_with_moments_of_their_own_keep_them(world: World) -> None:
    runs = [new_run(), new_run(start_in=60), new_run(expires_in=60), new_run(unique="k"), new_run()]
    assert set(world.run(transitions.submit(world.keys, runs))) == {Answer("ok")}
    found = [world.record(run.request.id) for run in runs]
    assert ["".join(one[name] for name in ("s", "uq") if name in one) for one in found] == [
        "q", "d", "q", "qk", "q",
    ]  # fmt: skip
    assert [("nb" in one, "xp" in one) for one in found] == [
        (False, False), (True, False), (False, True), (False, False), (False, False),
    ]  # fmt: skip


def test_id_of_a_final_run_is_not_accepted_again(world: World) -> None:
    run_id = world.running()
    world.settle(run_id)
    assert world.answer(run_id) == Answer("dup", "k")
    assert world.claim() == []


def test_groups_of_different_jobs_are_answered_in_order(world: World) -> None:
    world.limits(q_small=0)
    runs = [
        new_run(job="a"),
        new_run(job="b", queue="small", max_length="1"),
        new_run(job="b", queue="small", max_length="1"),
        new_run(job="a", priority=9),
    ]
    answers = world.run(transitions.submit(world.keys, runs))
    assert [answer.kind for answer in answers] == ["ok", "ok", "full", "ok"]
    assert world.run(queries.latest(world.keys, "a")) == runs[3].request.id
    assert world.run(queries.latest(world.keys, "b")) == runs[1].request.id
    assert world.run(queries.latest(world.keys, "@last")) == runs[3].request.id


def test_refused_run_leaves_nothing_behind(world: World) -> None:
    world.submit(unique="k")
    refused = new_id()
    assert world.answer(refused, unique="k", start_in=5, expires_in=5).kind == "unique"
    assert world.record(refused) == {}
    assert world.run(queries.due_length(world.keys)) == 0


def _settled(letter: str) -> Callable[[World, str], None]:
    def end(world: World, run_id: str) -> None:
        world.claim_one(run_id)
        assert world.settle(run_id, letter) == letter

    return end


def _revoked_while_running(world: World, run_id: str) -> None:
    world.claim_one(run_id)
    world.revoke(run_id)
    assert world.settle(run_id, "v") == "v"


def _expired(world: World, run_id: str) -> None:
    world.raw("HSET", world.keys.run(run_id), "xp", 1)
    assert world.claim() == []


def _poison(world: World, run_id: str) -> None:
    world.raw("HSET", world.keys.run(run_id), "cl", 4)
    world.claim_one(run_id)
    world.rescue()
    assert world.state(run_id) == "x"


ENDS: dict[str, Callable[[World, str], object]] = {
    "succeeded": _settled("k"),
    "failed": _settled("x"),
    "skipped": _settled("s"),
    "revoked while queued": lambda world, run_id: world.revoke(run_id),
    "revoked while running": _revoked_while_running,
    "expired": _expired,
    "poison": _poison,
    "record gone": lambda world, run_id: world.raw(
        "DEL", world.keys.run(run_id), world.keys.queue("default", 5)
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_unique_key_is_free_after_every_end(world: World, end: str) -> None:
    holder = world.submit(unique="k")
    assert world.answer(unique="k") == Answer("unique", holder)
    ENDS[end](world, holder)
    assert world.answer(unique="k") == Answer("ok")


@pytest.mark.parametrize("letter", "kxs")
def test_unique_lock_goes_with_the_run_that_had_it(world: World, letter: str) -> None:
    run_id = world.submit(unique="k")
    world.claim_one(run_id)
    world.settle(run_id, letter)
    assert world.raw("KEYS", world.keys.prefix + "u:*") == []


def test_runs_with_something_of_their_own_queue_up_as_any_other(world: World) -> None:
    ids = [
        world.submit(**own)
        for own in ({}, {"unique": "a"}, {"expires_in": 60.0}, {}, {"unique": "b"})
    ]
    assert world.claim(5) == ids


def test_unique_key_is_kept_through_retries_rescues_and_releases(world: World) -> None:
    run_id = world.submit(unique="k", max_attempts=5)
    world.claim_one(run_id)
    world.release((run_id, 1))
    assert world.answer(unique="k") == Answer("unique", run_id)
    epoch = world.claim_one(run_id).epoch
    world.start(run_id, epoch)
    world.settle(run_id, "d", epoch=epoch, delay=60)
    assert world.answer(unique="k") == Answer("unique", run_id)


def test_unique_key_of_another_digest_does_not_matter(world: World) -> None:
    world.submit(unique="a")
    assert world.answer(unique="b") == Answer("ok")


def test_full_queue_refuses_until_there_is_room(world: World) -> None:
    first = world.submit(max_length="2")
    world.submit(max_length="2", priority=1)
    assert world.answer(max_length="2") == Answer("full")
    world.claim_one(first)
    assert world.answer(max_length="2") == Answer("ok")


def test_parked_runs_count_for_the_length_of_their_queue(world: World) -> None:
    world.limits(q_default=1)
    options = {"limits": "q:default", "max_length": "2"}
    for _ in range(2):
        world.submit(**options)
    world.claim(5)
    assert world.answer(**options) == Answer("ok")
    assert world.answer(**options) == Answer("full")


def test_counters_count_what_happened(world: World) -> None:
    ids = [world.submit() for _ in range(3)]
    world.claim(3)
    world.settle(ids[0], "k")
    world.settle(ids[1], "x")
    world.settle(ids[2], "d", delay=60)
    assert world.counters() == {"submitted": 3, "k": 1, "x": 1, "retried": 1}


def test_id_of_another_jobs_run_is_no_repeat_and_says_whose_it_is(world: World) -> None:
    taken = world.submit(job="a")
    waiting = new_run(taken, job="b", start_in=60)
    mine = new_run(job="b")

    answers = world.run(transitions.submit(world.keys, [new_run(taken, job="b"), mine]))

    assert answers == (Answer("other", "a"), Answer("ok"))
    assert world.run(transitions.submit(world.keys, [waiting])) == (Answer("other", "a"),)
    assert world.record(taken)["j"] == "a"
    assert world.run(queries.latest(world.keys, "b")) == mine.request.id
    assert world.counters() == {"submitted": 2}
