"""Every contradiction that can be found is made for real, found, mended, and gone afterwards."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from damage import DAMAGE, GHOST, QUEUE, damaged, key, put, without

from jobctl.store.verify import audit, confirmed, findings
from jobctl.store.verify.census import take
from jobctl.store.verify.finding import Kind, Severity
from jobctl.store.verify.repair import Repair, mend, repair
from tests.fuzz.cast import JOBS, LIMITS, QUEUES
from tests.fuzz.programme import Programme

if TYPE_CHECKING:
    from store_world import World

    from jobctl.store.blocking import BlockingStore


def look(world: World) -> list[Kind]:
    return [finding.kind for finding in findings(take(world.store, world.keys))]


def repaired(world: World) -> Repair:
    return repair(world.store, world.keys, pause=0)


@pytest.mark.parametrize("what", DAMAGE)
def test_each_damage_is_found_and_mended(broken_world: World, what: str) -> None:
    world = broken_world
    kind, damage = DAMAGE[what]
    damage(world)
    assert kind in look(world)
    before = world.raw("DBSIZE")
    assert confirmed(world.store, world.keys, pause=0)
    assert world.raw("DBSIZE") == before
    done = repaired(world)

    assert [str(finding) for finding in done.left.findings] == []
    assert done.deeds
    assert all(deed.done for deed in done.deeds), done.deeds


def test_every_kind_that_can_be_mended_is_among_the_damage() -> None:
    beyond = {
        Kind.CROWDED, Kind.COUNT, Kind.FIRED, Kind.LATE, Kind.UNKNOWN, Kind.SCHEMA, Kind.CHANGED,
        Kind.PROCESS,
    }  # fmt: skip
    assert {kind for kind, _ in DAMAGE.values()} == set(Kind) - beyond


def test_everything_torn_at_once_is_mended(broken_world: World) -> None:
    world = broken_world
    for kind, damage in DAMAGE.values():
        if kind is not Kind.TYPE:
            damage(world)
    assert len(set(look(world))) > 10

    done = repaired(world)

    assert [str(finding) for finding in done.left.findings] == []


def test_repair_of_a_sound_namespace_changes_nothing(world: World) -> None:
    ids = [damaged(world, letter, limits="l:db") for letter in "dqcrk"] + [damaged(world, "p")]
    before = [world.record(run_id) for run_id in ids]
    due = world.raw("ZRANGE", world.keys.due, 0, -1, "WITHSCORES")
    items = [finding for run_id in ids for finding in (("run", run_id), ("h", run_id))]

    assert world.run(mend(world.keys, items)) == [""] * len(items)
    assert repaired(world).deeds == ()
    assert [world.record(run_id) for run_id in ids] == before
    assert world.raw("ZRANGE", world.keys.due, 0, -1, "WITHSCORES") == due


def test_keys_that_are_right_by_now_stay_as_they_are(world: World) -> None:
    world.raw("RPUSH", world.keys.mailbox("h1~a"), "reload")
    holder = world.submit(unique="k")
    items = [
        ("mailbox", "h1~a"), ("u", world.record(holder)["uq"]), ("bell", "default"),
        ("type", f"q:{QUEUE}", "list"), ("type", "due", "zset"), ("owner", "h1~a/p.1"),
        ("supervisor", "h1~a"), ("parked", "l:db"), ("log", holder),
    ]  # fmt: skip

    assert world.run(mend(world.keys, items)) == [""] * len(items)
    assert world.raw("LRANGE", world.keys.mailbox("h1~a"), 0, -1) == [b"reload"]
    assert world.answer(unique="k").kind == "unique"


def test_step_that_cannot_be_done_does_not_stop_the_others(broken_world: World) -> None:
    world = broken_world
    world.raw("RPUSH", key(world, "u:abc"), "?")
    damaged(world, "q")
    world.raw("DEL", world.keys.bell("default"))
    refused, rang = world.run(mend(world.keys, [("u", "abc"), ("bell", "default")]))

    assert refused.startswith("- ")
    assert "WRONGTYPE" in refused
    assert rang == "rang it"


def test_owner_is_named_again_only_by_its_own_set(broken_world: World) -> None:
    world = broken_world
    run_id = damaged(world, "r")
    without(world, run_id, "o")
    world.run(mend(world.keys, [("run", run_id, "", "h9~x/p.1")]))

    assert world.record(run_id)["o"] == "nobody/nobody"
    assert world.raw("SMEMBERS", world.keys.pools("nobody")) == [b"nobody/nobody"]
    assert world.raw("SISMEMBER", world.keys.supervisors, "nobody") == 1


def test_run_that_is_parked_again_is_looked_at(broken_world: World) -> None:
    world = broken_world
    run_id = damaged(world, "p")
    world.raw("DEL", world.keys.parked("l:gate"), world.keys.due)
    world.run(mend(world.keys, [("run", run_id, "absent")]))

    assert world.raw("LRANGE", world.keys.parked("l:gate"), 0, -1) == [run_id.encode()]
    assert world.raw("ZSCORE", world.keys.due, "!l:gate") is not None


def test_run_of_a_living_claim_is_never_taken(world: World) -> None:
    run_id = damaged(world, "r")
    world.raw("DEL", world.keys.own("h1~a/p.1"), world.keys.pools("h1~a"), world.keys.supervisors)
    repaired(world)

    assert world.state(run_id) == "r"
    assert world.settle(run_id, "k") == "k"


def test_claim_whose_owner_was_forgotten_is_its_owners_again(world: World) -> None:
    run_id = damaged(world, "r")
    without(world, run_id, "o")
    repaired(world)

    assert world.settle(run_id, "k") == "k"


def test_claim_without_an_epoch_is_left_to_an_owner_that_lives(broken_world: World) -> None:
    world = broken_world
    run_id = damaged(world, "r")
    without(world, run_id, "ep")
    done = repaired(world)

    assert [deed.refused for deed in done.deeds] == ["its owner lives and has to give it up itself"]
    assert [finding.kind for finding in done.left.findings] == [Kind.CLAIM]

    world.raw("HSET", world.keys.supervisor("h1~a"), "bt", 1000)
    assert repaired(world).left.findings == ()
    assert world.state(run_id) == "q"


def test_run_that_nobody_can_have_counts_as_lost(broken_world: World) -> None:
    world = broken_world
    claimed, running, once = (
        damaged(world, "c"),
        damaged(world, "r"),
        damaged(world, "r", on_lost="f"),
    )
    for run_id in (claimed, running, once):
        without(world, run_id, "o")
    world.raw("DEL", world.keys.own("h1~a/p.1"))
    repaired(world)

    assert world.states(claimed, running, once) == "qqx"
    assert world.record(running)["ls"] == "1"
    assert "ls" not in world.record(claimed)
    assert world.reason(once) == "lost"
    assert world.settle(running, "k") == "stale"


def test_lost_runs_come_back_in_the_order_they_were_submitted(broken_world: World) -> None:
    world = broken_world
    ids = []
    for _ in range(5):
        ids.append(world.submit())
        world.let_pass(0.002)
    world.raw("DEL", key(world, f"q:{QUEUE}"))
    repaired(world)

    assert world.claim(5) == ids


def test_freed_slot_goes_to_a_run_that_is_parked_for_it(broken_world: World) -> None:
    world = broken_world
    world.limits(l_db=1)
    world.raw("SADD", world.keys.holders("l:db"), GHOST)
    world.raw("HSET", world.keys.run(GHOST), "s", "r", "o", "x/y", "lm", "l:db", "j", "j", "q", "default", "p", "5", "ep", "1")  # fmt: skip
    waiting = world.submit(limits="l:db")
    assert world.claim() == []
    assert world.state(waiting) == "p"
    world.raw("DEL", world.keys.run(GHOST))
    repaired(world)

    assert world.state(waiting) == "q"
    assert world.claim() == [waiting]


def test_what_is_put_aside_keeps_its_content_for_a_week(broken_world: World) -> None:
    world = broken_world
    world.raw("SET", world.keys.due, "precious")
    (deed,) = repaired(world).deeds
    (name,) = [word.rstrip(",") for word in deed.done.split() if word.startswith("aside:")]

    assert world.raw("GET", key(world, name)) == b"precious"
    assert 0 < world.raw("PTTL", key(world, name)) <= 7 * 86_400_000


def test_keys_nobody_knows_are_told_of_and_left_alone(broken_world: World) -> None:
    world = broken_world
    for name in ("w:flow", "q:default", "q:default:10", "due:x", "r"):
        world.raw("SET", key(world, name), "?")
    done = repaired(world)

    assert {(one.kind, one.severity) for one in done.left.findings} == {
        (Kind.UNKNOWN, Severity.WARNING)
    }
    assert len(done.left.findings) == 5
    assert world.raw("EXISTS", key(world, "w:flow")) == 1


def test_namespace_of_a_newer_version_is_not_judged(broken_world: World) -> None:
    world = broken_world
    damaged(world, "q")
    world.raw("DEL", key(world, f"q:{QUEUE}"))
    world.raw("SET", key(world, "schema"), 99)
    found = audit(world.store, world.keys, pause=0).findings

    assert [finding.kind for finding in found] == [Kind.SCHEMA]
    assert not found[0].mend


def test_run_that_ended_and_comes_back_between_two_readings_is_told(
    broken_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = broken_world
    run_id = damaged(world, "k")
    world.raw("DEL", world.keys.history("j"))

    def restore(_: float) -> None:
        put(world, run_id, "s", "q", "ep", 0)

    monkeypatch.setattr("time.sleep", restore)
    found = audit(world.store, world.keys).findings

    assert (Kind.CHANGED, run_id) in {(one.kind, one.run) for one in found}


def test_run_that_moves_between_two_readings_is_caught_on_its_way(
    broken_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = broken_world
    run_id = world.running()

    def claim_again(_: float) -> None:
        put(world, run_id, "ep", 2)

    # As if the record had been read after the settlement and the owner's set before it.
    world.raw("SREM", world.keys.own("h1~a/p.1"), run_id)
    monkeypatch.setattr("time.sleep", claim_again)
    assert audit(world.store, world.keys).findings == ()

    monkeypatch.setattr("time.sleep", lambda _: None)
    assert [one.kind for one in audit(world.store, world.keys).findings] == [Kind.CONTAINER]


def test_schedule_that_fired_one_instant_twice_is_told(broken_world: World) -> None:
    world = broken_world
    line = f"1700000000000|fire|ok|{GHOST}|3|h1~a"
    world.raw("LPUSH", world.keys.schedule_history("nightly"), line, line)
    (found,) = findings(take(world.store, world.keys))

    assert (found.kind, found.run) == (Kind.FIRED, GHOST)


def test_run_started_more_often_than_claimed_is_told(broken_world: World) -> None:
    world = broken_world
    put(world, damaged(world, "r"), "at", 2)
    found = findings(take(world.store, world.keys), conduct=True)

    assert {one.kind for one in found} == {Kind.COUNT}


def test_what_is_overdue_is_told_while_a_supervisor_lives(broken_world: World) -> None:
    world = broken_world
    run_id = damaged(world, "d")
    world.raw("ZADD", world.keys.due, 1000, run_id)
    assert findings(take(world.store, world.keys)) == []
    (found,) = findings(take(world.store, world.keys), conduct=True)
    assert (found.kind, found.what.split()[0]) == (Kind.LATE, run_id)

    world.raw("HSET", world.keys.supervisor("h1~a"), "bt", 1000)
    assert findings(take(world.store, world.keys), conduct=True) == []


def test_more_holders_than_slots_are_a_warning(broken_world: World) -> None:
    world = broken_world
    for _ in range(2):
        damaged(world, "r", limits="l:db")
    world.limits(l_db=1)
    (found,) = findings(take(world.store, world.keys))

    assert (found.kind, found.severity) == (Kind.CROWDED, Severity.WARNING)


class Repairing(Programme):
    """A programme of faults in which somebody repairs all the time, also late and twice.

    Nothing but the scripts touches the store, so there is never anything to mend.
    """

    repairs = 0

    def beat(self) -> None:
        super().beat()
        items: list[tuple[str, ...]] = []
        for run_id in self.random.sample(self.ids, k=min(len(self.ids), 8)):
            place = f"{self.random.choice(QUEUES)}:{self.random.choice('059')}"
            items += [
                ("run", run_id), ("run", run_id, "absent"), ("h", run_id), ("log", run_id),
                ("due", run_id), ("due", "^" + run_id), ("q", place, run_id),
                ("own", self.random.choice(self.alive).owner, run_id),
                ("c", self.random.choice(sorted(LIMITS)), run_id),
                ("live", self.random.choice(sorted(JOBS)), run_id),
            ]  # fmt: skip
        answers = self.send(mend(self.keys, items))
        assert answers is None or not any(answers), list(zip(items, answers, strict=True))
        self.repairs += len(items)

    def spoil(self) -> None:
        """Leave the store to the scripts."""

    def litter(self) -> None:
        """Leave the store to the scripts."""


def test_repairs_amid_all_that_may_happen_change_nothing(store: BlockingStore) -> None:
    seed = random.randrange(10**9)
    for more in range(3):
        programme = Repairing(store, seed + more)
        try:
            programme.go()
        except BaseException as error:
            error.add_note(f"seed {seed + more}")
            raise
        assert programme.repairs > 20
