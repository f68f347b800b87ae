"""What the store answers to those whom it has forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import membership

if TYPE_CHECKING:
    from store_world import World


def test_a_beat_tells_the_forgotten_from_the_fenced(world: World):
    def beat() -> membership.BeatReply:
        return world.run(membership.beat(world.keys, supervisor="h1~a", load="{}", owners=[]))

    assert not beat().fenced
    world.raw("FLUSHALL")
    assert (beat().fenced, beat().unknown) == (True, True)
    world.supervisor("h1~a")
    assert not beat().fenced
    world.run(membership.rescue(world.keys, supervisor="h1~a"))
    assert (beat().fenced, beat().unknown) == (True, False)


def test_a_run_that_was_lost_is_not_one_that_was_taken_over(world: World):
    lost, taken = world.submit(), world.submit()
    world.take(2)
    world.raw("DEL", world.keys.run(lost))
    world.run(membership.rescue(world.keys, supervisor="h1~a"))
    assert (world.start(lost), world.start(taken)) == ("gone", "stale")
    assert (world.settle(lost), world.settle(taken)) == ("gone", "stale")
