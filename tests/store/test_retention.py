from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.model.ids import new_id
from jobctl.store import queries, settling
from jobctl.store.calls import Call
from jobctl.store.transitions import Answer

if TYPE_CHECKING:
    from store_world import World

DAY = 86_400_000


def finished(world: World, letter: str = "k", **options: object) -> str:
    run_id = world.running(**options)
    world.raw("XADD", world.keys.log(run_id), "*", "d", "text")
    world.raw("PEXPIRE", world.keys.log(run_id), DAY)
    world.settle(run_id, letter)
    return run_id


def kept(world: World, job: str = "j") -> list[str]:
    return world.run(queries.history(world.keys, job, newest=100))


def test_history_keeps_the_newest_runs_and_their_logs(world: World) -> None:
    ids = [finished(world, keep=f"2:{DAY}:") for _ in range(4)]
    assert kept(world) == [ids[3], ids[2]]
    assert world.states(*ids) == "--kk"
    logs = [world.raw("EXISTS", world.keys.log(run_id)) for run_id in ids]
    assert logs == [0, 0, 1, 1]


def test_record_expires_after_its_days(world: World) -> None:
    run_id = finished(world, keep=f"5:{DAY}:")
    left = world.run(Call(("PTTL", world.keys.run(run_id)), lambda reply: reply))
    assert DAY - 5000 < left <= DAY


def test_default_is_a_week(world: World) -> None:
    run_id = finished(world)
    left = world.run(Call(("PTTL", world.keys.run(run_id)), lambda reply: reply))
    assert 7 * DAY - 5000 < left <= 7 * DAY


def test_failed_runs_are_kept_apart_when_asked(world: World) -> None:
    keep = f"1:{DAY}:2"
    failed = [finished(world, "x", keep=keep) for _ in range(3)]
    good = [finished(world, keep=keep) for _ in range(2)]
    assert kept(world) == good[1:]
    newest = world.run(queries.failed_history(world.keys, "j", newest=9))
    assert newest == [failed[2], failed[1]]
    assert world.states(*failed, *good) == "-xx-k"


def test_history_shrinks_when_less_is_to_be_kept(world: World) -> None:
    ids = [finished(world, keep=f"9:{DAY}:") for _ in range(6)]
    last = finished(world, keep=f"2:{DAY}:")
    assert kept(world) == [last, ids[5]]
    assert set(world.states(*ids[:5])) == {"-"}


def test_at_least_the_last_run_is_kept(world: World) -> None:
    """Else its settlement, repeated because the answer was lost, would be called stale."""
    run_id = finished(world, keep=f"0:{DAY}:")
    assert world.settle(run_id) == "already"


def test_unreadable_rule_means_the_default(world: World) -> None:
    run_id = world.submit()
    world.raw("HSET", world.keys.run(run_id), "kp", "nonsense")
    world.claim()
    world.settle(run_id)
    assert kept(world) == [run_id]


def test_runs_that_end_in_one_call_are_kept_as_if_each_had_its_own(world: World) -> None:
    ids = [world.running(job="few", keep="3:1000000:") for _ in range(5)]
    other = world.running(job="other")
    failed = world.running(job="few", keep="3:1000000:2")
    again = world.running(job="few", max_attempts=2)
    items = [
        settling.Settlement(run_id, 1, letter, "", 60.0, ("du", "0.1"))
        for run_id, letter in [
            *((one, "k") for one in ids),
            (other, "k"),
            (failed, "x"),
            (again, "d"),
        ]
    ]
    world.raw("SET", f"{world.keys.prefix}l:{ids[0]}", "output")

    answers = world.run(settling.settle(world.keys, owner="h1~a/p.1", items=items))
    assert answers == ("k",) * 6 + ("x", "d")
    assert world.raw("SCARD", world.keys.prefix + "own:h1~a/p.1") == 0
    history = [item.decode() for item in world.raw("LRANGE", world.keys.history("few"), 0, -1)]
    assert history == ids[:1:-1]
    assert world.states(*ids, other, failed, again) == "--kkkkxd"
    assert world.raw("EXISTS", f"{world.keys.prefix}l:{ids[0]}") == 0
    assert world.raw("LRANGE", world.keys.history("other"), 0, -1) == [other.encode()]
    assert world.raw("LRANGE", world.keys.prefix + "hf:few", 0, -1) == [failed.encode()]


def test_id_that_was_given_is_known_when_its_record_is_gone(world: World) -> None:
    run_id = finished(world, keep="1:1000000:", keep_id=60.0)
    finished(world, keep="1:1000000:")
    assert world.states(run_id) == "-"

    assert world.answer(run_id, keep_id=60.0) == Answer("dup", "k")
    assert world.answer(run_id, keep_id=60.0, start_in=5) == Answer("dup", "k")
    assert world.answer(run_id, job="z", keep_id=60.0) == Answer("other", "j")

    assert world.states(run_id) == "-"
    left = world.run(Call(("PTTL", world.keys.given_id(run_id)), lambda reply: reply))
    assert 55_000 < left <= 60_000


def test_id_that_was_given_makes_a_new_run_once_its_time_is_over(world: World) -> None:
    run_id = finished(world, keep="1:1000000:", keep_id=60.0)
    finished(world, keep="1:1000000:")
    world.raw("PEXPIRE", world.keys.given_id(run_id), 0)
    assert world.answer(run_id, keep_id=60.0) == Answer("ok")


@pytest.mark.parametrize("how", ["failed", "revoked", "expired", "skipped"])
def test_id_that_was_given_is_known_however_its_run_ended(world: World, how: str) -> None:
    keep = "1:1000000:"
    if how == "failed":
        run_id, letter = finished(world, "x", keep=keep, keep_id=60.0), "x"
    elif how == "revoked":
        run_id, letter = world.submit(keep=keep, keep_id=60.0), "v"
        world.revoke(run_id)
    elif how == "expired":
        run_id, letter = world.submit(keep=keep, keep_id=60.0, expires_in=0.001), "e"
        world.until(lambda: world.promote() and world.state(run_id) == "e")
    else:
        world.submit(overlap="s")
        run_id, letter = new_id(), "s"
        assert world.answer(run_id, overlap="s", keep=keep, keep_id=60.0).kind == "skip"
    world.raw("DEL", world.keys.run(run_id))
    assert world.answer(run_id, keep_id=60.0) == Answer("dup", letter)


def test_id_that_was_given_is_known_when_its_run_ended_before_its_start_was_written(
    world: World,
) -> None:
    run_id = world.submit(keep_id=60.0)
    world.claim_one(run_id)
    world.settle(run_id)
    world.raw("DEL", world.keys.run(run_id))
    assert world.answer(run_id, keep_id=60.0) == Answer("dup", "k")


def test_ids_that_were_made_up_leave_nothing_behind(world: World) -> None:
    run_id = finished(world, keep="1:1000000:")
    finished(world, keep="1:1000000:")
    assert world.raw("EXISTS", world.keys.given_id(run_id)) == 0


def test_how_long_an_id_is_known_may_be_nonsense(world: World) -> None:
    run_id = world.submit(keep_id=60.0)
    world.raw("HSET", world.keys.run(run_id), "ik", "9" * 30)
    world.claim()
    assert world.settle(run_id) == "k"
    assert kept(world) == [run_id]
