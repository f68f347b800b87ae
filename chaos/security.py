"""Faults 38-40: somebody can write to the store and has no key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chaos.table import fault
from chaos.waits import expect, until
from jobctl.model.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World
    from tests.acceptance.host import Host

    Forgery = Callable[[dict[str, str]], dict[str, str]]


def _envelope(record: dict[str, str], **values: object) -> dict[str, str]:
    return {"e": json.dumps({**json.loads(record["e"]), **values}, separators=(",", ":"))}


def _seal(record: dict[str, str], place: int, value: str) -> dict[str, str]:
    """Change one word of ``KEY.SIGNED.NOT_BEFORE.UNTIL.MAC``."""
    body = json.loads(record["e"])
    words = body["z"].split(".")
    words[place] = value
    return _envelope(record, z=".".join(words))


FORGERIES: dict[str, Forgery] = {
    "other arguments": lambda r: _envelope(r, a=["0.5", "1"]),
    "another job": lambda _: {"j": "again"},
    "another queue": lambda _: {"q": "default", "p": "9"},
    "more attempts": lambda _: {"mx": "50"},
    "no signature": lambda r: {
        "e": json.dumps({k: v for k, v in json.loads(r["e"]).items() if k != "z"})
    },
    "another key's name": lambda r: _seal(r, 0, "nobody-1"),
    "no key's name": lambda r: _seal(r, 0, ""),
    "signed later": lambda r: _seal(r, 1, "9999999999"),
    "valid for ever": lambda r: _seal(r, 3, "99999999999"),
    "another signature": lambda r: _seal(r, 4, "0" * 64),
    "an empty signature": lambda r: _seal(r, 4, ""),
    "spaces": lambda r: {"e": r["e"].replace(",", ", ")},
    "another time limit": lambda r: _envelope(r, to=1),
}


@fault(
    38,
    "arguments, job, signature, key or attempts of a signed run are changed",
    "never executed; counted, told of as security, shown by doctor",
    bounded=True,
)
def forged_runs(world: World) -> None:
    a = world.host("a", signed=True, slots=2)
    world.submit_many([("work", ("x",))] * 2)
    until(lambda: world.executions.count() == 2, "both slots are taken")
    forged = {what: world.submit("work", 0.2) for what in FORGERIES}
    fine = world.submit_many([("work", (0,))] * 3)
    for what, run in forged.items():
        key = world.keys.run(run)
        for name, value in FORGERIES[what](world.record(run)).items():
            world.raw("HSET", key, name, value)
        if what == "another queue":
            world.raw("LREM", world.keys.queue("default", 5), 0, run)
            world.raw("RPUSH", world.keys.queue("default", 9), run)
    world.go()
    for record in world.wait_final(*fine):
        expect(record["s"] == "k", f"a sound run ended as {record}")
    for what, run in forged.items():
        expect(not world.executions.lines(run), f"{what}: it was executed")
        world.expect_state(run, "x", rs="bad_payload")
        del world.accepted[run]
        world.may_say.append(run)
    world.measured["forgeries"] = len(forged)
    expect(a.log.count("security") >= 1, "the log has no word of it")
    _told_by_doctor(a, f"{len(forged)} runs")


def _told_by_doctor(host: Host, words: str) -> None:
    found = json.loads(host.call("doctor", "--json").stdout)["checks"]
    (check,) = (one for one in found if one["name"] == "signatures")
    expect(words in check["detail"], f"doctor says {check['detail']}")


@fault(
    39,
    "a valid run is replayed: as it was, under another id, in another namespace",
    "refused each time: nothing is executed again",
    bounded=True,
)
def replayed_runs(world: World) -> None:
    a = world.host("a", signed=True)
    b = world.host("b", signed=True, settings='namespace = "other"')
    run = world.submit("work", 0, host=a)
    waiting = world.submit("work", 0, host=a, start_in=3600.0)
    (record,) = world.wait_final(run)
    sealed = world.record(waiting)
    again = {**sealed, "s": "q", "e": record["e"], "t": record["t"]}
    other = new_id()
    queue = world.keys.queue("default", 5)
    # As it was: the record is set back to queued, as a backup or somebody's hand would do.
    world.raw("DEL", world.keys.run(run))
    _put(world, world.keys.run(run), {**again, "t": record["t"]})
    _put(world, world.keys.run(other), again)
    world.raw("RPUSH", queue, run, other)
    world.raw("RPUSH", world.keys.bell("default"), "1")
    elsewhere = [name.replace("{default}", "{other}") for name in (world.keys.run(waiting), queue)]
    _put(world, elsewhere[0], {**sealed, "s": "q"})
    world.raw("RPUSH", elsewhere[1], waiting)
    world.raw("RPUSH", world.keys.bell("default").replace("{default}", "{other}"), "1")
    until(lambda: world.record(other).get("s") == "x", "the copy under another id is refused")
    until(
        lambda: world.raw("HGET", elsewhere[0], "s") in (b"x", b"k"),
        "the other namespace refuses it",
    )
    until(lambda: world.record(run).get("s") in ("k", "x"), "the old one is settled")
    for one, times in ((run, 1), (other, 0), (waiting, 0)):
        seen = world.executions.count(one)
        expect(seen == times, f"{one} ran {seen} times, must have run {times}")
    expect(world.record(other).get("rs") == "bad_payload", f"{world.record(other)}")
    expect("security" in a.log and "security" in b.log, "a log has no word of it")
    a.run("revoke", waiting)
    world.set_back = True
    world.may_say += [run, other]
    world.wait_work(within=10)


def _put(world: World, key: str, fields: dict[str, str]) -> None:
    kept = {name: value for name, value in fields.items() if name in "s q p j t e mx lm lv kp uq"}
    world.raw("HSET", key, *[word for pair in kept.items() for word in pair])


@fault(
    40,
    "forged orders: to stop a run, and to reload, drain, stop or replace a daemon",
    "ignored, counted, told of",
    bounded=True,
)
def forged_orders(world: World) -> None:
    a = world.host("a", signed=True)
    runs = world.submit_many([("work", ("x",))] * 2)
    world.wait_started(*runs)
    sid = world.identity(a)
    stale = world.random.choice(["k1.1700000000.abc.", "."]) + "0" * 64
    for run in runs:
        owner = world.record(run)["o"]
        order = world.pick("user TERM 1 1", f"user TERM 1 1 {stale}")
        world.raw("HSET", world.keys.run(run), "cx", order)
        for message in (f"stop {run} {order}", f"cancel {run}", f"revoke {run} {order}"):
            world.raw("RPUSH", world.keys.mailbox(sid), message)
        world.raw("RPUSH", world.keys.bell(f"@{owner}"), "1")
    orders = ["reload", "replace", "drain", "stop", "shutdown", f"drain {stale}", f"stop {stale}"]
    world.random.shuffle(orders)
    world.raw("RPUSH", world.keys.mailbox(sid), *orders)
    world.raw("RPUSH", world.keys.bell(f"@{sid}"), "1")
    until(lambda: world.raw("LLEN", world.keys.mailbox(sid)) == 0, "the mail is read", within=15)
    until(lambda: int(world.raw("HGET", world.keys.counters, "forged") or 0) > 0, "it is counted")
    before = a.log.count(" is ready ")
    world.wait_work(within=10)
    expect(a.daemons[-1].poll() is None, "the daemon obeyed")
    expect(a.log.count(" is ready ") == before == 1, "the daemon was replaced")
    expect(not world.executions.count(runs[0], "end"), "a run was stopped")
    counted = int(world.raw("HGET", world.keys.counters, "forged"))
    world.measured["counted"] = counted
    _told_by_doctor(a, f"{counted} orders")
    for run in runs:
        world.raw("HDEL", world.keys.run(run), "cx")
    world.go("x")
    for record in world.wait_final(*runs):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    # A real order is obeyed.
    last = world.submit("work", "z")
    world.wait_started(last)
    a.run("revoke", last)
    world.expect_state(last, "v")
