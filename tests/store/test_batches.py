"""Several runs in one call: none may be taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobctl.store import queries, settling
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from store_world import World

OWNER = "h1~a/p.1"


def test_a_batch_settles_every_run_whatever_the_others_become(world: World) -> None:
    ids = [world.submit() for _ in range(6)]
    epochs = {claim.id: claim.epoch for claim in world.take(6).claims}
    letters = ["d", "k", "d", "x", "d", "s"]
    items = [
        Settlement(run_id, epochs[run_id], letter, "exit", 60.0, ("at", 1, "rc", n))
        for n, (run_id, letter) in enumerate(zip(ids, letters, strict=True))
    ]

    answers = world.run(settling.settle(world.keys, owner=OWNER, items=items))

    assert list(answers) == letters
    runs = [world.run(queries.run(world.keys, run_id)) for run_id in ids]
    assert [(run.letter, run.exit_code) for run in runs if run] == list(
        zip(letters, range(6), strict=True)
    )


def test_runs_that_ended_alike_keep_their_own_values(world: World) -> None:
    ids = [world.submit() for _ in range(5)]
    world.claim(5)
    fields = [
        ("at", 1, "rc", 0),
        ("at", 1, "rc", 3),
        ("at", 1, "re", "five"),
        (),
        ("at", 1, "rc", 0),
    ]
    items = [
        Settlement(run_id, 1, "k", "", 0.0, values)
        for run_id, values in zip(ids, fields, strict=True)
    ]

    answers = world.run(settling.settle(world.keys, owner=OWNER, items=items))

    assert answers == ("k",) * 5
    found = [world.record(run_id) for run_id in ids]
    assert [(one.get("at"), one.get("rc"), one.get("re")) for one in found] == [
        ("1", "0", None), ("1", "3", None), ("1", None, "five"), (None, None, None), ("1", "0", None),
    ]  # fmt: skip


def test_runs_that_ended_in_one_call_are_kept_as_each_says(world: World) -> None:
    kept = [
        ("a", "1:60000:"),
        ("a", "9:90000:5"),
        ("b", "9:90000:5"),
        ("a", "1:60000:"),
        ("b", ""),
        ("b", "9:90000:5"),
        ("c", "5:60000:"),
        ("c", "5:90000:"),
    ]
    ids = [world.submit(job=job, keep=keep) for job, keep in kept]
    world.claim(8)
    items = [
        Settlement(run_id, 1, letter, "exit" if letter == "x" else "", 0.0, ())
        for run_id, letter in zip(ids, "kxkkkxkk", strict=True)
    ]

    world.run(settling.settle(world.keys, owner=OWNER, items=items))

    assert world.raw("LRANGE", world.keys.history("a"), 0, -1) == [ids[3].encode()]
    assert set(world.raw("LRANGE", world.keys.history("b"), 0, -1)) == {
        ids[2].encode(), ids[4].encode(),
    }  # fmt: skip
    for job, run_id in (("a", ids[1]), ("b", ids[5])):
        assert world.raw("LRANGE", world.keys.prefix + f"hf:{job}", 0, -1) == [run_id.encode()]
    assert world.states(*ids) == "-xkkkxkk"
    assert all("fn" in world.record(run_id) for run_id in ids[1:])
    lasts = [world.raw("PTTL", world.keys.run(run_id)) for run_id in ids[1:]]
    assert [round(ms / 10_000) for ms in lasts] == [9, 9, 6, 60_480, 9, 6, 9]


def test_runs_of_several_jobs_that_ended_in_one_call_are_each_in_the_history_of_their_own(
    world: World,
) -> None:
    ids = [world.submit(job=job) for job in "abab"]
    world.claim(4)
    items = [
        Settlement(run_id, 1, letter, "exit" if letter == "x" else "", 0.0, ())
        for run_id, letter in zip(ids, "kkxx", strict=True)
    ]

    world.run(settling.settle(world.keys, owner=OWNER, items=items))

    for job, own in (("a", ids[::2]), ("b", ids[1::2])):
        known = world.raw("LRANGE", world.keys.history(job), 0, -1)
        assert {run_id.decode() for run_id in known} == set(own)


@pytest.mark.parametrize(
    "own",
    [
        {"queue": "b"}, {"priority": 4}, {"job": "other"}, {"max_attempts": 3}, {"attempt": 1},
        {"lost": 2}, {"interrupted": 3}, {"first_started_at": 4.0}, {"due_at": 5.0},
    ],
    ids=lambda own: next(iter(own)),
)  # fmt: skip
def test_a_claim_tells_of_each_run_what_only_that_run_has(
    world: World, own: dict[str, Any]
) -> None:
    plain = {"queue": "a", "priority": 5, "job": "j", "max_attempts": 2}
    written = {
        "attempt": "at", "lost": "ls", "interrupted": "dr", "first_started_at": "fs", "due_at": "nb",
    }  # fmt: skip
    submitted = {name: value for name, value in own.items() if name not in written}
    runs = {world.submit(**plain): {}, world.submit(**{**plain, **submitted}): own}
    for name, value in own.items():
        if name in written:
            ms = int(value * 1000) if name.endswith("_at") else value
            world.raw("HSET", world.keys.run(list(runs)[1]), written[name], ms)

    claims = world.take(9, queues=("a", "b")).claims

    assert [claim.id for claim in claims] == list(runs)
    for claim in claims:
        expected = {
            **plain, "attempt": 0, "lost": 0, "interrupted": 0, "first_started_at": None, "due_at": None,
            **runs[claim.id],
        }  # fmt: skip
        expected |= {name: str(expected[name]) for name in ("priority", "max_attempts")}
        assert {name: getattr(claim, name) for name in expected} == expected


def attempt(number: int) -> tuple[str | int, ...]:
    """What a pool writes of an attempt that was too short for a word in between."""
    ms = 1_700_000_000_000 + number * 1000
    entry = (
        f'{{"n":{number},"o":"succeeded","v":"k","pi":{40 + number},"st":{ms / 1000:.3f},"du":0.1}}'
    )
    first = ("fs", ms) if number == 1 else ()
    return (
        "at", number, f"a{number}", entry, "du", "0.1", "st", ms, *first, "pi", 40 + number, "rc", 0,
    )  # fmt: skip


def test_a_run_that_succeeded_at_once_shows_when_and_as_which_process_it_ran(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    world.settle(run_id, fields=attempt(1))
    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.started_at, run.pid, run.exit_code, run.duration) == (1_700_000_001.0, 41, 0, 0.1)
    assert world.run(queries.duration(world.keys, run_id)) == 0.1


def test_what_the_entry_of_a_run_that_succeeded_at_once_says_is_not_kept_twice(
    world: World,
) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    assert world.settle(run_id, fields=(*attempt(1), "re", "five")) == "k"
    found = world.record(run_id)
    assert not {"at", "rc", "du", "st", "fs", "pi"} & set(found)
    assert found["re"] == "five"
    assert world.run(queries.state(world.keys, run_id)) == ("k", None, 1)
    assert world.run(queries.log_state(world.keys, run_id)) == ("k", "j", 1)
    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.attempt, run.exit_code, run.attempts[0].exit_code) == (1, 0, 0)
    world.check()


def test_a_run_that_was_seen_to_run_shows_its_end_as_any_other(world: World) -> None:
    run_id = world.running()
    world.settle(run_id, fields=attempt(1))
    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.attempt, run.exit_code, run.pid) == (1, 0, 4242)


def test_another_exit_code_of_a_run_that_succeeded_at_once_is_kept(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    world.settle(run_id, fields=(*attempt(1)[:-1], 3))
    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.attempt, run.exit_code, run.pid) == (1, 3, 41)


def test_answers_of_runs_that_ended_as_asked_and_of_one_that_did_not(world: World) -> None:
    first, second = world.submit(), world.submit()
    world.claim(2)
    items = [Settlement(run_id, 1, "k", "", 0.0, attempt(1)) for run_id in (first, second, first)]
    assert world.run(settling.settle(world.keys, owner="h1~a/p.1", items=items[:2])) == (
        "k", "k",
    )  # fmt: skip
    items = [Settlement(world.submit(), 1, "k", "", 0.0, attempt(1)), *items]
    world.claim()
    assert world.run(settling.settle(world.keys, owner="h1~a/p.1", items=items)) == (
        "k", "already", "already", "already",
    )  # fmt: skip


def test_a_run_that_succeeded_later_shows_its_last_attempt(world: World) -> None:
    run_id = world.submit(max_attempts=2)
    world.claim_one(run_id)
    world.settle(run_id, "d", fields=attempt(1))
    claim = world.claim_one(run_id)
    assert claim.first_started_at == 1_700_000_001.0
    world.settle(run_id, epoch=claim.epoch, fields=attempt(2))
    run = world.run(queries.run(world.keys, run_id))
    assert run is not None
    assert (run.started_at, run.pid, run.attempt) == (1_700_000_002.0, 42, 2)


def test_how_long_a_run_took_is_unknown_when_its_attempt_cannot_be_read(world: World) -> None:
    run_id = world.running()
    assert world.run(queries.duration(world.keys, run_id)) is None
    world.settle(run_id, fields=())
    for entry in ("{", "[]", '{"du":-1}'):
        world.raw("HSET", world.keys.run(run_id), "a1", entry)
        assert world.run(queries.duration(world.keys, run_id)) is None
    world.raw("HDEL", world.keys.run(run_id), "a1")
    assert world.run(queries.duration(world.keys, run_id)) is None


def test_what_an_earlier_attempt_left_is_gone_after_the_next(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    world.settle(run_id, "d", reason="exit", fields=("at", "1", "rc", "3", "er", "no"))
    claim = world.claim_one(run_id)
    world.settle(run_id, "k", epoch=claim.epoch, fields=("at", "2", "rc", "0"))

    run = world.run(queries.run(world.keys, run_id))

    assert run is not None
    assert (run.reason, run.error, run.exit_code, run.attempt) == (None, None, 0, 2)


@pytest.mark.parametrize(("code", "kept"), [(0, {}), (3, {"at": "1", "rc": "3"})])
def test_a_short_success_is_kept_by_its_entry_alone(
    world: World, code: int, kept: dict[str, str]
) -> None:
    run_id = world.submit()
    world.claim(1)
    entry = '{"n":1,"o":"succeeded","st":1.5}'
    fields = ("at", 1, "a1", entry, "rc", code, "re", "[2]")
    items = [Settlement(run_id, 1, "k", "", 0.0, fields)]
    answers = world.run(settling.settle(world.keys, owner=OWNER, items=items))

    assert answers == ("k",)
    found = world.record(run_id)
    assert (found["a1"], found["re"]) == (entry, "[2]")
    raw = world.raw("HMGET", world.keys.run(run_id), "at", "rc")
    assert {name: one.decode() for name, one in zip(("at", "rc"), raw, strict=True) if one} == kept
