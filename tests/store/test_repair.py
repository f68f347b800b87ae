"""Every contradiction that can be found is made for real, found, mended, and gone afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store.verify import audit, confirmed, findings
from jobctl.store.verify.census import FAMILIES, take
from jobctl.store.verify.finding import Kind, Severity
from jobctl.store.verify.repair import Repair, mend, repair

if TYPE_CHECKING:
    from collections.abc import Callable

    from store_world import World

GHOST = "ghostghostghostg"
BINARY = b"\xff\x00 \xe2\x82"
QUEUE = "default:5"
OWN = "own:h1~a/p.1"


def damaged(world: World, letter: str = "q", **options: object) -> str:
    """Bring a run into a state; one of its own job, so that it is not in another's way."""
    match letter:
        case "d":
            return world.submit(start_in=3600, **options)
        case "q":
            return world.submit(**options)
        case "p":
            if world.limits(l_gate=1):
                world.running(limits="l:gate", queue="gate")
            run_id = world.submit(limits="l:gate", queue="gate", **options)
            assert world.claim(queues=["gate"]) == []
            return run_id
        case "c":
            run_id = world.submit(queue="hand", **options)
            world.claim_one(run_id, queues=["hand"])
            return run_id
        case "r":
            return world.running(queue="hand", **options)
    run_id = world.running(queue="hand", **options)
    world.settle(run_id, letter)
    return run_id


def put(world: World, run_id: str, *words: str | int) -> None:
    world.raw("HSET", world.keys.run(run_id), *words)


def without(world: World, run_id: str, *names: str) -> None:
    world.raw("HDEL", world.keys.run(run_id), *names)


def key(world: World, name: str) -> str:
    return world.keys.prefix + name


def run_lost_from(letter: str, place: str) -> Callable[[World], object]:
    """A run whose container is deleted."""

    def damage(world: World) -> None:
        damaged(world, letter)
        world.raw("DEL", key(world, place))

    return damage


def run_also_in(letter: str, command: str, place: str, *score: int) -> Callable[[World], object]:
    """A run that is in a place it must not be in, or twice in its own."""

    def damage(world: World) -> None:
        run_id = damaged(world, letter)
        world.raw(command, key(world, place), *score, run_id)

    return damage


def ghost_in(command: str, place: str, *score: int) -> Callable[[World], object]:
    return lambda world: world.raw(command, key(world, place), *score, GHOST)


def change(letter: str, *words: str | int) -> Callable[[World], object]:
    return lambda world: put(world, damaged(world, letter), *words)


def drop(letter: str, *names: str, **options: object) -> Callable[[World], object]:
    return lambda world: without(world, damaged(world, letter, **options), *names)


def _dead_owner(world: World) -> None:
    world.supervisor("h7~gone")
    run_id = world.submit(queue="hand")
    world.claim_one(run_id, sid="h7~gone", queues=["hand"])
    world.raw("DEL", key(world, "pools:h7~gone"), key(world, "sup:h7~gone"))


def _unlisted(world: World) -> None:
    world.supervisor("h7~gone")
    world.raw("SREM", world.keys.supervisors, "h7~gone")


def _own_of_dead(world: World) -> None:
    run_id = damaged(world, "q")
    world.raw("SADD", world.keys.own("h8~dead/p.1"), run_id)
    world.raw("SADD", world.keys.pools("h8~dead"), "h8~dead/p.1")
    world.raw("SADD", world.keys.supervisors, "h8~dead")


def _owner_lost(letter: str) -> Callable[[World], object]:
    def damage(world: World) -> None:
        without(world, damaged(world, letter), "o")
        world.raw("DEL", key(world, OWN))

    return damage


def _no_live_entry(world: World) -> None:
    damaged(world, "q", overlap="s")
    world.raw("DEL", world.keys.live("j"))


def _no_lock(world: World) -> None:
    run_id = damaged(world, "q", unique="k")
    world.raw("DEL", key(world, "u:" + world.record(run_id)["uq"]))


def _one_lock_for_two(world: World) -> None:
    first = damaged(world, "q", unique="another")
    digest = world.record(first)["uq"]
    put(world, damaged(world, "q"), "uq", digest)


def _lock_of_ended(world: World) -> None:
    world.raw("SET", key(world, "u:abc"), damaged(world, "k"))


def _no_limit(world: World) -> None:
    damaged(world, "r", limits="l:db")
    world.raw("DEL", world.keys.holders("l:db"))


def _holder_that_waits(world: World) -> None:
    world.limits(l_held=1)
    world.raw("SADD", world.keys.holders("l:held"), damaged(world, "q", limits="l:held"))


def _nobody_looks(world: World) -> None:
    damaged(world, "p")
    world.raw("ZREM", world.keys.due, "!l:gate")


def _no_bell(world: World) -> None:
    damaged(world, "q")
    world.raw("DEL", world.keys.bell("default"))


def _two_tokens(world: World) -> None:
    world.raw("RPUSH", world.keys.bell("default"), "1", "1")


def _no_expiry(world: World) -> None:
    world.raw("ZREM", world.keys.due, "^" + damaged(world, "q", expires_in=3600))


def _no_history(world: World) -> None:
    damaged(world, "k")
    world.raw("DEL", world.keys.history("j"))


def _failed_no_history(world: World) -> None:
    damaged(world, "x", keep="5:3600000:5")
    world.raw("DEL", world.keys.failed_history("j"))


def _endless(world: World) -> None:
    world.raw("PERSIST", world.keys.run(damaged(world, "k")))


def _short_lived(world: World) -> None:
    world.raw("PEXPIRE", world.keys.run(damaged(world, "q")), 3_600_000)


def _foreign_record(world: World) -> None:
    run_id = damaged(world, "q")
    world.raw("DEL", world.keys.run(run_id))
    world.raw("SET", world.keys.run(run_id), "?")


def foreign(name: str) -> Callable[[World], object]:
    """A key of a type that no family has under this name."""
    family = name.partition(":")[0]
    words = ("SET", "?") if FAMILIES[family] != "string" else ("LPUSH", "?")
    return lambda world: (
        world.raw("DEL", key(world, name)),
        world.raw(words[0], key(world, name), words[1]),
    )


DAMAGE: dict[str, tuple[Kind, Callable[[World], object]]] = {
    "due run in no timetable": (Kind.CONTAINER, run_lost_from("d", "due")),
    "ready run in no queue": (Kind.CONTAINER, run_lost_from("q", f"q:{QUEUE}")),
    "parked run in no list": (Kind.CONTAINER, run_lost_from("p", "pk:l:gate")),
    "claimed run in no set": (Kind.CONTAINER, run_lost_from("c", OWN)),
    "running run in no set": (Kind.CONTAINER, run_lost_from("r", OWN)),
    "ready run twice in its queue": (Kind.DANGLING, run_also_in("q", "RPUSH", f"q:{QUEUE}")),
    "ready run in another queue": (Kind.DANGLING, run_also_in("q", "RPUSH", "q:default:9")),
    "ready run in the timetable": (Kind.DANGLING, run_also_in("q", "ZADD", "due", 1 << 45)),
    "parked run in a queue": (Kind.DANGLING, run_also_in("p", "RPUSH", f"q:{QUEUE}")),
    "ready run among parked ones": (Kind.DANGLING, run_also_in("q", "RPUSH", "pk:l:gate")),
    "running run in a queue": (Kind.DANGLING, run_also_in("r", "RPUSH", f"q:{QUEUE}")),
    "due run in a queue": (Kind.DANGLING, run_also_in("d", "RPUSH", f"q:{QUEUE}")),
    "ready run among claims of the dead": (Kind.DANGLING, _own_of_dead),
    "parked for a limit it does not need": (Kind.CONTAINER, change("p", "lm", "l:other")),
    "parked for nothing": (Kind.CONTAINER, drop("p", "pl")),
    "claimed by nobody": (Kind.CLAIM, _owner_lost("c")),
    "running for nobody": (Kind.CLAIM, _owner_lost("r")),
    "owner forgotten": (Kind.CLAIM, drop("r", "o")),
    "unknown id in a queue": (Kind.DANGLING, ghost_in("RPUSH", f"q:{QUEUE}")),
    "unknown id among parked ones": (Kind.DANGLING, ghost_in("RPUSH", "pk:l:gate")),
    "unknown id in the timetable": (Kind.DANGLING, ghost_in("ZADD", "due", 1 << 45)),
    "expiry of an unknown id": (
        Kind.DANGLING, lambda world: world.raw("ZADD", world.keys.due, 1 << 45, "^" + GHOST)),
    "bytes in a queue": (
        Kind.DANGLING, lambda world: world.raw("RPUSH", key(world, f"q:{QUEUE}"), BINARY)),
    "bytes among parked ones": (
        Kind.DANGLING, lambda world: world.raw("RPUSH", key(world, "pk:l:gate"), BINARY)),
    "bytes in the timetable": (
        Kind.DANGLING, lambda world: world.raw("ZADD", world.keys.due, 1 << 45, BINARY)),
    "bytes that hold a limit": (Kind.HOLDER, lambda world: world.raw("SADD", key(world, "c:l:db"), BINARY)),
    "unknown id that holds a limit": (Kind.HOLDER, ghost_in("SADD", "c:l:db")),
    "holder that waits": (Kind.HOLDER, _holder_that_waits),
    "running without its limit": (Kind.HOLDER, _no_limit),
    "nobody looks at parked runs": (Kind.PARKED, _nobody_looks),
    "lock of an unknown id": (Kind.LOCK, lambda world: world.raw("SET", key(world, "u:abc"), GHOST)),
    "lock of an ended run": (Kind.LOCK, _lock_of_ended),
    "run without its lock": (Kind.LOCK, _no_lock),
    "one lock for two": (Kind.LOCK, _one_lock_for_two),
    "unknown id among unfinished ones": (Kind.LOCK, ghost_in("SADD", "live:j")),
    "run missing among unfinished ones": (Kind.LOCK, _no_live_entry),
    "ready runs without a bell": (Kind.BELL, _no_bell),
    "two tokens in a bell": (Kind.BELL, _two_tokens),
    "expiry that nothing carries out": (Kind.EXPIRY, _no_expiry),
    "ended run in no history": (Kind.ENDED, _no_history),
    "failed run in no history": (Kind.ENDED, _failed_no_history),
    "run that ended twice": (Kind.ENDED, run_also_in("k", "LPUSH", "h:j")),
    "run in two histories": (Kind.ENDED, run_also_in("k", "LPUSH", "hf:j")),
    "unfinished run in a history": (Kind.ENDED, run_also_in("q", "LPUSH", "h:j")),
    "record that stays": (Kind.ENDED, _endless),
    "record that expires too soon": (Kind.ENDED, _short_lived),
    "claims of an unknown supervisor": (Kind.OWNER, _dead_owner),
    "supervisor on no list": (Kind.OWNER, _unlisted),
    "unknown state": (Kind.RECORD, change("q", "s", "?")),
    "no state": (Kind.RECORD, drop("r", "s")),
    "no job": (Kind.RECORD, drop("q", "j")),
    "no priority": (Kind.RECORD, drop("q", "p")),
    "epoch that is no number": (Kind.RECORD, change("c", "ep", "many")),
    "record of another type": (Kind.TYPE, _foreign_record),
    "output that stays": (
        Kind.LEFTOVER, lambda world: world.raw("XADD", key(world, f"l:{GHOST}"), "*", "d", "x")),
    "mailbox of nobody": (
        Kind.LEFTOVER, lambda world: world.raw("RPUSH", world.keys.mailbox("h9~x"), "stop")),
    **{
        f"{name} of another type": (Kind.TYPE, foreign(name))
        for name in (
            f"q:{QUEUE}", "due", OWN, "pools:h1~a", "sup:h7~x", "sups", "b:default", "mb:h1~a",
            "lim", "c:l:db", "pk:l:db", "rl:t:j", "u:abc", "live:j", "s:nightly", "sh:nightly",
            "h:j", "hf:j", "l:" + GHOST, "bad", "schema", "latest", "n",
        )
    },
}  # fmt: skip


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
    ids = [damaged(world, letter, limits="l:db") for letter in "dqcrk"]
    before = [world.record(run_id) for run_id in ids]
    items = [finding for run_id in ids for finding in (("run", run_id), ("h", run_id))]

    assert world.run(mend(world.keys, items)) == [""] * len(items)
    assert repaired(world).deeds == ()
    assert [world.record(run_id) for run_id in ids] == before


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
