"""Faults 36, 37, 41 and 42: what is in the store is damaged, foreign, gone, or of yesterday."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import TYPE_CHECKING

import psutil

from chaos.load import SCHEDULES
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World
    from tests.acceptance.host import Host

LARGE = 100_000_000
"""Bytes of the largest field."""
DAMAGE: dict[str, tuple[tuple[str, ...], ...]] = {
    "no job": (("HDEL", "KEY", "j"),),
    "no queue": (("HDEL", "KEY", "q"),),
    "no priority": (("HDEL", "KEY", "p"),),
    "priority of words": (("HSET", "KEY", "p", "high"),),
    "epoch of words": (("HSET", "KEY", "ep", "many"),),
    "no envelope": (("HDEL", "KEY", "e"),),
    "cut envelope": (("HSET", "KEY", "e", '{"v":1,"a":["0'),),
    "envelope of a list": (("HSET", "KEY", "e", "[]"),),
    "deep envelope": (("HSET", "KEY", "e", '{"v":1,"a":' + "[" * 5000 + "]" * 5000 + "}"),),
    "bytes for an envelope": (("HSET", "KEY", "e", "\x00\udcff\x80"),),
    "another type": (("DEL", "KEY"), ("SET", "KEY", "words")),
    "gone": (("DEL", "KEY"),),
}


@fault(
    36,
    "malformed records: fields missing, of another type, cut, 100 MB large",
    "set aside (bad_payload); the daemon lives, others run, limits are freed",
    bounded=True,
)
def malformed_records(world: World) -> None:
    a = world.host("a", slots=2)
    world.submit_many([("work", ("x",))] * 2)
    kinds = [*DAMAGE, "large"]
    jobs = {kind: world.random.choice(["work", "pair", "again", "single"]) for kind in kinds}
    broken = {kind: world.submit(job, 0) for kind, job in jobs.items()}
    fine = world.submit_many(
        [("pair", (0.1,)), ("single", (0.1,)), ("work", (0,)), ("again", (0,))]
    )
    for kind, run in broken.items():
        _damage(world, kind, world.keys.run(run))
        del world.accepted[run]
        world.may_say.append(run)
    world.lost |= set(broken.values())
    world.go("x")
    watch = Stopwatch()
    for record in world.wait_final(*fine, within=30):
        expect(record["s"] == "k", f"a sound run ended as {record}")
    world.measured |= {"damaged": len(broken), "others done after s": watch.seconds}
    for kind, run in broken.items():
        expect(not world.executions.lines(run), f"{kind}: it was executed")
    with contextlib.suppress(Exception):
        world.raw("DEL", world.keys.run(broken["another type"]))
    for words in (("status",), ("list",), ("doctor",)):
        told = a.call(*words)
        expect("Traceback" not in told.stderr, f"{words}: {told.stderr[-300:]}")
    counted = int(world.raw("HGET", world.keys.counters, "bad") or 0)
    world.measured["counted"] = counted
    expect(counted >= len(broken) - 3, f"only {counted} of {len(broken)} are counted")


def _damage(world: World, kind: str, key: str) -> None:
    if kind == "large":
        world.raw("HSET", key, "e", "x" * LARGE)
        return
    for words in DAMAGE[kind]:
        world.raw(*(key if word == "KEY" else word for word in words))


@fault(
    37,
    "random bytes and unknown ids in every list, set, timetable and bell",
    "skipped; no crash, no busy loop",
    bounded=True,
)
def random_bytes(world: World) -> None:
    a = world.host("a")
    b = world.host("b")
    held = world.submit_many([("work", ("x",)), ("pair", ("x",)), ("pair", ("x",)), ("pair", (0,))])
    world.wait_begun(*held[:3])
    draw = world.random
    noise = [draw.randbytes(draw.randrange(1, 40)).decode("latin-1") for _ in range(120)]
    noise += ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz234567", k=16)) for _ in range(80)]
    owner = world.record(held[0])["o"]
    for key, command in _places(world, owner, a):
        if command == "ZADD":
            world.raw(command, key, *[word for one in noise for word in (1, one)])
        else:
            world.raw(command, key, *noise)
    runs = world.submit_many([("work", (0.1,)), ("pair", (0.1,)), ("single", (0,))] * 4)
    watch = Stopwatch()
    world.go("x")
    for record in world.wait_final(*held, *runs, within=60):
        expect(record["s"] == "k", f"ended as {record}")
    world.measured |= {
        "places": len(list(_places(world, owner, a))),
        "all done after s": watch.seconds,
    }
    spent = _cpu(world, a, b)
    time.sleep(5)
    share = (_cpu(world, a, b) - spent) / 5
    world.measured["idle CPU share"] = round(share, 3)
    expect(share < 0.3, f"idle, the daemons use {share:.0%} of a CPU")
    # Most of the noise is still there, and is told of; what counts is what it did to real runs.
    world.foreign = True


def _places(world: World, owner: str, host: Host) -> list[tuple[str, str]]:
    keys = world.keys
    sid = world.identity(host)
    lists = [keys.queue("default", priority) for priority in range(10)]
    lists += [keys.bell("default"), keys.bell("@due"), keys.bell(f"@{sid}"), keys.mailbox(sid)]
    lists += [keys.parked("l:two"), keys.history("work"), f"{keys.prefix}bad"]
    sets = [keys.own(owner), keys.live("work")]
    return [
        *((key, "RPUSH") for key in lists),
        *((key, "SADD") for key in sets),
        (keys.due, "ZADD"),
    ]


def _cpu(world: World, *hosts: Host) -> float:
    found = 0.0
    for host in hosts:
        for process in (world.supervisor(host), *world.pools(host)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                found += times.user + times.system
    return found


@fault(
    41,
    "FLUSHALL, or keys deleted, while jobs run",
    "the daemons register again, running jobs end, their outcomes are kept, a loud alarm",
    bounded=True,
)
def store_emptied(world: World) -> None:
    a = world.host("a")
    b = world.host("b")
    held = world.submit_many([("work", ("x", code)) for code in (0, 0, 4)])
    world.wait_started(*held)
    queued = world.submit_many([("work", (0,))] * 5, start_in=3600.0)
    pids = {line.run: line.pid for line in world.executions.lines(word="begin")}
    what = world.pick("all", "records", "supervisors")
    world.measured["deleted"] = what
    world.may_repeat = True
    if what == "all":
        world.raw("FLUSHALL")
        world.lost |= {*held, *queued}
        until(lambda: "THE STORE HAS LOST ITS DATA" in a.log + b.log, "an alarm")
    elif what == "records":
        world.raw("DEL", *[world.keys.run(run) for run in (*held, *queued)])
        world.lost |= {*held, *queued}
        # They leave the timetable when their hour has come.
        world.may_say += queued
    else:
        names = [world.keys.supervisor(world.identity(host)) for host in (a, b)]
        world.raw("DEL", *names, world.keys.supervisors)
        world.may_stay |= set(queued)
        # The next beat of each tells it, at most five seconds later.
        until(lambda: all(_listed(world, host) for host in (a, b)), "both register again")
    world.measured["work again after s"] = world.wait_work(within=20)
    expect(all(psutil.pid_exists(pid) for pid in pids.values()), "a running job was ended")
    world.go("x")
    until(lambda: world.executions.count(word="end") >= 4, "the running jobs end", within=20)
    if what == "supervisors":
        world.wait_final(*held)
        for run in queued:
            del world.accepted[run]
            a.run("revoke", run)
        return
    until(lambda: len(_unrecorded(a, b)) == 3, "the outcomes are kept on disk", within=40)
    codes = sorted(one.get("exit_code", -1) for one in _unrecorded(a, b))
    expect(codes == [0, 0, 4], f"kept are {_unrecorded(a, b)}")
    told = a.call("doctor").stdout + b.call("doctor").stdout
    expect("lost by the store" in told, "doctor does not tell")


def _listed(world: World, host: Host) -> bool:
    return bool(world.raw("SISMEMBER", world.keys.supervisors, world.identity(host)))


def _unrecorded(*hosts: Host) -> list[dict[str, int]]:
    found = []
    for host in hosts:
        path = host.state / "unrecorded.jsonl"
        if path.exists():
            found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


@fault(
    42,
    "an old backup of the store is loaded",
    "what has ended is not run again where the host knows it; instants do not fire again",
    bounded=True,
)
def old_backup(world: World) -> None:
    world.strangers = True
    a = world.host("a", signed=True, slots=2, jobs=SCHEDULES)
    held = world.submit("work", "x")
    queued = world.submit_many([("work", (0,)), ("again", (0, "2:5")), ("pair", (0.1,))] * 3)
    _sealed_off(world, lambda: world.submit("work", "y"))
    world.wait_begun(held)
    world.server.kill()
    shutil.copytree(world.directory / "store", world.directory / "backup")
    world.server.start()
    world.go("x", "y")
    world.wait_final(held, *queued)
    until(
        lambda: len({line.run for line in world.executions.lines()} - set(world.accepted)) > 2,
        "instants fire",
    )
    later = world.submit_many([("work", (0,))] * 3)
    world.wait_final(*later)
    counts = {run: world.executions.count(run) for run in (held, *queued)}
    fired = {line.run for line in world.executions.lines(word="begin")} - world.accepted.keys()
    how = world.pick("goes on", "starts again")
    if how == "starts again":
        a.stop()
    world.server.kill()
    shutil.rmtree(world.directory / "store" / "appendonlydir")
    shutil.copytree(
        world.directory / "backup" / "appendonlydir", world.directory / "store" / "appendonlydir"
    )
    world.server.start()
    if how == "starts again":
        a.start()
    world.lost |= set(later)
    world.set_back = True
    for record in world.wait_final(held, *queued, within=60):
        expect(record["s"] in "kx", f"ended as {record}")
    again = {run: world.executions.count(run) - count for run, count in counts.items()}
    expect(not any(again.values()), f"runs that had ended ran again: {again}")
    world.wait_work(within=10)
    twice = [run for run in fired if world.executions.count(run) > 1]
    expect(not twice, f"instants fired again: {twice}")
    world.measured |= {"ended before": len(counts), "instants": len(fired)}
    world.measured["daemon"] = how
    if how == "goes on":
        # It knows its latest outcomes by heart and sends them again before anything is claimed.
        expect("sending its outcome again" in a.log, "the log does not tell")
    else:
        told = a.call("doctor").stdout
        expect(
            "came back into the store and were not run again" in told,
            f"doctor does not tell: {told}",
        )


def _sealed_off(world: World, submit: Callable[[], str]) -> None:
    """Occupy the second slot, so that the backup has runs that wait."""
    world.wait_begun(submit())
