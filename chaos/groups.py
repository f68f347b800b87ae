"""Faults 15–17: primaries of Sentinel groups and of clusters die, move, or are left alone."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING

from chaos.load import Load
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.wire import HOST, STORE, Wire
from jobctl.store.address import Address
from tests.servers import Cluster, SentinelGroup, Server

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.world import World
    from tests.acceptance.host import Host

BACK_WITHIN = 10.0
"""Seconds within which the store takes runs again after its primary died."""
LAG = 8
"""Seconds of ``min-replicas-max-lag``: after so many without its replica a primary refuses."""


def within(world: World) -> Path:
    """Have servers that are made from now on keep their directories in the world's."""
    place = world.directory / world.SERVERS
    place.mkdir()
    tempfile.tempdir = str(place)
    return place


def use(world: World, url: str) -> None:
    """Let the hosts of ``world`` and what looks at them use a group of servers."""
    world.url = url
    world.addresses = Address.parse(url).serving("default")


def wait_accepted(world: World, host: Host) -> float:
    """Return the seconds until a run was accepted; the client repeats what is not answered."""
    watch = Stopwatch()
    world.submit("work", 0, host=host)
    return watch.seconds


@fault(
    15,
    "failover by sentinels under load, with and without a lost tail",
    "runs are taken again within 10 s; twice ran only what data was lost of, and that is told",
    bounded=True,
)
def sentinel_failover(world: World) -> None:
    within(world)
    group = SentinelGroup(world.binary, replicas=1).start()
    use(world, group.url)
    a, b = world.host("a"), world.host("b")
    tail = world.pick("kept", "lost")
    world.measured["tail"] = tail
    held = world.submit_many([("work", ("x",)), ("once", ("x",))])
    world.wait_begun(*held)
    world.wait_started(*held)
    old = group.primary
    if tail == "kept":
        with Load(world, a, rate=8):
            until(lambda: world.executions.count(word="end") > 20, "some load")
            old.kill()
            watch = Stopwatch()
            world.measured["runs taken after s"] = wait_accepted(world, b)
            group.wait_failover(old)
            until(lambda: watch.seconds > 3, "more load")
    else:
        lose_tail(world, group, old, b)
    world.go("x")
    for run, record in zip(held, world.wait_final(*held), strict=True):
        seen = (record["s"], record["at"], world.executions.count(run))
        expect(seen == ("k", "1", 1), f"{run} ended as {seen}")
    taken = float(str(world.measured["runs taken after s"]))
    expect(taken < BACK_WITHIN, f"runs are taken only after {taken} s")


def lose_tail(world: World, group: SentinelGroup, old: Server, host: Host) -> None:
    """Let the replica miss accepted runs, then take over; what is lost must be told."""
    (follower,) = group.replicas
    old.raw("WAIT", 1, 2000)
    follower.pause()
    old.raw("CLIENT", "KILL", "TYPE", "replica")
    late = world.submit_many([("work", ("x",))] * 2 + [("work", (0,))] * 2)
    world.wait_begun(*late)
    world.wait_started(*late[:2])
    world.wait_final(*late[2:])
    world.lost |= set(late)
    # What the world counts for these runs is not what the new primary knows.
    world.set_back = True
    old.kill()
    follower.go_on()
    world.measured["runs taken after s"] = wait_accepted(world, host)
    group.wait_failover(old)
    world.go("x")
    for run in late[:2]:
        until(
            lambda run=run: any(  # type: ignore[misc]
                f"THE STORE HAS LOST run {run}" in one.log for one in world.hosts.values()
            ),
            f"the loss of {run} is told",
        )
    counts = Counter(line.run for line in world.executions.lines(word="begin"))
    twice = {run for run, count in counts.items() if count > 1}
    expect(not twice, f"runs ran twice: {twice}")


@fault(
    16,
    "slots move in a cluster and its primary dies, under load",
    "redirections are followed, each run ends once",
)
def cluster_changes(world: World) -> None:
    within(world)
    cluster = Cluster(world.binary, replicas=1).start()
    use(world, cluster.url)
    a, b = world.host("a"), world.host("b")
    held = world.submit_many([("work", ("x",)), ("once", ("x",))])
    world.wait_begun(*held)
    world.wait_started(*held)
    with Load(world, a, rate=8):
        until(lambda: world.executions.count(word="end") > 15, "some load")
        for change in world.random.sample(["move", "move", "die"], k=3):
            before = cluster.primary_of("default")
            count = world.executions.count(word="end")
            if change == "move":
                others = [one for one in cluster.servers if one.up and one.role == "master"]
                cluster.move("default", world.random.choice([o for o in others if o != before]))
                spent = wait_accepted(world, b)
                name = "moved"
            else:
                before.kill()
                spent = wait_accepted(world, b)
                cluster.wait_failover("default", before)
                name = "primary died"
            world.measured[f"{name}: runs taken after s"] = spent
            expect(spent < BACK_WITHIN, f"{name}: runs are taken only after {spent} s")
            until(
                lambda count=count: world.executions.count(word="end") > count + 5,  # type: ignore[misc]
                "work goes on",
            )
    world.go("x")
    for run, record in zip(held, world.wait_final(*held), strict=True):
        seen = (record["s"], record["at"], world.executions.count(run))
        expect(seen == ("k", "1", 1), f"{run} ended as {seen}")


class Split:
    """A primary with a host and a sentinel at one end of a wire, and the majority at the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wire = Wire(world.seed).start()
        place = within(world)
        open_to_all = ("--bind", "0.0.0.0", "--protected-mode", "no")
        keep = ("--appendonly", "yes", "--repl-ping-replica-period", "1")
        lag = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", str(LAG))
        with self.wire.host.inside():
            self.old = Server(world.binary, *open_to_all, *keep, *lag, port=7001).start()
        follow = ("--replicaof", f"{HOST} 7001")
        with self.wire.store.inside():
            self.new = Server(world.binary, *open_to_all, *keep, *follow, port=7002).start()
        self.sentinels = [self._sentinel(place, port) for port in (7003, 7004, 7005)]
        far, near = self.sentinels[:2], self.sentinels[2]
        with self.wire.store.inside():
            for one in far:
                one.start()
        with self.wire.host.inside():
            near.start()
        places = f"{STORE}:7003,{STORE}:7004,{HOST}:7005"
        use(world, f"redis+sentinel://{places}/main")

    def _sentinel(self, place: Path, port: int) -> Server:
        made = Server(self.world.binary, port=port)
        path = place / f"sentinel.{port}.conf"
        path.write_text(
            f"port {port}\nbind 0.0.0.0\nprotected-mode no\ndir {made.directory}\n"
            f"sentinel monitor main {HOST} 7001 2\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
        )
        made.command = [str(self.world.binary), str(path), "--sentinel"]
        return made

    def ready(self) -> bool:
        """Whether a failover would be possible."""
        facts = []
        for sentinel in self.sentinels[:2]:
            words = [one.decode() for one in sentinel.raw("SENTINEL", "MASTER", "main")]
            facts.append(dict(zip(words[::2], words[1::2], strict=True)))
        return all(
            (one["flags"], one["num-other-sentinels"], one["num-slaves"]) == ("master", "2", "1")
            for one in facts
        )


def accept_alone(world: World, split: Split, host: Host) -> list[str]:
    """Submit to the lone primary until it refuses; return the ids of what it accepted."""
    watch = Stopwatch()
    accepted: list[str] = []
    with split.wire.host.inside():
        # The first is still under way when the group is one again; the others have ended by then.
        words = ["x"]
        while (done := host.call("submit", "work", *words)).returncode == 0:
            words = ["0"]
            accepted.append(done.stdout.strip())
            expect(watch.seconds < 30, "the primary that was left alone accepts for ever")
    world.measured |= {"accepted alone": len(accepted), "refused after s": watch.seconds}
    expect(done.returncode in (69, 75), f"submit ended with {done.returncode}: {done.stderr}")
    expect(accepted, "the primary that was left alone accepted nothing")
    expect(watch.seconds < LAG + BACK_WITHIN, f"it refused only after {watch.seconds} s")
    return accepted


@fault(
    17,
    "a primary is cut off with one host and goes on accepting",
    "it refuses within 10 s of lag; once it is back, what was lost is told",
    needs=("netns",),
)
def left_alone(world: World) -> None:
    split = Split(world)
    # From here on this thread, and the hosts it starts, are where the majority is.
    split.wire.store.enter()
    until(split.ready, "the sentinels know everybody", within=30)
    b = world.host("b")
    a = world.host("a", start=False)
    with split.wire.host.inside():
        a.start()
    # The lone host keeps slots free for what only it will know of.
    early = world.submit_many([("work", ("x",))] * 2)
    world.wait_begun(*early)
    world.wait_started(*early)
    split.wire.cut()
    accepted = accept_alone(world, split, a)
    # Only this lone primary knew of them.
    world.lost |= set(accepted)
    world.accepted |= dict.fromkeys(accepted, "work")
    world.set_back = True
    until(lambda: split.new.role == "master", "the majority has a primary", within=20)
    time.sleep(world.random.uniform(0, 5))
    split.wire.mend()
    healed = Stopwatch()
    world.wait_final(world.submit("work", 0, host=b))
    until(
        lambda: split.new.info("replication")["connected_slaves"] == "1",
        "the old primary follows the new one",
        within=30,
    )
    world.measured["one group again after s"] = healed.seconds
    missing = [run for run in accepted if not world.record(run)]
    world.measured["lost"] = len(missing)
    world.go("x")
    for run, record in zip(early, world.wait_final(*early), strict=True):
        seen = (record["s"], record["at"], world.executions.count(run))
        expect(seen == ("k", "1", 1), f"{run} ended as {seen}")
    # Only of a run that nobody began is there nobody left who could tell.
    begun = [run for run in missing if world.executions.count(run)]
    for run in begun:
        until(
            lambda run=run: f"THE STORE HAS LOST run {run}" in a.log,  # type: ignore[misc]
            f"the loss of {run} is told",
        )
    if begun:
        doctor = a.run("doctor", code=None)
        expect(f"{len(begun)} outcomes the store has no run for" in doctor, f"doctor says {doctor}")
        kept = (a.state / "unrecorded.jsonl").read_text()
        unkept = [run for run in begun if run not in kept]
        expect(not unkept, f"the outcomes of {unkept} are not kept")
    world.measured["told of"] = len(begun)
