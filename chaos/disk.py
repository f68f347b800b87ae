"""Faults 26-29: no room on a disk or in the store's memory, or a store that throws runs away."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from jobctl.errors import JobctlError
from tests.acceptance.trouble import Server, fill

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.world import World

MEGABYTES = 8


@fault(
    26,
    "disk full under the store's append-only file (always, or everysec)",
    "accepted runs are all there, commands exit 75, all goes on by itself when there is room",
    needs=("root",),
    bounded=True,
)
def store_disk_full(world: World) -> None:
    embedded = world.pick("embedded", "shared") == "embedded"
    world.measured["fsync"] = "always, embedded" if embedded else "everysec, shared"
    place = world.directory / ("a/state" if embedded else "disk")
    small_disk(place)
    if not embedded:
        world.server = Server(world.binary, "--appendfsync", "everysec", directory=place)
        world.url = world.server.url
        world.server.start()
        world.started = True
    a = world.host("a", embedded=embedded)
    waiting = world.submit_many([("work", (0,))] * 30, start_in=5.0)
    held = world.submit("work", "x")
    world.wait_started(held)
    ballast = fill(place)
    _write_until_refused(world)
    refused = a.call("submit", "work", "0", "--store-wait", "0")
    expect(refused.returncode in (69, 75), f"submit exits with {refused.returncode}")
    expect("Traceback" not in refused.stderr, refused.stderr)
    world.measured["said"] = refused.stderr.strip().rpartition(": ")[2][:60]
    world.go("x")
    until(lambda: world.executions.count(held, "end"), "the job ends", within=10)
    expect(a.daemons[-1].poll() is None, "the daemon ended")
    ballast.unlink()
    watch = Stopwatch()
    world.wait_work(within=30)
    world.measured["back after s"] = watch.seconds
    for record in world.wait_final(held, *waiting):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")


def _write_until_refused(world: World) -> None:
    """Its last page has room for a while."""

    def refused() -> bool:
        try:
            world.raw("SET", "big", "x" * 100_000)
        except JobctlError:
            return True
        return False

    until(refused, "the store refuses writes", within=20)


def small_disk(place: Path) -> None:
    """Put a file system of its own at ``place``; it goes when the world is swept."""
    place.mkdir(parents=True)
    options = f"size={MEGABYTES}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


@fault(
    27,
    "disk full under logs, spool and host journal",
    "jobs fail or their logs are cut; the daemon lives, and goes on when there is room",
    needs=("root",),
    bounded=True,
)
def state_disk_full(world: World) -> None:
    place = world.directory / "a" / "state"
    small_disk(place)
    loud = (
        "[jobs.loud]\ncommand = 'head -c 3000000 /dev/zero | tr \"\\\\0\" x'\nmax_output = '1MiB'\n"
    )
    world.silent = {"loud"}
    a = world.host("a", jobs=loud)
    held = world.submit_many([("work", ("x",)), ("work", ("x", 5))])
    world.wait_started(*held)
    ballast = fill(place, leave=world.pick(0, 4096, 65536))
    noisy = world.submit_many([("loud", ()), ("work", (0.1,)), ("loud", ())])
    for record in world.wait_final(*noisy, within=30):
        expect(record["s"] in "kx", f"ended as {record}")
    world.go("x")
    until(lambda: world.executions.count(held[1], "end"), "the jobs end")
    expect(a.daemons[-1].poll() is None, "the daemon ended")
    ballast.unlink()
    for record, code in zip(world.wait_final(*held), ("0", "5"), strict=True):
        expect(record.get("rc") == code, f"ended as {record}, must be with {code}")
    world.measured["back after s"] = world.wait_work(within=20)


@fault(
    28,
    "the store is at its memory limit",
    "submit exits 75, the queue drains, no record is partial",
    bounded=True,
)
def store_memory_full(world: World) -> None:
    a = world.host("a", slots=2)
    runs = world.submit_many([("work", (0.2,)), ("again", (0, "2:5"))] * 10)
    limit = world.pick("1", "900kb", "1mb")
    world.raw("CONFIG", "SET", "maxmemory", limit)
    for words in (("work", "0"), ("only", "1"), ("again", "0", "--in", "1s")):
        refused = a.call("submit", *words, "--store-wait", "0")
        expect(refused.returncode == 75, f"submit exits with {refused.returncode}")
        expect("full" in refused.stderr, refused.stderr)
    for record in world.wait_final(*runs):
        expect(record["s"] == "k", f"ended as {record}")
    world.raw("CONFIG", "SET", "maxmemory", 0)
    world.measured["back after s"] = world.wait_work(within=10)


@fault(
    29,
    "a store that evicts (allkeys-lru and others)",
    "the daemon refuses it at its start and says why",
    bounded=True,
)
def store_evicts(world: World) -> None:
    policy = world.pick("allkeys-lru", "allkeys-lfu", "volatile-ttl", "allkeys-random")
    world.start_store("--maxmemory", "64mb", "--maxmemory-policy", policy)
    a = world.host("a", start=False)
    daemon = a.start(ready=False)
    until(lambda: daemon.poll() is not None, "the daemon refuses", within=20)
    expect(daemon.returncode == 78, f"it ended with {daemon.returncode}")
    expect(policy in a.log and "maxmemory-policy" in a.log, f"it said {a.log}")
    world.measured["policy"] = policy
    world.raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
    a.start()
    world.wait_work(within=10)
