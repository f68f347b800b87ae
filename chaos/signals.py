"""Faults 8-10: processes are told to end, or are stopped and go on later."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil

from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.world import TAKEOVER, World


@fault(
    8,
    "SIGTERM with long jobs, again, and a storm of them",
    "the grace is kept, what did not start is given back, the daemon ends well",
    bounded=True,
)
def told_to_end(world: World) -> None:
    a = world.host("a", settings='drain_timeout = "4s"')
    short, long, third, fourth = world.submit_many(
        [("work", (2,)), ("work", ("x",)), ("once", ("x",)), ("work", ("x",))]
    )
    waiting = world.submit_many([("work", (0,))] * 6)
    world.wait_begun(short, long, third, fourth)
    how = world.pick("once", "twice", "storm")
    daemon = a.daemons[-1]
    watch = Stopwatch()
    for _ in range({"once": 1, "twice": 2, "storm": 40}[how]):
        with contextlib.suppress(ProcessLookupError):
            daemon.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    until(lambda: daemon.poll() is not None, "the daemon ends", within=30)
    world.measured |= {"told": how, "ended after s": watch.seconds}
    expect(daemon.returncode == 0, f"the daemon ended with {daemon.returncode}")
    if how == "once":
        expect(watch.seconds > 3.5, f"it ended after {watch.seconds} s, the grace is 4 s")
        expect(world.record(short)["s"] == "k", "what ended within the grace has not succeeded")
    else:
        expect(watch.seconds < 3.5, f"told again, it ended only after {watch.seconds} s")
    states = {world.record(run)["s"] for run in (long, fourth, *waiting)}
    expect(states == {"q"}, f"runs are {states}, not all given back")
    expect(not world.executions.lines(waiting[0]), "something began while the daemon ended")
    a.start()
    world.go("x")
    world.expect_state(long, "k", at="2")
    world.expect_state(third, "x", at="1")


@fault(
    9,
    "SIGSTOP of a host's daemon past the TTL, then SIGCONT",
    "fenced; strict jobs are dead before another host starts them; stale outcomes are refused",
)
def stopped_and_continued(world: World) -> None:
    world.may_overlap = world.may_repeat = True
    a = world.host("a")
    plain, strict, single = world.submit_many(
        [("work", ("x",)), ("strict", ("x",)), ("once", ("x",))]
    )
    world.wait_begun(plain, strict, single)
    world.wait_started(plain, strict, single)
    frozen = [world.supervisor(a)]
    world.measured["stopped"] = what = world.pick("all", "supervisor")
    if what == "all":
        frozen += world.pools(a)
    b = world.host("b")
    for process in frozen:
        process.suspend()
    watch = Stopwatch()
    world.wait_begun(plain, strict, times=2, within=TAKEOVER)
    world.measured["taken over after s"] = watch.seconds
    for process in frozen:
        process.resume()
    until(lambda: "taken for dead" in a.log, "the host notices that it was fenced")
    expect("taken for dead" not in b.log, "the other host was fenced too")
    world.go("x")
    world.expect_state(plain, "k", at="2", ls="1")
    world.expect_state(strict, "k", at="2", ls="1")
    world.expect_state(single, "x", rs="lost")


@fault(
    10,
    "SIGSTOP of a job's process",
    "the time limit ends it all the same; others are not affected",
    bounded=True,
)
def job_stopped(world: World) -> None:
    more = '[jobs.call]\npython = "work:act"\ntimeout = "3s"\nparams.seconds = { type = "float" }\n'
    world.host("a", jobs=more)
    runs = world.submit_many([("timed", ("x",)), ("call", (100,))])
    world.wait_begun(*runs)
    for line in world.executions.lines(word="begin"):
        leader = psutil.Process(line.pid)
        for process in [leader, *leader.children(recursive=True)]:
            process.suspend()
    others = world.submit_many([("work", (0.1,))] * 5)
    watch = Stopwatch()
    for record in world.wait_final(*others, within=2.5):
        expect(record["s"] == "k", f"another run ended as {record}")
    for run in runs:
        world.expect_state(run, "x", within=15, rs="timeout")
    world.measured["ended after s"] = watch.seconds
    expect(watch.seconds < 6, f"stopped jobs ended only after {watch.seconds} s")
