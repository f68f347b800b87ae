"""Several runs in one call: none may be taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def test_what_an_earlier_attempt_left_is_gone_after_the_next(world: World) -> None:
    run_id = world.submit()
    world.claim_one(run_id)
    world.settle(run_id, "d", reason="exit", fields=("at", "1", "rc", "3", "er", "no"))
    claim = world.claim_one(run_id)
    world.settle(run_id, "k", epoch=claim.epoch, fields=("at", "2", "rc", "0"))

    run = world.run(queries.run(world.keys, run_id))

    assert run is not None
    assert (run.reason, run.error, run.exit_code, run.attempt) == (None, None, 0, 2)
