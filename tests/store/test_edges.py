"""Every edge of TRANSITIONS happens in the store, and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from store_world import World, new_run

from jobctl.model.run import FINAL_LETTERS, LETTERS, TRANSITIONS
from jobctl.store import decisions, membership, transitions

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPT = ("submit", "tick", "boot")
GATE = "l:gate"
LONG = 60.0


def accept(world: World, script: str, **options: Any) -> str:
    """Bring a run in through one of the three doors, or by making it due; return its id."""
    if script in ("promote", "claim"):
        run_id = accept(world, "tick", start_in=LONG, **options)
        make_due(world, run_id)
        world.promote() if script == "promote" else world.claim(queues=["other"])
        return run_id
    run = new_run(**options)
    if script == "submit":
        world.run(transitions.submit(world.keys, [run]))
    elif script == "boot":
        world.run(
            decisions.boot(
                world.keys, schedule="s", host="h1", boot_id=run.request.id, who="h1~a", run=run
            )
        )
    else:
        (last,) = world.run(decisions.introduce_schedules(world.keys, {"s": "g"}))
        world.let_pass(0.002)
        reply = world.run(
            decisions.tick(
                world.keys,
                schedule="s",
                generation="g",
                previous=last,
                instant=last + 0.001,
                following=None,
                kind="fire",
                who="h1~a",
                run=run,
            )
        )
        assert reply.last == pytest.approx(last + 0.001)
    return run.request.id


# Seeds: each brings a run of job "j", which has the overlap policy of the test, into a state.


def seed(world: World, letter: str, **options: Any) -> str:
    return SEEDS[letter](world, options)


def _scheduled(world: World, options: dict[str, Any]) -> str:
    return world.submit(start_in=LONG, **options)


def _parked(world: World, options: dict[str, Any]) -> str:
    world.limits(l_gate=0)
    options = {**options, "limits": f"{options.get('limits', '')} {GATE}".strip()}
    run_id = world.submit(**options)
    assert world.claim() == []
    return run_id


def _waiting(world: World, options: dict[str, Any]) -> str:
    run_id = world.submit(**options)
    world.raw("LREM", world.keys.queue("default", 5), 1, run_id)
    world.raw("HSET", world.keys.run(run_id), "s", "w")
    return run_id


def _claimed(world: World, options: dict[str, Any]) -> str:
    run_id = world.submit(**options)
    world.claim_one(run_id)
    return run_id


def _settled(letter: str) -> Callable[[World, dict[str, Any]], str]:
    def make(world: World, options: dict[str, Any]) -> str:
        run_id = world.running(**options)
        assert world.settle(run_id, letter) == letter
        return run_id

    return make


def _revoked(world: World, options: dict[str, Any]) -> str:
    run_id = world.submit(**options)
    world.revoke(run_id)
    return run_id


def _expired(world: World, options: dict[str, Any]) -> str:
    run_id = world.submit(expires_in=0.001, **options)
    world.let_pass(0.002)
    world.promote()
    return run_id


SEEDS: dict[str, Callable[[World, dict[str, Any]], str]] = {
    "d": _scheduled,
    "q": lambda world, options: world.submit(**options),
    "p": _parked,
    "w": _waiting,
    "c": _claimed,
    "r": lambda world, options: world.running(**options),
    "k": _settled("k"),
    "x": _settled("x"),
    "v": _revoked,
    "e": _expired,
    "s": _settled("s"),
}


def retrying(world: World, **options: Any) -> str:
    run_id = world.running(**options)
    assert world.settle(run_id, "d", reason="exit", delay=LONG) == "d"
    return run_id


def make_due(world: World, run_id: str) -> None:
    world.raw("ZADD", world.keys.due, 1, run_id)


def expire(world: World, run_id: str) -> None:
    world.raw("HSET", world.keys.run(run_id), "xp", 1)
    world.raw("ZADD", world.keys.due, 1, f"^{run_id}")


# Plays: how each edge is made to happen. They get the world, the old state, the new state.


def play_accept(script: str) -> Callable[[World, str, str], str]:
    def play(world: World, _old: str, new: str) -> str:
        if new == "d":
            return accept(world, script, start_in=LONG)
        if new == "s":
            world.submit(overlap="s")
            return accept(world, script, overlap="s")
        return accept(world, script)

    return play


def play_give_way(script: str) -> Callable[[World, str, str], str]:
    def play(world: World, old: str, new: str) -> str:
        policy = "l" if new == "s" else "r"
        options = {"overlap": policy, "limits": "o:j"}
        run_id = retrying(world, **options) if old == "d" else seed(world, old, **options)
        if old == "d" and new == "v":
            # Only for one by hand: to a scheduled run it is a retry that gives way.
            script_by_hand(world, script, **options)
            assert world.reason(run_id) == "replaced"
            return run_id
        accept(world, script, overlap=policy, limits="o:j")
        assert world.reason(run_id) == {"s": "overlap", "v": "replaced"}[new]
        return run_id

    return play


def script_by_hand(world: World, script: str, **options: Any) -> None:
    if script == "submit":
        accept(world, script, **options)
        return
    run_id = world.submit(start_in=LONG, **options)
    make_due(world, run_id)
    world.promote() if script == "promote" else world.claim(queues=["other"])


def play_superseded(script: str) -> Callable[[World, str, str], str]:
    def play(world: World, _old: str, _new: str) -> str:
        run_id = retrying(world, overlap="s")
        newer = accept(world, script, overlap="s")
        assert world.reason(run_id) == "exit"
        assert world.state(newer) == "q"
        return run_id

    return play


def play_promote(script: str) -> Callable[[World, str, str], str]:
    def promote(world: World) -> None:
        if script == "promote":
            world.promote()
        else:
            world.claim(queues=["other"])

    def play(world: World, old: str, new: str) -> str:
        run_id = seed(world, old)
        if new == "e":
            expire(world, run_id)
            promote(world)
            assert world.reason(run_id) == "deadline"
        elif new == "s":
            blocker = world.submit(job="busy", overlap="s")
            run_id = world.submit(job="busy", overlap="s", start_in=LONG)
            make_due(world, run_id)
            promote(world)
            assert world.reason(run_id) == "overlap"
            assert world.state(blocker) == "q"
        else:
            make_due(world, run_id)
            promote(world)
        return run_id

    return play


def play_freed(script: str) -> Callable[[World, str, str], str]:
    """A run parked for a limit is let through by what another run's end sets free."""

    def play(world: World, _old: str, _new: str) -> str:
        run_id = seed(world, "p", job="victim")
        # There is room, but nobody has looked yet.
        world.raw("HSET", world.keys.limits, GATE, 2)
        other = {"job": "other", "limits": GATE, "queue": "elsewhere"}
        if script in ACCEPT:
            world.submit(overlap="r", **other)
            accept(world, script, job="other", overlap="r")
        elif script in ("promote", "claim"):
            world.raw("ZADD", world.keys.due, 1, f"!{GATE}")
            world.promote() if script == "promote" else world.claim(queues=["none"])
        elif script == "limits":
            world.limits(l_gate=3)
        elif script == "revoke":
            world.revoke(world.submit(**other))
        else:
            holder = world.submit(**other)
            world.claim_one(holder, queues=["elsewhere"])
            if script == "settle":
                world.settle(holder)
            elif script == "release":
                world.release((holder, 1))
            else:
                world.rescue()
        return run_id

    return play


def play_claim(world: World, old: str, new: str) -> str:
    if new == "p":
        return seed(world, "p")
    run_id = seed(world, old)
    if new == "e":
        world.raw("HSET", world.keys.run(run_id), "xp", 1)
        assert world.claim() == []
    else:
        world.claim_one(run_id)
    return run_id


def play_start(world: World, old: str, _new: str) -> str:
    run_id = seed(world, old)
    assert world.start(run_id) == "ok"
    return run_id


def play_settle(world: World, old: str, new: str) -> str:
    run_id = seed(world, old)
    if new == "q":
        assert world.settle(run_id, "d") == "d"
    elif new == "v":
        world.revoke(run_id)
        assert world.settle(run_id, "x") == "v"
    else:
        assert world.settle(run_id, new, delay=LONG) == new
    return run_id


def play_release(world: World, old: str, new: str) -> str:
    run_id = seed(world, old)
    if new == "v":
        world.revoke(run_id)
    assert world.release((run_id, 1)) == ("ok",)
    return run_id


def play_rescue(world: World, old: str, new: str) -> str:
    run_id = seed(world, old, on_lost="f" if (old, new) == ("r", "x") else "")
    if new == "v":
        world.revoke(run_id)
    if (old, new) == ("c", "x"):
        world.raw("HSET", world.keys.run(run_id), "cl", 4)
    assert world.rescue().fenced
    return run_id


def play_revoke(world: World, old: str, new: str) -> str:
    run_id = seed(world, old)
    assert world.revoke(run_id) == (f"{old} {new}",)
    return run_id


def find_play(old: str, new: str, script: str) -> Callable[[World, str, str], str]:
    opens = script in (*ACCEPT, "promote", "claim")
    if old == "-":
        return play_accept(script)
    if (old, new) == ("p", "q"):
        return play_freed(script)
    if opens and new == "x":
        return play_superseded(script)
    if opens and (new == "v" or (new == "s" and (script in ACCEPT or old in "qp"))):
        return play_give_way(script)
    return PLAYS.get((script, old + new)) or PLAYS[script, ""]


PLAYS: dict[tuple[str, str], Callable[[World, str, str], str]] = {
    ("promote", ""): play_promote("promote"),
    ("claim", ""): play_promote("claim"),
    ("claim", "qc"): play_claim,
    ("claim", "qp"): play_claim,
    ("claim", "qe"): play_claim,
    ("start", ""): play_start,
    ("settle", ""): play_settle,
    ("release", ""): play_release,
    ("rescue", ""): play_rescue,
    ("revoke", ""): play_revoke,
}


@pytest.mark.parametrize(("old", "new", "script"), sorted(TRANSITIONS))
def test_edge_happens(world: World, old: str, new: str, script: str) -> None:
    run_id = find_play(old, new, script)(world, old, new)
    record = world.record(run_id)
    assert record["s"] == new
    assert ("fn" in record) == (new in FINAL_LETTERS)
    assert (world.raw("PTTL", world.keys.run(run_id)) > 0) == (new in FINAL_LETTERS)
    if new in FINAL_LETTERS:
        assert run_id in history(world, record["j"])
        assert world.counters()[new] >= 1
    world.check()


def history(world: World, job: str) -> list[str]:
    return [item.decode() for item in world.raw("LRANGE", world.keys.history(job), 0, -1)]


# The other direction: no script takes a run where the table does not.

CALLS: dict[str, list[Callable[[World, str], object]]] = {
    "submit": [lambda world, i: world.answer(i), lambda world, _: world.answer(overlap="s")],
    "promote": [lambda world, _: world.promote()],
    "claim": [lambda world, _: world.claim()],
    "start": [lambda world, i: world.start(i)],
    "settle": [
        *(lambda world, i, letter=letter: world.settle(i, letter) for letter in "kxsvd"),
        lambda world, i: world.settle(i, "d", delay=LONG),
    ],
    "release": [lambda world, i: world.release((i, 1))],
    "rescue": [lambda world, _: world.rescue()],
    "revoke": [lambda world, i: world.revoke(i)],
    "limits": [lambda world, _: world.limits(l_gate=1)],
}


def reachable(old: str, script: str) -> set[str]:
    """States one call of a script may bring a run to: it may make several moves."""
    found = {old}
    while True:
        more = {new for was, new, by in TRANSITIONS if was in found and by == script} - found
        if not more:
            return found
        found |= more


@pytest.mark.parametrize("script", sorted(CALLS))
@pytest.mark.parametrize("old", sorted(LETTERS))
def test_script_makes_no_other_move(world: World, old: str, script: str) -> None:
    for call in CALLS[script]:
        world.raw("FLUSHALL")
        world.supervisor("h1~a")
        run_id = seed(world, old)
        if old == "d":
            make_due(world, run_id)
        call(world, run_id)
        assert world.state(run_id) in reachable(old, script)
        world.check()


@pytest.mark.parametrize("old", "dqpwkxves")
def test_owner_has_no_word_on_a_run_it_does_not_hold(world: World, old: str) -> None:
    run_id = seed(world, old)
    before = world.record(run_id)
    # A replay of its own settlement is told so; everything else is stale.
    replay = "already" if old in "kxs" else "stale"
    assert world.settle(run_id, "k") == replay
    assert world.start(run_id) == "stale"
    assert world.release((run_id, 1)) == ("stale",)
    assert world.record(run_id) == before


@pytest.mark.parametrize("letter", "cr")
@pytest.mark.parametrize(("epoch", "sid"), [(2, "h1~a"), (0, "h1~a"), (1, "h2~a")])
def test_wrong_epoch_or_owner_is_stale(world: World, letter: str, epoch: int, sid: str) -> None:
    run_id = seed(world, letter)
    world.supervisor("h2~a")
    before = world.record(run_id)
    assert world.settle(run_id, "k", epoch=epoch, sid=sid) == "stale"
    assert world.start(run_id, epoch, sid=sid) == "stale"
    assert world.release((run_id, epoch), sid=sid) == ("stale",)
    assert world.record(run_id) == before


@pytest.mark.parametrize("letter", FINAL_LETTERS)
def test_final_run_stays_as_it_is(world: World, letter: str) -> None:
    run_id = seed(world, letter)
    before = world.record(run_id)
    assert world.revoke(run_id) == (f"{letter} {letter}",)
    assert world.answer(run_id).detail == letter
    world.promote()
    world.claim()
    world.rescue()
    assert world.record(run_id) == before


@pytest.mark.parametrize("letter", "cr")
def test_revoking_what_runs_asks_its_owner(world: World, letter: str) -> None:
    run_id = seed(world, letter)
    assert world.revoke(run_id, signal="INT", grace=2.5, kill=False) == (f"{letter} {letter}",)
    beat = membership.beat(world.keys, supervisor="h1~a", load="", owners=["h1~a/p.1"])
    reply = world.run(beat)
    assert reply.messages == (f"revoke {run_id} 1 user INT 2.5 0",)
    assert reply.owned == (1,)
    assert world.start(run_id) == "cancelled"


def test_unknown_run_cannot_be_revoked(world: World) -> None:
    assert world.revoke("aaaaaaaaaaaaaaaa") == ("-",)
