"""Faults 18–21: the network between a host and its store is cut, deaf on one side, or bad.

Host ``a`` and the store are in network namespaces of their own (:mod:`chaos.wire`); host ``b``
stays with the store and reaches it by its socket.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from chaos.store import nobody_rescued
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.wire import STORE, Wire
from chaos.world import TAKEOVER, TTL

if TYPE_CHECKING:
    from chaos.wire import Packet
    from chaos.world import World
    from tests.acceptance.host import Host

PORT = 7000
BEAT = 5.0
"""Seconds between two beats."""
BLOCK = 15.0
"""Seconds that a listener waits for a bell at most."""
SHORT = 10.0
LONG = 75.0


def apart(world: World) -> tuple[Wire, Host, Host]:
    """Return the wire and the hosts: ``a`` at its far end, ``b`` beside the store."""
    wire = Wire(world.seed).start()
    with wire.store.inside():
        world.start_store("--port", str(PORT), "--bind", STORE, "--protected-mode", "no")
    b = world.host("b")
    a = world.host("a", start=False)
    a.redis = f"redis://{STORE}:{PORT}"
    world.configure(a)
    with wire.host.inside():
        a.start()
    return wire, a, b


def on_both(world: World) -> dict[str, list[str]]:
    """Fill all slots with runs that wait for ``x``; return their ids by host."""
    runs = world.submit_many([("work", ("x",))] * 8)
    world.wait_begun(*runs)
    world.wait_started(*runs)
    found: dict[str, list[str]] = {"a": [], "b": []}
    for line in world.executions.lines(word="begin"):
        if line.run in runs:
            found[line.host].append(line.run)
    expect(found["a"] and found["b"], f"runs are only on one host: {found}")
    return found


def beat(world: World, host: Host) -> int:
    """Return the number of a supervisor's last beat in the store."""
    return int(world.raw("HGET", world.keys.supervisor(world.identity(host)), "beat") or 0)


@fault(
    18,
    "the network of one host is cut for 10 s, or for 75 s",
    "10 s: nothing moves. 75 s: taken over once; the host is fenced when it is back",
    needs=("netns",),
)
def cut_off(world: World) -> None:
    wire, a, b = apart(world)
    world.measured["cut for s"] = span = world.pick(SHORT, LONG)
    held = on_both(world)
    if span == SHORT:
        wire.cut()
        time.sleep(span)
        wire.mend()
        watch = Stopwatch()
        before = beat(world, a)
        until(lambda: beat(world, a) > before, "the host beats again", within=12)
        world.measured["back after s"] = watch.seconds
        world.go("x")
        for record in world.wait_final(*held["a"], *held["b"]):
            expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
        nobody_rescued(world)
        return
    world.may_overlap = world.may_repeat = True
    wire.cut()
    cut = Stopwatch()
    until(lambda: " is dead; took back" in b.log, "the other host takes over", within=TAKEOVER)
    world.measured["taken over after s"] = cut.seconds
    # The last beat may have been heard a whole beat before.
    expect(cut.seconds > TTL - BEAT, f"taken over already after {cut.seconds} s")
    until(lambda: cut.seconds > span, "the cut is over", within=span + 1)
    wire.mend()
    until(lambda: "taken for dead" in a.log, "the host notices that it was fenced", within=30)
    world.go("x")
    for run, record in zip(held["a"], world.wait_final(*held["a"]), strict=True):
        expect((record["s"], record.get("ls")) == ("k", "1"), f"{run} ended as {record}")
    for run, record in zip(held["b"], world.wait_final(*held["b"]), strict=True):
        expect((record["s"], record["at"]) == ("k", "1"), f"{run} ended as {record}")
    expect("taken for dead" not in b.log, "the other host was fenced too")


@fault(
    19,
    "one-way loss: requests arrive, answers are lost",
    "claims are found again within a beat; a repeated submit is one run",
    needs=("netns",),
    bounded=True,
)
def deaf_one_way(world: World) -> None:
    wire, a, b = apart(world)
    b.stop()
    # What was carried out for a is exactly what it does not learn of.
    deaf: set[int] = set()

    def heard(packet: Packet) -> bool:
        if b"EVAL" in packet.payload:
            deaf.add(packet.source)
        return False

    wire.to_store.drops = heard
    wire.to_host.drops = lambda packet: bool(packet.payload) and packet.target in deaf
    runs = world.submit_many([("work", (0.1,)), ("again", (0.1, "2:5")), ("once", (0.1,))] * 2)
    with wire.host.inside():
        done = a.call("submit", "--json", "work", "0")
    expect(done.returncode == 75, f"submit ended with {done.returncode}: {done.stdout}")
    told = json.loads(done.stdout or "{}")
    word = next(
        (word.strip("'\".,;:") for word in done.stderr.split() if len(word.strip("'\".,;:")) == 16),
        str(told.get("id", "")),
    )
    time.sleep(world.random.uniform(1, 8))
    expect(deaf, "nothing was lost")
    wire.mend()
    watch = Stopwatch()
    with wire.host.inside():
        again = a.call("submit", "--id", word, "work", "0")
    expect(again.returncode == 0, f"the repeated submit ended with {again.returncode}: {again}")
    expect(again.stdout.strip() == word, f"the repeated submit made another run: {again}")
    world.accepted[word] = "work"
    world.wait_final(*runs, word)
    world.measured |= {"connections deaf": len(deaf), "all done after s": watch.seconds}
    expect(watch.seconds < BEAT + 20, f"all was done only after {watch.seconds} s")
    for run in (*runs, word):
        most = 2 if world.accepted[run] == "again" else 1
        expect(
            world.executions.count(run) == most, f"{run} ran {world.executions.count(run)} times"
        )
    nobody_rescued(world)


@fault(
    20,
    "half-open connections: packets are dropped, nobody resets",
    "runs begin again within the block time and 5 s",
    needs=("netns",),
)
def half_open(world: World) -> None:
    wire, _, b = apart(world)
    b.stop()
    old: set[int] = set()
    world.wait_final(world.submit("work", 0))

    def known(packet: Packet) -> bool:
        old.add(packet.source)
        return False

    wire.to_store.drops = known
    until(lambda: len(old) >= 2, "the connections that exist speak", within=BLOCK + 5)
    time.sleep(world.random.uniform(0, BLOCK))
    wire.to_store.drops = lambda packet: packet.source in old
    wire.to_host.drops = lambda packet: packet.target in old
    world.measured["closed"] = closed = world.pick("by the server", "by nobody")
    if closed == "by the server":
        # The server forgets them; what it says about that is lost as well.
        world.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    watch = Stopwatch()
    run = world.submit("work", 0)
    until(lambda: world.executions.count(run) > 0, "a run begins", within=BLOCK + 30)
    world.measured |= {"half-open": len(old), "a run began after s": watch.seconds}
    expect(watch.seconds <= BLOCK + 5, f"a run began only after {watch.seconds} s")
    world.wait_final(run)
    nobody_rescued(world)


@fault(
    21,
    "200 ms latency, 5 % loss, 2 KB/s",
    "all is right, only slower; the beats survive",
    needs=("netns",),
)
def bad_line(world: World) -> None:
    wire, a, b = apart(world)
    b.stop()
    for way in (wire.to_host, wire.to_store):
        way.delay, way.loss, way.rate = 0.1, 0.05, 2048.0
    before = beat(world, a)
    watch = Stopwatch()
    runs = world.submit_many(
        [("work", (0.2,)), ("again", (0, "2:5")), ("once", (0.2,)), ("pair", (0.2,))] * 2
    )
    records = world.wait_final(*runs, within=150)
    spent = watch.seconds
    until(lambda: watch.seconds > TTL + 15, "longer than the TTL", within=TTL + 20)
    beats = beat(world, a) - before
    world.measured |= {"all done after s": spent, "beats": beats, "in s": watch.seconds}
    world.measured["packets lost"] = wire.to_host.lost + wire.to_store.lost
    expect({record["s"] for record in records} == {"k"}, f"ended as {records}")
    expect(beats >= 3, f"only {beats} beats in {watch.seconds} s")
    wire.mend()
    nobody_rescued(world)
