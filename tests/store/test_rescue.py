from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store import membership, queries, transitions
from jobctl.store.membership import RescueReply

if TYPE_CHECKING:
    from store_world import World


def beat(world: World, sid: str = "h1~a", **options: object) -> membership.BeatReply:
    call = membership.beat(world.keys, supervisor=sid, load="{}", owners=[f"{sid}/p.1"], **options)
    return world.run(call)


def test_rescue_is_refused_when_the_beat_went_on(world: World) -> None:
    run_id = world.running()
    seen = world.run(queries.supervisor(world.keys, "h1~a"))["beat"]
    beat(world)
    assert world.rescue(seen_beat=seen) == RescueReply(fenced=False, moved=0, left=0)
    assert world.state(run_id) == "r"
    assert not beat(world).fenced


def test_rescue_fences_the_supervisor(world: World) -> None:
    seen = str(beat(world).beat)
    assert world.rescue(seen_beat=seen).fenced
    assert beat(world).fenced
    assert world.take().fenced
    assert not world.run(membership.add_pool(world.keys, supervisor="h1~a", owner="h1~a/p.2"))
    facts = {"host": "h1"}
    assert world.run(membership.register(world.keys, supervisor="h1~a", facts=facts)) < 0
    assert beat(world).fenced
    assert world.run(queries.supervisors(world.keys)) == []


def test_unstarted_claim_goes_back_without_using_an_attempt(world: World) -> None:
    run_id = world.submit()
    world.claim()
    assert world.rescue() == RescueReply(fenced=True, moved=1, left=0)
    world.supervisor("h2~b")
    claim = world.claim_one(run_id, sid="h2~b")
    assert (claim.attempt, claim.lost) == (0, 0)


def test_started_run_is_lost_and_tried_again_first(world: World) -> None:
    run_id = world.running()
    world.submit()
    world.rescue()
    world.supervisor("h2~b")
    claim = world.claim_one(run_id, sid="h2~b")
    assert (claim.attempt, claim.lost) == (1, 1)


def test_job_that_must_not_run_twice_fails_when_lost(world: World) -> None:
    started = world.running(on_lost="f")
    claimed = world.submit(on_lost="f")
    world.claim()
    world.rescue()
    assert world.states(started, claimed) == "xq"
    assert world.reason(started) == "lost"


@pytest.mark.parametrize(("started", "losses"), [(True, 3), (False, 5)])
def test_run_that_kills_its_host_is_poison(world: World, started: bool, losses: int) -> None:  # noqa: FBT001
    run_id = world.submit(unique="k", limits="l:db", overlap="s")
    for number in range(1, losses + 1):
        assert world.state(run_id) == "q"
        sid = f"h{number}~x"
        world.supervisor(sid)
        claim = world.claim_one(run_id, sid=sid)
        if started:
            world.start(run_id, claim.epoch, sid=sid)
        world.rescue(sid)
    assert world.state(run_id) == "x"
    assert world.reason(run_id) == "poison"


def test_revoked_run_of_a_dead_supervisor_ends_revoked(world: World) -> None:
    ids = [world.running(), world.submit()]
    world.claim()
    world.revoke(*ids)
    world.rescue()
    assert world.states(*ids) == "vv"
    assert world.reason(ids[0]) == "user"


@pytest.mark.parametrize("started", [True, False])
def test_late_words_of_a_dead_owner_are_stale(world: World, started: bool) -> None:  # noqa: FBT001
    run_id = world.submit(on_lost="f" if started else "")
    world.claim()
    if started:
        world.start(run_id)
    world.rescue()
    before = world.record(run_id)
    assert world.settle(run_id, "k") == "stale"
    assert world.start(run_id) == "stale"
    assert world.release((run_id, 1)) == ("stale",)
    note = transitions.note(world.keys, owner="h1~a/p.1", items=[(run_id, 1, "{}")])
    assert world.run(note) == 0
    assert world.record(run_id) == before


def test_late_words_are_stale_when_the_run_runs_again(world: World) -> None:
    run_id = world.running()
    world.rescue()
    world.supervisor("h2~b")
    claim = world.claim_one(run_id, sid="h2~b")
    world.start(run_id, claim.epoch, attempt=2, sid="h2~b")
    before = world.record(run_id)
    assert world.settle(run_id, "k") == "stale"
    world.rescue()
    world.release((run_id, 1))
    assert world.record(run_id) == before
    assert world.settle(run_id, "k", epoch=claim.epoch, sid="h2~b") == "k"
    assert world.settle(run_id, "x", epoch=claim.epoch, sid="h2~b") == "already"
    assert world.state(run_id) == "k"


def test_late_settle_of_an_earlier_epoch_of_the_same_owner_is_stale(world: World) -> None:
    run_id = world.running(max_attempts=3)
    assert world.settle(run_id, "d") == "d"
    assert world.settle(run_id, "d") == "already"
    claim = world.claim_one(run_id)
    assert world.settle(run_id, "d") == "stale"
    assert world.state(run_id) == "c"
    assert world.settle(run_id, "k", epoch=claim.epoch) == "k"


def test_many_runs_are_taken_back_in_chunks(world: World) -> None:
    ids = [world.submit() for _ in range(250)]
    world.claim(250)
    replies = [world.rescue() for _ in range(3)]
    assert [reply.moved for reply in replies] == [100, 100, 50]
    assert [reply.left > 0 for reply in replies] == [True, True, False]
    assert set(world.states(*ids)) == {"q"}
    assert world.counters()["rescued"] == 250


def test_dead_pool_is_rescued_alone(world: World) -> None:
    mine = world.running()
    world.run(membership.add_pool(world.keys, supervisor="h1~a", owner="h1~a/p.2"))
    other = world.submit()
    call = transitions.claim(
        world.keys, supervisor="h1~a", owner="h1~a/p.2", want=1, queues=["default"]
    )
    world.run(call)
    assert world.rescue(owner="h1~a/p.2") == RescueReply(fenced=True, moved=1, left=0)
    assert world.states(mine, other) == "rq"
    assert world.run(call).fenced
    assert not beat(world).fenced
    assert world.claim() == [other]


def test_supervisor_without_a_record_counts_as_dead(world: World) -> None:
    run_id = world.running()
    world.raw("DEL", world.keys.supervisor("h1~a"))
    assert world.rescue(seen_beat="7").moved == 1
    assert world.state(run_id) == "q"


def test_supervisor_leaves_only_with_empty_hands(world: World) -> None:
    run_id = world.running()
    leave = membership.leave(world.keys, supervisor="h1~a")
    assert world.run(leave) == 1
    assert not beat(world).fenced
    world.settle(run_id)
    assert world.run(leave) == 0
    assert world.run(queries.supervisors(world.keys)) == []
    assert world.raw("KEYS", world.keys.prefix + "*h1~a*") == []


def test_beat_shows_life_and_how_much_is_owned(world: World) -> None:
    world.running()
    first, second = beat(world), beat(world)
    assert second.beat == first.beat + 1
    assert second.owned == (1,)
    facts = world.run(queries.supervisor(world.keys, "h1~a"))
    assert facts["beat"] == str(second.beat)
    assert facts["host"] == "h1~a"


def test_message_is_kept_until_its_beat_was_heard(world: World) -> None:
    for call in membership.send(world.keys, supervisor="h1~a", message="drain"):
        world.run(call)
    lost = beat(world, heard=0)
    again = beat(world, heard=0)
    assert lost.messages == again.messages == ("drain",)
    for call in membership.send(world.keys, supervisor="h1~a", message="reload"):
        world.run(call)
    third = beat(world, heard=again.beat)
    assert third.messages == ("reload",)
    assert beat(world, heard=third.beat).messages == ()


def test_beat_without_memory_takes_messages_once(world: World) -> None:
    for call in membership.send(world.keys, supervisor="h1~a", message="drain"):
        world.run(call)
    assert beat(world).messages == ("drain",)
    assert beat(world).messages == ()


def test_facts_are_updated_without_losing_the_beat(world: World) -> None:
    number = beat(world).beat
    world.run(membership.register(world.keys, supervisor="h1~a", facts={"version": "2"}))
    facts = world.run(queries.supervisor(world.keys, "h1~a"))
    assert (facts["beat"], facts["version"]) == (str(number), "2")


def test_progress_is_stored_only_for_the_owner(world: World) -> None:
    run_id = world.running()
    good = transitions.note(world.keys, owner="h1~a/p.1", items=[(run_id, 1, '{"percent":4}')])
    bad = transitions.note(world.keys, owner="h1~a/p.1", items=[(run_id, 2, "{}")])
    assert world.run(good) == 1
    assert world.run(bad) == 0
    assert world.run(queries.run(world.keys, run_id)).progress == '{"percent":4}'


@pytest.mark.parametrize(
    ("letter", "ends"), [("k", "k"), ("x", "v"), ("d", "v"), ("s", "s"), ("v", "v")]
)
def test_revoke_wins_over_failure_and_retry_only(world: World, letter: str, ends: str) -> None:
    run_id = world.running(max_attempts=5)
    world.revoke(run_id)
    assert world.settle(run_id, letter, reason="exit", delay=60) == ends


def test_late_rescue_of_one_claim_leaves_the_next_claim_alone(world: World) -> None:
    run_id = world.submit()
    first = world.claim_one(run_id)
    late = {"owner": "h1~a/p.1", "items": [(run_id, first.epoch)]}
    assert world.rescue(**late).moved == 1
    second = world.claim_one(run_id)
    world.start(run_id, second.epoch)

    assert world.rescue(**late).moved == 0
    assert world.state(run_id) == "r"
    assert world.settle(run_id, epoch=second.epoch) == "k"
