"""Faults 43, 44, 46, 47 and 48: several daemons, their versions, their starts and reloads."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections import Counter
from typing import TYPE_CHECKING

from chaos.jobs import job_table
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from jobctl.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from chaos.world import World


@fault(
    43,
    "several daemons are started for one state directory",
    "one serves, the others refuse with exit code 75 and say who has it",
    bounded=True,
)
def one_state_directory(world: World) -> None:
    embedded = world.pick("shared", "embedded") == "embedded"
    a = world.host("a", embedded=embedded, start=False)
    if not embedded:
        world.start_store()
    daemons = [a.start(ready=False) for _ in range(4)]
    until(
        lambda: sum(daemon.poll() is not None for daemon in daemons) == 3 and " is ready " in a.log,
        "one is left",
    )
    codes = [daemon.returncode for daemon in daemons if daemon.poll() is not None]
    expect(codes == [75, 75, 75], f"the others ended with {codes}")
    a.daemons.sort(key=lambda daemon: daemon.poll() is None)
    expect(a.log.count(" is ready ") == 1, "two got ready")
    expect(str(a.daemons[-1].pid) in a.log, "the process that has it is not named")
    runs = world.submit_many([("work", (0.1,)), ("strict", (0.1,))] * 3)
    late = a.call("daemon")
    expect(late.returncode == 75, f"a fifth ended with {late.returncode}")
    world.wait_final(*runs)


@fault(
    44,
    "a store laid out by a newer version, before the start and during operation",
    "the older refuses with a message before it touches data; what runs goes on",
    bounded=True,
)
def newer_layout(world: World) -> None:
    a = world.host("a")
    held = world.submit("work", "x")
    world.wait_started(held)
    world.raw("SET", world.keys.schema, "99")
    refused = a.call("submit", "work", "0")
    expect(refused.returncode == 78, f"submit exits with {refused.returncode}")
    b = world.host("b", start=False)
    before = set(world.raw("KEYS", "*"))
    newcomer = b.start(ready=False)
    until(lambda: newcomer.poll() is not None, "the older daemon refuses", within=20)
    expect(newcomer.returncode == 78, f"it ended with {newcomer.returncode}")
    expect("laid out by a newer jobctl" in b.log, f"it said {b.log[-300:]}")
    # What the other host runs goes on, and its output is on its way to the store.
    left = {key for key in set(world.raw("KEYS", "*")) ^ before if held not in str(key)}
    expect(not left, f"it left something in the store, or took it out: {left}")
    world.go("x")
    until(lambda: world.executions.count(held, "end"), "what runs goes on")
    expect(a.daemons[-1].poll() is None, "the running daemon ended")
    world.raw("SET", world.keys.schema, "1")
    world.expect_state(held, "k", at="1")
    world.measured["not played"] = "two released versions side by side: there is only one"


SCHEDULES = 1000
LAG = 2.0
"""Seconds by which an instant may be late."""


@fault(
    46,
    "1000 schedules at one instant, five daemons, one of them killed meanwhile",
    "each instant once, decided within 2 s; nothing is missed",
    patience=300,
    alone=True,
)
def many_schedules(world: World) -> None:
    world.strangers = True
    world.silent = {f"s{n}" for n in range(SCHEDULES)}
    world.start_store()
    at = SYSTEM_CLOCK.now().replace(microsecond=0) + dt.timedelta(seconds=40)
    tables = "".join(
        f'[jobs.s{n}]\nschedule = "@at {at.isoformat()}"\n'
        "command = 'echo $JOBCTL_RUN_ID >>\"$CHAOS_DIR/fired\"'\n"
        for n in range(SCHEDULES)
    )
    rules = world.directory / "rules"
    hosts = [
        world.host(name, jobs=tables, slots=4, JOBCTL_FAILPOINTS_FILE=str(rules))
        for name in ("a", "b", "c", "d")
    ]
    rule = f"supervisor:after:tick=crash@{world.random.randint(5, 60)}"
    victim = world.host("e", jobs=tables, JOBCTL_FAILPOINTS=rule)
    left = (at - SYSTEM_CLOCK.now()).total_seconds()
    expect(left > 2, f"the hosts were ready only {left:.0f} s before the instant")
    world.measured["ready before s"] = round(left, 1)
    until(lambda: victim.daemons[-1].poll() is not None, "one is killed", within=left + 20)
    fired = world.directory / "fired"
    until(
        lambda: fired.exists() and len(set(fired.read_text().split())) == SCHEDULES,
        "all have run",
        within=90,
    )
    twice = [run for run, times in Counter(fired.read_text().split()).items() if times > 1]
    expect(not twice, f"{len(twice)} instants ran twice")
    lags = []
    for n in range(SCHEDULES):
        entries = world.raw("LRANGE", world.keys.schedule_history(f"s{n}"), 0, -1)
        expect(len(entries) == 1, f"s{n} was decided {len(entries)} times: {entries}")
        lags.append(int(entries[0].split(b"|")[4]) / 1000)
    world.measured |= {"worst lag s": max(lags), "by the killed one": _decided(world, victim.name)}
    expect(max(lags) <= LAG, f"an instant was decided {max(lags)} s late")
    expect(all(host.daemons[-1].poll() is None for host in hosts), "another daemon ended")
    # Its pool waits for the next supervisor.
    victim.extra.pop("JOBCTL_FAILPOINTS")
    victim.start()


def _decided(world: World, host: str) -> int:
    found = 0
    for n in range(SCHEDULES):
        entry = world.raw("LRANGE", world.keys.schedule_history(f"s{n}"), 0, 0)[0]
        who = entry.split(b"|")[5].decode()
        found += who == host or who.startswith(f"{host}~")
    return found


@fault(
    47,
    "daemons and commands are started before the store",
    "they wait and connect; commands exit 69 or 75; what was spooled is run once",
    bounded=True,
)
def store_last(world: World) -> None:
    a = world.host("a", start=False)
    b = world.host("b", start=False)
    for host in (a, b):
        host.start(ready=False)
    refused = a.call("submit", "work", "0", "--store-wait", "0")
    expect(refused.returncode in (69, 75), f"submit exits with {refused.returncode}")
    looked = a.call("status", "--store-wait", "0")
    expect("Traceback" not in refused.stderr + looked.stderr, "a traceback")
    until(a.state.is_dir, "the daemon has its state directory")
    spooled = [a.submit("work", "0", "--spool", "--store-wait", "0") for _ in range(3)]
    world.accepted |= dict.fromkeys(spooled, "work")
    time.sleep(world.pick(0.5, 3.0, 8.0))
    watch = Stopwatch()
    world.start_store()
    until(lambda: " is ready " in a.log and " is ready " in b.log, "both are ready", within=15)
    world.measured["ready after s"] = watch.seconds
    expect(watch.seconds < 7, f"ready only after {watch.seconds} s")
    world.wait_work(within=10)
    for record in world.wait_final(*spooled):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    expect(all(host.daemons[-1].poll() is None for host in (a, b)), "a daemon ended")


@fault(
    48,
    "reload with a syntax error, without a job that runs, with other limits",
    "the old configuration stays; the run ends as it would; parked runs go on",
    bounded=True,
)
def reloads(world: World) -> None:
    a = world.host("a", slots=6, jobs=job_table("leaving"))
    running = world.submit("leaving", "x", 0)
    pairs = world.submit_many([("pair", ("y",))] * 4)
    until(lambda: world.executions.count() >= 3, "three run")
    until(lambda: [world.record(run).get("s") for run in pairs].count("p") == 2, "two are parked")
    good = a.config.read_text()
    a.config.write_text(world.pick("[jobs.x\n", good + "[jobs.y]\ncomand = 'true'\n", "\x00"))
    refused = a.call("reload")
    expect(refused.returncode == 78, f"reload exits with {refused.returncode}")
    expect("Traceback" not in refused.stderr, refused.stderr)
    a.config.write_text(good)
    world.wait_work(within=10)
    # The job goes, and there is room for three of the others.
    world.configure(a, slots=6)
    a.config.write_text(a.config.read_text().replace("slots = 2", "slots = 3"))
    a.run("reload")
    watch = Stopwatch()
    until(
        lambda: sum(bool(world.executions.count(run)) for run in pairs) == 3,
        "a third one runs",
        within=10,
    )
    world.measured["third after s"] = watch.seconds
    held = [one.decode() for one in world.raw("SMEMBERS", world.keys.holders("l:two"))]
    expect(len(held) == 3, f"three may run, {held} do")
    world.go("x", "y")
    world.expect_state(running, "k", at="1")
    for record in world.wait_final(*pairs):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    gone = a.call("submit", "leaving", "0")
    expect(gone.returncode == 66, f"submitting the removed job exits with {gone.returncode}")
    told = json.loads(a.run("status", "--json"))
    expect(told.get("schema") == 1, "status does not answer")
