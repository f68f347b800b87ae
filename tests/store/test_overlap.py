from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store import membership, queries

if TYPE_CHECKING:
    from store_world import World


def messages(world: World) -> tuple[str, ...]:
    call = membership.beat(world.keys, supervisor="h1~a", load="", owners=[])
    return world.run(call).messages


@pytest.mark.parametrize("letter", "qcr")
def test_skip_records_a_skipped_run(world: World, letter: str) -> None:
    first = world.submit(overlap="s")
    if letter != "q":
        world.claim()
    if letter == "r":
        world.start(first)
    answer = world.answer("aaaaaaaaaaaaaaaa", overlap="s")
    assert (answer.kind, answer.detail) == ("skip", first)
    assert world.state("aaaaaaaaaaaaaaaa") == "s"
    assert world.reason("aaaaaaaaaaaaaaaa") == "overlap"
    assert world.run(queries.latest(world.keys, "j")) == "aaaaaaaaaaaaaaaa"
    assert world.claim(5) == ([first] if letter == "q" else [])


def test_skip_lets_the_next_run_through_when_the_last_has_ended(world: World) -> None:
    first = world.running(overlap="s")
    world.settle(first)
    world.submit(overlap="s")


def test_skip_also_looks_at_retries_by_hand(world: World) -> None:
    first = world.running(overlap="s", max_attempts=2)
    world.settle(first, "d", delay=60)
    assert world.answer(overlap="s").detail == first


def test_delayed_run_is_in_nobodys_way_until_it_is_due(world: World) -> None:
    delayed = world.submit(overlap="s", start_in=60)
    now = world.submit(overlap="s")
    world.raw("ZADD", world.keys.due, 1, delayed)
    world.promote()
    assert world.states(delayed, now) == "sq"
    assert world.reason(delayed) == "overlap"


@pytest.mark.parametrize("policy", "lr")
def test_delayed_run_that_becomes_due_is_the_newest(world: World, policy: str) -> None:
    options = {"overlap": policy, "limits": "o:j"}
    delayed = world.submit(start_in=60, **options)
    now = world.submit(**options)
    world.raw("ZADD", world.keys.due, 1, delayed)
    world.promote()
    assert world.states(delayed, now) == {"l": "qs", "r": "qv"}[policy]


def test_queue_keeps_only_the_latest_waiting_run(world: World) -> None:
    options = {"overlap": "l", "limits": "o:j"}
    running = world.running(**options)
    ids = [world.submit(**options) for _ in range(2)]
    assert world.claim(5) == []
    ids.append(world.submit(**options))
    assert world.states(*ids) == "ssq"
    assert world.claim(5) == []
    world.settle(running)
    assert world.claim(5) == ids[2:]


def test_queue_all_runs_every_one_in_order(world: World) -> None:
    options = {"overlap": "a", "limits": "o:j"}
    ids = [world.submit(**options) for _ in range(4)]
    for run_id in ids:
        assert world.claim(5) == [run_id]
        world.settle(run_id)


def test_replace_stops_the_running_run_and_starts_when_it_is_gone(world: World) -> None:
    options = {"overlap": "r", "limits": "o:j"}
    running = world.running(**options)
    newer = world.submit(**options)
    assert messages(world) == (f"revoke {running} 1 replaced - - 1",)
    assert world.claim(5) == []
    assert world.settle(running, "x", reason="signal") == "v"
    assert world.reason(running) == "replaced"
    assert world.claim(5) == [newer]


def test_replaced_run_that_succeeds_first_keeps_its_success(world: World) -> None:
    options = {"overlap": "r", "limits": "o:j"}
    running = world.running(**options)
    world.submit(**options)
    assert world.settle(running, "k") == "k"


def test_forced_run_overlaps_but_is_seen_by_later_ones(world: World) -> None:
    first = world.running(overlap="s")
    forced = world.submit(overlap="f")
    assert world.claim() == [forced]
    world.settle(first)
    assert world.answer(overlap="s").detail == forced


@pytest.mark.parametrize("policy", ["", "a"])
def test_jobs_that_may_overlap_keep_no_list(world: World, policy: str) -> None:
    world.submit(overlap=policy)
    assert world.raw("EXISTS", world.keys.live("j")) == 0


def test_run_forgotten_by_a_crash_of_the_store_does_not_block_skip(world: World) -> None:
    world.raw("SADD", world.keys.live("j"), "gonegonegonegone")
    world.submit(overlap="s")


def test_more_forced_runs_than_one_look_takes_still_block_skip(world: World) -> None:
    ids = [world.submit(overlap="f") for _ in range(120)]
    answer = world.answer(overlap="s")
    assert answer.kind == "skip"
    assert answer.detail in ids
