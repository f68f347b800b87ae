"""Ways to damage a namespace, one for every contradiction that the checker knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store.verify.census import FAMILIES
from jobctl.store.verify.finding import Kind

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
    "epoch beyond all numbers": (Kind.RECORD, change("c", "ep", "9" * 23)),
    "record of another type": (Kind.TYPE, _foreign_record),
    "output that stays": (
        Kind.LEFTOVER, lambda world: world.raw("XADD", key(world, f"l:{GHOST}"), "*", "d", "x")),
    "mailbox of nobody": (
        Kind.LEFTOVER, lambda world: world.raw("RPUSH", world.keys.mailbox("h9~x"), "stop")),
    **{
        f"{name} of another type": (Kind.TYPE, foreign(name))
        for name in (
            f"q:{QUEUE}", "due", OWN, "pools:h1~a", "sup:h7~x", "sups", "b:default", "mb:h1~a",
            "lim", "c:l:db", "pk:l:db", "rl:t:j", "u:abc", "on:j:k", "live:j", "s:nightly", "sh:nightly",
            "h:j", "hf:j", "l:" + GHOST, "bad", "schema", "latest", "n",
        )
    },
}  # fmt: skip
