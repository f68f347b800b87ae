"""Several runs in one call: none may be taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobctl.store import queries, transitions
from jobctl.store.transitions import Settlement

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

    answers = world.run(transitions.settle(world.keys, owner=OWNER, items=items))

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

    answers = world.run(transitions.settle(world.keys, owner=OWNER, items=items))

    assert answers == ("k",) * 5
    found = [world.record(run_id) for run_id in ids]
    assert [(one.get("at"), one.get("rc"), one.get("re")) for one in found] == [
        ("1", "0", None), ("1", "3", None), ("1", None, "five"), (None, None, None), ("1", "0", None),
    ]  # fmt: skip


def test_runs_that_ended_in_one_call_are_kept_as_each_says(world: World) -> None:
    kept = [("a", "1:60000:"), ("a", "9:90000:5"), ("b", "9:90000:5"), ("a", "1:60000:"), ("b", "")]
    ids = [world.submit(job=job, keep=keep) for job, keep in kept]
    world.claim(5)
    items = [
        Settlement(run_id, 1, letter, "", 0.0, ())
        for run_id, letter in zip(ids, "kxkkk", strict=True)
    ]

    world.run(transitions.settle(world.keys, owner=OWNER, items=items))

    assert world.raw("LRANGE", world.keys.history("a"), 0, -1) == [ids[3].encode()]
    assert set(world.raw("LRANGE", world.keys.history("b"), 0, -1)) == {
        ids[2].encode(), ids[4].encode(),
    }  # fmt: skip
    assert world.raw("LRANGE", world.keys.prefix + "hf:a", 0, -1) == [ids[1].encode()]
    assert world.states(*ids) == "-xkkk"
    lasts = [world.raw("PTTL", world.keys.run(run_id)) for run_id in ids[1:]]
    assert [round(ms / 10_000) for ms in lasts] == [9, 9, 6, 60_480]


def test_a_claim_tells_of_each_run_what_only_that_run_has(world: World) -> None:
    plain = {"queue": "a", "priority": 5, "job": "j", "max_attempts": 2}
    own: list[dict[str, Any]] = [
        {"queue": "b"}, {"priority": 4}, {"job": "other"}, {"max_attempts": 3},
    ]  # fmt: skip
    written = [("at", 1), ("ls", 2), ("dr", 3), ("fs", 4000), ("nb", 5000)]
    wanted = {}
    for options in own:
        one, other = world.submit(**plain), world.submit(**{**plain, **options})
        wanted[one], wanted[other] = plain, {**plain, **options}
    told = {
        "at": "attempt",
        "ls": "lost",
        "dr": "interrupted",
        "fs": "first_started_at",
        "nb": "due_at",
    }
    for name, value in written:
        one, other = world.submit(**plain), world.submit(**plain)
        world.raw("HSET", world.keys.run(other), name, value)
        wanted[one] = plain
        wanted[other] = {**plain, told[name]: value / 1000 if value >= 1000 else value}

    claims = world.take(30, queues=("a", "b")).claims

    assert {claim.id for claim in claims} == set(wanted)
    for claim in claims:
        expected = {
            "attempt": 0, "lost": 0, "interrupted": 0, "first_started_at": None, "due_at": None,
            **wanted[claim.id],
        }  # fmt: skip
        expected |= {name: str(expected[name]) for name in ("priority", "max_attempts")}
        assert {name: getattr(claim, name) for name in expected} == expected


def test_what_an_earlier_attempt_left_is_gone_after_the_next(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    world.settle(run_id, "d", reason="exit", fields=("at", "1", "rc", "3", "er", "no"))
    claim = world.claim_one(run_id)
    world.settle(run_id, "k", epoch=claim.epoch, fields=("at", "2", "rc", "0"))

    run = world.run(queries.run(world.keys, run_id))

    assert run is not None
    assert (run.reason, run.error, run.exit_code, run.attempt) == (None, None, 0, 2)
