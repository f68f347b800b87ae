"""Faults 1–7: processes of a host die, one or all, at chosen moments."""

from __future__ import annotations

import contextlib
import json
import signal
from typing import TYPE_CHECKING

import psutil

from chaos.load import SCHEDULES, Load
from chaos.processes import kill_all
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until
from chaos.world import TAKEOVER, TTL

if TYPE_CHECKING:
    from chaos.world import World
    from tests.acceptance.host import Host


def met(host: Host, rule: str, *, within: float = 30.0) -> None:
    """Wait until a process of the host said that it met the failpoint ``rule``."""
    until(lambda: f"failpoint {rule} met" in host.log, f"failpoint {rule} is met", within=within)


@fault(
    1,
    "kill -9 of a host after the claim, before the start",
    "the run starts elsewhere within TTL + 10 s, its attempt is the first",
)
def killed_after_claim(world: World) -> None:
    rule = "pool:after:claim=stop"
    a = world.host("a", JOBCTL_FAILPOINTS_FILE=str(world.directory / "rules"))
    # It is settled before the host stops: otherwise it would rightly be done again.
    world.wait_final(world.submit("work", 0), within=10)
    (world.directory / "rules").write_text(rule)
    jobs = world.random.choices(["work", "again", "once", "pair", "only"], k=3)
    runs = world.submit_many([(job, (f"0.{n}",)) for n, job in enumerate(jobs)])
    met(a, rule)
    until(lambda: any(world.record(run).get("s") == "c" for run in runs), "a claim")
    world.kill_host(a)
    watch = Stopwatch()
    world.host("b")
    for record in world.wait_final(*runs, within=TAKEOVER):
        expect((record["s"], record["at"]) == ("k", "1"), f"ended as {record}")
    world.measured["taken over after s"] = watch.seconds
    expect(watch.seconds < TTL + 10, f"taken over only after {watch.seconds} s")
    for run in runs:
        expect(world.executions.count(run) == 1, f"{run} ran {world.executions.count(run)} times")


@fault(
    2,
    "kill -9 of the supervisor and pools while jobs run, restart within the TTL",
    "every process is adopted: one execution, exit code and process kept",
    bounded=True,
)
def restarted_at_once(world: World) -> None:
    a = world.host("a", slots=8)
    runs = world.submit_many(
        [
            ("work", ("x", 0)),
            ("work", ("x", 7)),
            ("strict", ("x",)),
            ("once", ("x",)),
            ("pair", ("x",)),
        ]
    )
    world.wait_begun(*runs)
    world.wait_started(*runs)
    pids = {line.run: line.pid for line in world.executions.lines(word="begin")}
    kinds = world.pick("supervisor", "both", "pools", "keepers too")
    for _ in range(world.random.randint(1, 3)):
        told = a.log.count("taking over attempt")
        crash(world, a, kinds)
        if kinds == "keepers too":
            # With nobody left to collect it, an end is known only to a pool that was there.
            until(
                lambda told=told: a.log.count("taking over attempt") >= told + len(runs),  # type: ignore[misc]
                "the attempts are adopted",
            )
    world.go("x")
    watch = Stopwatch()
    records = world.wait_final(*runs)
    world.measured |= {"killed": kinds, "ended after s": watch.seconds}
    for run, record in zip(runs, records, strict=True):
        code = "7" if run == runs[1] else "0"
        seen = (record.get("rc"), record["at"], record.get("pi"), world.executions.count(run))
        expect(seen == (code, "1", str(pids[run]), 1), f"{run} ended as {seen}")


def crash(world: World, host: Host, kinds: str) -> None:
    """Kill a kind of processes of a host and start the daemon again if it was among them."""
    victims = [] if kinds == "pools" else [world.supervisor(host)]
    if kinds != "supervisor":
        victims += world.pools(host)
    if kinds == "keepers too":
        victims += world.keepers(host)
    kill_all(victims)
    if kinds == "pools":
        gone = {process.pid for process in victims}
        until(
            lambda: world.pools(host) and not gone & {p.pid for p in world.pools(host)},
            "the pools are back",
        )
        return
    host.daemons[-1].wait()
    host.start()


@fault(
    3,
    "the same, and another host takes over after the TTL",
    "one more attempt elsewhere; what the old process did is refused",
)
def taken_over(world: World) -> None:
    world.may_overlap = world.may_repeat = True
    a = world.host("a")
    run = world.submit("again", "x")
    single = world.submit("once", "x")
    world.wait_begun(run, single)
    world.wait_started(run, single)
    victims = [world.supervisor(a), *world.pools(a)]
    if world.pick("all", "keepers stay") == "all":
        victims += world.keepers(a)
    kill_all(victims)
    a.daemons[-1].wait()
    watch = Stopwatch()
    world.host("b")
    world.wait_begun(run, times=2, within=TAKEOVER)
    world.measured["taken over after s"] = watch.seconds
    a.start()
    world.go("x")
    world.expect_state(run, "k", at="2", ls="1")
    world.expect_state(single, "x", rs="lost", at="1")
    history = [one.decode() for one in world.raw("LRANGE", world.keys.history("again"), 0, -1)]
    expect(history == [run], f"the history is {history}")


@fault(
    4,
    "kill -9 after the exit, before the outcome is sent",
    "the journal settles it; not run again",
    bounded=True,
)
def killed_before_settle(world: World) -> None:
    rule = "pool:before:settle=stop@1"
    a = world.host("a", JOBCTL_FAILPOINTS=rule)
    codes = world.random.sample([0, 1, 3, 9], k=3)
    runs = world.submit_many([("work", (0.2, code)) for code in codes])
    met(a, rule)
    until(lambda: world.executions.count(word="end") == len(runs), "the ends of the jobs")
    kill_all([world.supervisor(a), *world.pools(a)])
    a.daemons[-1].wait()
    a.extra.pop("JOBCTL_FAILPOINTS")
    a.start()
    for run, code in zip(runs, codes, strict=True):
        (record,) = world.wait_final(run)
        seen = (record.get("rc"), record["at"], world.executions.count(run))
        # The second may have ended when nobody could collect it but the keeper; it knows.
        expect(seen == (str(code), "1", 1), f"{run} with code {code} ended as {seen}")


CALLS = (
    *("pool:claim", "pool:start", "pool:settle"),
    *("supervisor:beat", "supervisor:promote", "supervisor:tick", "supervisor:register"),
)
"""Calls to the store around which a process is killed under load."""


@fault(
    5,
    "kill -9 after the outcome was sent, before the answer; then around every call, under load",
    "the repeated outcome changes nothing; one entry in the history",
    bounded=True,
)
def killed_before_answer(world: World) -> None:
    rule = "pool:after:settle=crash@1"
    a = world.host("a", jobs=SCHEDULES, JOBCTL_FAILPOINTS_FILE=str(world.directory / "rules"))
    world.strangers = True
    # A Python function's answer that the pool had read and not yet noted dies with the pool.
    world.may_redo = {"python"}
    (world.directory / "rules").write_text(rule)
    runs = world.submit_many([("again", (0.1, "2:5")), ("work", (0.1, 3))])
    met(a, rule)
    (world.directory / "rules").unlink()
    if world.pick("supervisor too", "pool") == "supervisor too":
        crash(world, a, "both")
    world.expect_state(runs[0], "k", at="2")
    world.expect_state(runs[1], "x", rc="3", at="1")
    for job, run in zip(("again", "work"), runs, strict=True):
        found = [one.decode() for one in world.raw("LRANGE", world.keys.history(job), 0, -1)]
        expect(found == [run], f"the history of {job} is {found}")
    _crash_everywhere(world, a)


def _crash_everywhere(world: World, host: Host) -> None:
    """Let a process crash before and after every call, one after the other, under load."""
    rules = world.directory / "rules"
    places = [f"{one.replace(':', f':{when}:')}" for one in CALLS for when in ("before", "after")]
    world.random.shuffle(places)
    with Load(world, host, rate=4):
        for place in places:
            rule = f"{place}=crash"
            before = host.log.count(f"failpoint {rule} met")
            daemon = host.daemons[-1]
            rules.write_text(rule)
            if ":register" in rule:
                daemon.send_signal(signal.SIGUSR2)
            until(
                lambda rule=rule, n=before: host.log.count(f"failpoint {rule} met") > n,  # type: ignore[misc]
                f"{rule} is met",
                within=20,
            )
            rules.unlink()
            if place.startswith("supervisor"):
                daemon.wait(10)
                host.start()
            world.wait_work(within=20)
    world.measured["crashes"] = len(places) + 1


@fault(
    6,
    "kill -9 of a job's process, of its keeper, in both orders",
    "the end is known within 2 s; no zombie and no orphan",
    bounded=True,
)
def job_killed(world: World) -> None:
    family = "[jobs.family]\ncommand = 'sh $CHAOS_DIR/work.sh x & sleep 1000 & wait'\n"
    a = world.host("a", jobs=family)
    runs = world.submit_many([("work", ("x",)), ("family", ()), ("python", (100,))])
    world.wait_begun(*runs)
    world.wait_started(*runs)
    leaders = [psutil.Process(int(world.record(run)["pi"])) for run in runs]
    trees = [child for leader in leaders for child in leader.children(recursive=True)]
    order = [*leaders, *world.keepers(a)]
    world.random.shuffle(order)
    watch = Stopwatch()
    for process in order:
        process.kill()
    for record in world.wait_final(*runs, within=10):
        expect((record["s"], record.get("sg")) == ("x", "9"), f"ended as {record}")
    world.measured["known after s"] = watch.seconds
    expect(watch.seconds < 2, f"known only after {watch.seconds} s")
    until(lambda: not any(_alive(one) for one in trees), "no orphan is left", within=5)
    here = [world.supervisor(a), *world.supervisor(a).children(recursive=True)]
    dead = [p for p in here if p.status() == psutil.STATUS_ZOMBIE]
    until(lambda: not any(_alive(one) for one in dead), "no zombie is left", within=5)
    expect(world.submit("work", 0), "the pool goes on")


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running()
    return False


@fault(
    7,
    "power failure: everything of a host dies, and it boots anew",
    "all runs are recovered, none twice at once",
    bounded=True,
)
def power_failure(world: World) -> None:
    # A job may just have ended when the power fails, and nobody has noted it.
    world.may_repeat = True
    a = world.host("a", slots=6)
    runs = world.submit_many(
        [("work", (1,)), ("again", (1,)), ("strict", (1,)), ("once", (1,)), ("python", (1,))]
        + [("pair", (0.5,))] * 6
    )
    world.wait_begun(*runs[:4])
    world.wait_started(*runs[:4])
    world.kill_host(a)
    for path in (a.state / "supervisor.json", *a.state.glob("pools/*/*")):
        _age(path)
    watch = Stopwatch()
    a.start()
    states = {run: record["s"] for run, record in zip(runs, world.wait_final(*runs), strict=True)}
    world.measured["recovered after s"] = watch.seconds
    once = runs[3]
    expect(states.pop(once) == "x", f"the at-most-once run is {world.record(once)}")
    expect(set(states.values()) == {"k"}, f"ended as {states}")


def _age(path: object) -> None:
    """Make a file of the state directory one of an earlier boot."""
    text = path.read_text()  # type: ignore[attr-defined]
    boot = json.dumps(_boot_id())[1:-1]
    path.write_text(text.replace(boot, "0" * len(boot)))  # type: ignore[attr-defined]


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123 - not a place but a fact
        return file.read().strip()
