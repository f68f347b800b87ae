"""Faults 30, 31 and 34: too little memory, too few descriptors, too much output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from tests.acceptance.trouble import descriptors

if TYPE_CHECKING:
    from chaos.world import World
    from tests.acceptance.host import Host


class Cgroup:
    """A cgroup for one play (version 1 or 2), with a limit for memory or for processes."""

    def __init__(self, world: World, controller: str) -> None:
        """Make it; ``controller`` is ``memory`` or ``pids``."""
        root = Path("/sys/fs/cgroup")
        if (root / controller).is_dir():
            root /= controller
        self._controller = controller
        self.place = root / f"chaos-{world.directory.name}-{controller}"
        self.place.mkdir(exist_ok=True)

    def limit(self, most: int) -> None:
        """Allow ``most`` bytes or processes."""
        for name in (f"{self._controller}.limit_in_bytes", f"{self._controller}.max"):
            if (self.place / name).exists():
                (self.place / name).write_text(str(most))

    def take(self, *processes: psutil.Process) -> None:
        """Move processes into it; what they start later is in it too."""
        for process in processes:
            with contextlib.suppress(OSError):
                (self.place / "cgroup.procs").write_text(str(process.pid))

    def close(self) -> None:
        """End what is in it and remove it."""

        def empty() -> bool:
            for line in (self.place / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line), 9)
            try:
                self.place.rmdir()
            except OSError:
                return False
            return True

        until(empty, f"{self.place} is empty", within=10)


HOG = """[jobs.hog]
on_lost = "retry"
command = ["{python}", "-c", '''
import os
place = os.environ["CHAOS_CGROUP"]
open(place + "/cgroup.procs", "w").write(str(os.getpid()))
blocks = []
while True:
    blocks.append(bytearray(b"x" * 4000000))
''']
env.CHAOS_CGROUP = "{place}"
"""


@fault(
    30,
    "the kernel kills for want of memory: a job, a pool, or the store",
    "the same recovery as after kill -9; a job that does it again and again ends",
    needs=("cgroup",),
)
def out_of_memory(world: World) -> None:
    group = Cgroup(world, "memory")
    try:
        group.limit(60 << 20)
        world.silent = {"hog"}
        a = world.host(
            "a", embedded=True, jobs=HOG.format(python=sys.executable, place=group.place)
        )
        held = world.submit("work", "x")
        world.wait_started(held)
        hog = world.submit("hog")
        (record,) = world.wait_final(hog)
        expect((record["s"], record.get("sg")) == ("x", "9"), f"the hog ended as {record}")
        world.measured["hog"] = record.get("rs", "")
        victim = world.pick("pool", "store", "supervisor")
        world.measured["killed"] = victim
        watch = Stopwatch()
        _starve(world, a, victim, group)
        world.wait_work(within=40)
        world.measured["back after s"] = watch.seconds
        world.go("x")
        world.expect_state(held, "k", at="1")
    finally:
        group.close()


def _starve(world: World, a: Host, victim: str, group: Cgroup) -> None:
    """Let the kernel kill a process by giving its group less than it has."""
    process = {
        "pool": lambda: world.pools(a)[0],
        "store": lambda: world.store_process(a),
        "supervisor": lambda: world.supervisor(a),
    }[victim]()
    group.take(process)
    # Memory it already has stays charged elsewhere; what it asks for from now on is refused. What
    # the group itself has cannot be refused any more.
    limit = 64 << 10
    while True:
        try:
            group.limit(limit)
            break
        except OSError:
            limit *= 2

    def dead() -> bool:
        with contextlib.suppress(psutil.Error):
            return process.status() == psutil.STATUS_ZOMBIE or not process.is_running()
        return True

    mailbox = f"{world.keys.prefix}mb:{world.identity(a)}"
    for _ in range(40):
        if dead():
            break
        # Work for the pool, data for the store, mail for the supervisor.
        with contextlib.suppress(Exception):
            world.submit_many([("work", (0,))] * 30)
            world.raw("RPUSH", mailbox, *["x" * 100_000] * 20)
    until(dead, f"the {victim} is killed for want of memory", within=20)
    group.limit(1 << 30)
    if victim == "supervisor":
        a.daemons[-1].wait()
        a.start()


@fault(
    31,
    "no descriptors left (RLIMIT_NOFILE 64)",
    "nothing new is started for a while, beats go on, the log is clear, all recovers",
    bounded=True,
)
def no_descriptors(world: World) -> None:
    world.start_store()
    with descriptors(world.pick(56, 64, 72)):
        a = world.host("a", slots=40)
    runs = world.submit_many([("work", ("x",))] * 40)
    until(lambda: "nothing is started for" in a.log, "it is short of descriptors", within=30)
    before = int(world.raw("HGET", world.keys.supervisor(world.identity(a)), "beat"))
    until(
        lambda: int(world.raw("HGET", world.keys.supervisor(world.identity(a)), "beat")) > before,
        "beats go on",
        within=12,
    )
    world.measured["at once"] = world.executions.count(word="begin")
    world.go("x")
    for record in world.wait_final(*runs):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")


MEGABYTES = 500
LOUDS = {
    "lines": "yes 0123456789abcdef | head -c {size}",
    "endless": "head -c {size} /dev/zero | tr '\\\\0' x",
    "nuls": "head -c {size} /dev/zero",
    "binary": "i=0; head -c 1000000 /dev/urandom > blob.$$; while [ $i -lt {times} ]; do cat blob.$$; i=$((i+1)); done; rm blob.$$",
}


@fault(
    34,
    "500 MB of output each: lines, one line without end, NULs, binary (of 10 GB, a twentieth)",
    "memory stays flat, the log is cut as configured, the store holds only a tail",
    patience=300,
)
def huge_output(world: World) -> None:
    size = MEGABYTES * 1_000_000
    tables = "".join(
        f'[jobs.{name}]\nmax_output = "1MiB"\n'
        f"command = '''{command.format(size=size, times=MEGABYTES)}'''\n"
        for name, command in LOUDS.items()
    )
    world.silent = set(LOUDS)
    a = world.host("a", slots=2, jobs=tables)
    world.wait_work(within=10)
    here = [world.supervisor(a), *world.pools(a)]
    before = sum(process.memory_info().rss for process in here)
    names = world.random.sample(sorted(LOUDS), k=len(LOUDS))
    runs = world.submit_many([(name, ()) for name in names])
    peak = disk = 0

    def over() -> bool:
        nonlocal peak, disk
        peak = max(peak, sum(process.memory_info().rss for process in here))
        disk = max(disk, _size(a.state))
        return all(world.record(run).get("s") in ("k", "x") for run in runs)

    until(over, "the end of the output", within=240)
    world.measured["memory grew MiB"] = (peak - before) >> 20
    world.measured["most on disk MiB"] = disk >> 20
    expect(peak - before < 40 << 20, f"memory grew by {(peak - before) >> 20} MiB")
    for name, run, record in zip(names, runs, world.wait_final(*runs), strict=True):
        expect(record["s"] == "k", f"{name} ended as {record}")
        (log,) = (a.state / "logs" / name).glob(f"{run}.*")
        expect(log.stat().st_size < 2 << 20, f"the log of {name} has {log.stat().st_size} bytes")
        held = int(world.raw("MEMORY", "USAGE", world.keys.log(run)) or 0)
        expect(held < 512 << 10, f"the store holds {held} bytes of the output of {name}")
        shown = a.call("inspect", run, "--json")
        expect(json.loads(shown.stdout)["run"]["state"] == "succeeded", shown.stderr)


def _size(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total
