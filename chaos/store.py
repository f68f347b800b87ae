"""Faults 11-14 and 22: the store stands still, dies, loads, is slow, throws everybody out."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import psutil

from chaos.check import all_final
from chaos.load import SCHEDULES, Load
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.world import TTL, World
from jobctl.client.sending import send_many
from jobctl.client.submit import Wish, prepare
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from tests.acceptance.host import Host

BACK_WITHIN = 6.0
"""Seconds after which runs go on once the store does."""


def nobody_rescued(world: World) -> None:
    """No supervisor was taken for dead, and no run was lost."""
    for host in world.hosts.values():
        expect(" is dead; took back" not in host.log, f"{host.name} rescued a living supervisor")
        expect("taken for dead" not in host.log, f"{host.name} was fenced")
    lost = [run for run, record in world.records().items() if record.get("ls")]
    expect(not lost, f"runs were lost: {lost}")


@fault(
    11,
    "SIGSTOP of the store for 40-60 s",
    "nobody is taken for dead, plain jobs go on, all resumes, nothing is lost",
)
def store_stands_still(world: World) -> None:
    world.host("a")
    world.host("b")
    runs = world.submit_many([("work", ("x",)), ("once", ("x",)), ("python", (3,))])
    ending = world.submit("work", 2)
    world.wait_begun(*runs, ending)
    world.wait_started(*runs, ending)
    span = world.random.uniform(TTL + 10, 2 * TTL)
    world.server.pause()
    time.sleep(span)
    expect(not world.executions.lines(runs[0], "end"), "a plain job was ended")
    world.server.go_on()
    watch = Stopwatch()
    world.wait_work(within=BACK_WITHIN + 5)
    world.measured |= {"stood still s": round(span, 1), "back after s": watch.seconds}
    expect(watch.seconds < BACK_WITHIN, f"work goes on only after {watch.seconds} s")
    world.go("x")
    for record in world.wait_final(*runs, ending):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    nobody_rescued(world)


BOUNDARIES = [
    f"{role}:{when}:{call}=stop@1"
    for role, calls in (
        ("pool", ("claim", "start", "settle")),
        ("supervisor", ("beat", "promote", "tick")),
    )
    for call in calls
    for when in ("before", "after")
]


@fault(
    12,
    "kill -9 of the embedded store at every boundary of a script",
    "all accepted runs are there; runs go on within 6 s each time",
    bounded=True,
)
def store_killed_at_boundaries(world: World) -> None:
    rules = world.directory / "rules"
    world.strangers = True
    a = world.host("a", embedded=True, jobs=SCHEDULES, JOBCTL_FAILPOINTS_FILE=str(rules))
    worst = longest = 0.0
    order = world.random.sample(BOUNDARIES, k=len(BOUNDARIES))
    with Load(world, a, rate=6):
        for rule in order:
            before = a.log.count(f"failpoint {rule} met")
            rules.write_text(rule)
            until(
                lambda rule=rule, n=before: a.log.count(f"failpoint {rule} met") > n,  # type: ignore[misc]
                f"{rule} is met",
                within=20,
            )
            rules.unlink()
            frozen = until(lambda: _stopped(world, a), "the process stops")
            world.store_process(a).kill()
            for process in frozen:
                process.resume()
            killed = Stopwatch()
            # The daemon lets more time pass from restart to restart; that is not what counts here.
            until(lambda: _answers(world), "the server is there again", within=20)
            longest = max(longest, killed.seconds)
            worst = max(worst, world.wait_work(within=20))
    world.measured |= {"restarts": len(order), "server back after s": longest}
    world.measured["runs go on after s"] = worst
    expect(worst < BACK_WITHIN, f"runs went on only after {worst} s")
    expect("ended unexpectedly" not in a.log.replace("the store server ended", ""), "a pool died")


def _answers(world: World) -> bool:
    with contextlib.suppress(JobctlError):
        return bool(world.raw("PING"))
    return False


def _stopped(world: World, host: Host) -> list[psutil.Process]:
    here = (world.supervisor(host), *world.pools(host))
    return [process for process in here if process.status() == psutil.STATUS_STOPPED]


QUEUED = 100_000


@fault(
    13,
    "restart of the store with 100 000 queued runs (a tenth of a million)",
    "loading is shown, nothing crashes, the order is kept",
    patience=300,
)
def store_restarts_full(world: World) -> None:
    world.strangers = True
    a = world.host("a")
    session = world.session(a)
    ids = [
        receipt.id
        for receipt in send_many(
            session, (prepare(session, Wish("work", queue="bulk")) for _ in range(QUEUED))
        )
    ]
    run = world.submit("work", "x")
    world.wait_begun(run)
    world.server.kill()
    watch = Stopwatch()
    # The wheel's server loads this in a second: too quick to see. So it loads slowly.
    world.server.start("--key-load-delay", "15", ready=False)
    until(lambda: "loading" in a.call("submit", "work", "0", "--store-wait", "0").stderr, "LOADING")
    refused = a.call("submit", "work", "0", "--store-wait", "0")
    expect(refused.returncode in (0, 75), f"submit exits with {refused.returncode}")
    until(world.server.answers, "the server has loaded", within=120)
    world.measured |= {"queued": QUEUED, "loaded after s": watch.seconds}
    spent = world.wait_work(within=15)
    world.measured["back after s"] = spent
    found = [one.decode() for one in world.raw("LRANGE", world.keys.queue("bulk", 5), 0, -1)]
    expect(found == ids, f"the queue has changed: {len(found)} of {len(ids)} runs")
    expect(a.daemons[-1].poll() is None, "the daemon ended")
    expect("ended unexpectedly" not in a.log, "a pool died")
    nobody_rescued(world)


@fault(
    14,
    "the store sleeps 8-12 s in a command, twice",
    "calls wait, beats recover, nobody is rescued",
)
def store_sleeps(world: World) -> None:
    world.host("a")
    world.host("b")
    held = world.submit_many([("work", ("x",)), ("once", ("x",))])
    world.wait_begun(*held)
    for _ in range(2):
        world.submit_many([("work", (0.1,))] * 8)
        world.raw("DEBUG", "SLEEP", f"{world.random.uniform(8, 12):.1f}")
        spent = world.wait_work(within=15)
        world.measured["back after s"] = spent
        expect(spent < BACK_WITHIN, f"work goes on only after {spent} s")
    beats = _beats(world)
    until(
        lambda: all(now > beats[sid] for sid, now in _beats(world).items()),
        "every supervisor beats again",
        within=12,
    )
    world.go("x")
    for record in world.wait_final(*held):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    nobody_rescued(world)


def _beats(world: World) -> dict[str, int]:
    found = {}
    for host in world.hosts.values():
        sid = world.identity(host)
        found[sid] = int(world.raw("HGET", world.keys.supervisor(sid), "beat") or 0)
    return found


@fault(
    22,
    "all clients of the store are thrown out every second for 60 s",
    "throughput falls, nothing else; no growth of descriptors",
    patience=300,
)
def clients_thrown_out(world: World) -> None:
    world.strangers = True
    a = world.host("a", jobs=SCHEDULES)
    b = world.host("b", jobs=SCHEDULES)
    # Interpreters that stay warm have descriptors too: all of them are to be there before.
    world.wait_final(*world.submit_many([("python", (1.5,))] * 8))
    before = _descriptors(world, a, b)
    with Load(world, a, rate=8) as load:
        for span in _spans(world, total=60):
            time.sleep(span)
            world.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    done = world.executions.count(word="end")
    world.measured |= {"submitted": load.submitted, "ended meanwhile": done}
    expect(done > 60, f"only {done} executions in a minute")
    world.wait_work(within=20)
    all_final(world)
    after = _descriptors(world, a, b)
    world.measured["descriptors before/after"] = json.dumps([before, after])
    expect(after <= before + 12, f"descriptors grew from {before} to {after}")
    nobody_rescued(world)


def _spans(world: World, *, total: float) -> list[float]:
    found: list[float] = []
    while sum(found) < total:
        found.append(world.random.uniform(0.7, 1.3))
    return found


def _descriptors(world: World, *hosts: Host) -> int:
    return sum(
        process.num_fds()
        for host in hosts
        for process in (world.supervisor(host), *world.pools(host))
    )
