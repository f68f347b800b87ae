"""Who is the first over all runs of a job: decided in the store, whatever is lost or repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store import transitions

if TYPE_CHECKING:
    from store_world import World


class Asker:
    """One attempt of a run."""

    def __init__(self, world: World, run_id: str, epoch: int = 1, owner: str = "h1~a/p.1") -> None:
        self.world, self.run_id, self.epoch, self.owner = world, run_id, epoch, owner
        self.asked = 0

    def ask(self, step: str, key: str = "k", *, job: str = "j", again: bool = False) -> int:
        self.asked += not again
        return self.world.run(
            transitions.once(
                self.world.keys, owner=self.owner, run_id=self.run_id, epoch=self.epoch, job=job,
                key=key, step=step, token=f"{self.run_id}{self.epoch}{self.asked}", ttl=60.0,
            )
        )  # fmt: skip


def test_only_the_first_over_all_runs_gets_a_yes(world: World) -> None:
    one, two = Asker(world, world.running()), Asker(world, world.running())
    assert [one.ask("first"), one.ask("first"), two.ask("first")] == [1, 0, 0]
    assert two.ask("first", "other") == 1
    assert two.ask("first", job="another") == 1


def test_a_question_whose_answer_was_lost_gets_the_same_again(world: World) -> None:
    one = Asker(world, world.running())
    assert [one.ask("first"), one.ask("first", again=True)] == [1, 1]
    assert [one.ask("begin", "b"), one.ask("begin", "b", again=True)] == [1, 1]


def test_a_block_is_given_to_one_at_a_time_until_it_is_finished(world: World) -> None:
    one, two = Asker(world, world.running()), Asker(world, world.running())
    assert [one.ask("begin"), one.ask("begin"), two.ask("begin")] == [1, 0, 0]
    assert one.ask("finish") == 1
    assert [one.ask("begin"), two.ask("begin"), two.ask("first")] == [0, 0, 0]


def test_a_block_left_by_an_exception_is_free_again(world: World) -> None:
    one, two = Asker(world, world.running()), Asker(world, world.running())
    assert [one.ask("begin"), two.ask("leave"), two.ask("begin")] == [1, 0, 0]
    assert [one.ask("leave"), two.ask("begin"), one.ask("finish")] == [1, 1, 0]


def test_the_next_attempt_takes_over_the_block_of_a_dead_one(world: World) -> None:
    run_id = world.running(max_attempts=3)
    first = Asker(world, run_id)
    assert first.ask("begin") == 1
    world.settle(run_id, "d", delay=0.001)
    world.let_pass(0.002)
    world.claim_one(run_id)
    second = Asker(world, run_id, epoch=2)
    assert first.ask("finish") == -1
    assert [second.ask("begin"), second.ask("finish"), second.ask("begin")] == [1, 1, 0]


def test_other_runs_take_over_a_block_once_its_run_has_ended(world: World) -> None:
    run_id = world.running()
    other = Asker(world, world.running())
    assert Asker(world, run_id).ask("begin") == 1
    assert other.ask("begin") == 0
    world.settle(run_id, "x", reason="exit")
    assert other.ask("begin") == 1


@pytest.mark.parametrize("step", ["first", "begin", "finish", "leave"])
def test_a_run_of_another_owner_or_time_decides_nothing(world: World, step: str) -> None:
    run_id = world.running()
    assert Asker(world, run_id, epoch=7).ask(step) == -1
    assert Asker(world, run_id, owner="h2~a/p.1").ask(step) == -1
    assert Asker(world, "nosuchrunatall00").ask(step) == -1
    world.settle(run_id, "k")
    assert Asker(world, run_id).ask(step) == -1
    assert world.raw("KEYS", world.keys.prefix + "on:*") == []


def test_a_block_is_only_ended_by_the_attempt_that_began_it(world: World) -> None:
    one, two = Asker(world, world.running()), Asker(world, world.running())
    assert [one.ask("begin"), two.ask("finish"), two.ask("begin")] == [1, 0, 0]
    assert [one.ask("finish"), one.ask("leave"), two.ask("begin")] == [1, 0, 0]


def test_what_is_done_stays_done_when_its_run_has_ended(world: World) -> None:
    run_id = world.running()
    one, two = Asker(world, run_id), Asker(world, world.running())
    assert [one.ask("begin"), one.ask("finish")] == [1, 1]
    world.settle(run_id, "k")
    assert two.ask("begin") == 0


def test_what_was_decided_is_forgotten_in_time(world: World) -> None:
    one = Asker(world, world.running())
    one.ask("first")
    assert 0 < world.raw("PTTL", world.keys.prefix + "on:j:k") <= 60_000
