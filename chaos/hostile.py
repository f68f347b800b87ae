"""Faults 32, 33 and 35: jobs that multiply, kill whoever runs them, or will not end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psutil

from chaos.limits import Cgroup
from chaos.table import fault
from chaos.waits import Stopwatch, expect, until

if TYPE_CHECKING:
    from chaos.world import World
    from tests.acceptance.host import Host

BOMB = """[jobs.bomb]
timeout = "4s"
command = '''
echo $$ > "$CHAOS_CGROUP/cgroup.procs"
bomb() { sleep 100 & bomb & bomb; }
bomb 2>/dev/null &
exec sleep 100
'''
env.CHAOS_CGROUP = "PLACE"
"""


@fault(
    32,
    "a fork bomb under a limit of processes",
    "it is ended as a whole at its time limit; other runs are not affected",
    needs=("cgroup",),
)
def fork_bomb(world: World) -> None:
    group = Cgroup(world, "pids")
    try:
        group.limit(world.pick(60, 120, 200))
        world.silent = {"bomb"}
        a = world.host("a", jobs=BOMB.replace("PLACE", str(group.place)))
        bomb = world.submit("bomb")
        most = 0

        def grown() -> bool:
            nonlocal most
            most = max(most, len((group.place / "cgroup.procs").read_text().split()))
            return most > 25

        until(grown, "the bomb goes off", within=20)
        watch = Stopwatch()
        others = world.submit_many([("work", (0.1,))] * 6)
        world.wait_final(*others, within=20)
        world.measured["others done after s"] = watch.seconds
        world.expect_state(bomb, "x", within=60, rs="timeout")
        until(
            lambda: not (group.place / "cgroup.procs").read_text().split(),
            "nothing of the bomb is left",
            within=10,
        )
        world.measured["processes"] = most
        expect(a.daemons[-1].poll() is None, "the daemon ended")
    finally:
        group.close()


KILLER = """[jobs.killer]
on_lost = "retry"
retries = {retries}
command = '''
read -r now rest </proc/uptime
echo "begin $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ $now $CHAOS_HOST -" >>"$CHAOS_DIR/executions"
keeper=$(cut -d" " -f4 /proc/$PPID/stat)
supervisor=$(cut -d" " -f4 /proc/$keeper/stat)
test $CHAOS_VICTIM = host || supervisor=
kill -9 $supervisor $keeper $PPID $$
'''
env.CHAOS_VICTIM = "{victim}"
"""


@fault(
    33,
    "a job that kills its pool, or the whole daemon, each time",
    "failed when its attempts are used up, or (poison) when nobody could tell how it ended three "
    "times; the queue moves on",
    bounded=True,
)
def poison(world: World) -> None:
    victim = world.pick("pool", "host")
    retries = world.pick(0, 2, 5)
    a = world.host("a", slots=2, jobs=KILLER.format(retries=retries, victim=victim))
    killer = world.submit("killer")
    others = world.submit_many([("work", (0.1,))] * 6)

    def over() -> bool:
        if a.daemons[-1].poll() is not None:
            a.start()
        return world.record(killer).get("s") == "x"

    until(over, "the killer is given up", within=90)
    record = world.record(killer)
    wanted = ("poison", "3") if victim == "host" else ("signal", str(retries + 1))
    seen = (record.get("rs"), record["at"])
    expect(seen == wanted, f"it ended as {seen}, must be {wanted}")
    world.measured |= {"kills": victim, "attempts": int(record["at"])}
    # Who runs beside it each time dies with it each time, and nobody can tell them apart. What was
    # just being started leaves no trace when pool, keeper and supervisor die in that moment.
    world.may_repeat = world.set_back = True
    ends = [(record["s"], record.get("rs", "")) for record in world.wait_final(*others)]
    beside = ends.count(("x", "poison"))
    expect(ends.count(("k", "")) == len(ends) - beside, f"others ended as {ends}")
    expect(beside <= 1, f"{beside} runs beside it were given up too")
    world.measured["given up beside it"] = beside


STUBBORN = {
    "deaf": "trap '' TERM INT HUP; while :; do sleep 0.2; done",
    "family": "trap '' TERM; (trap '' TERM; while :; do sleep 0.3; done) & wait; wait; sleep 100",
    "gone": "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.3; done' &) ; sleep 100",
    "twice": "setsid sh -c '(sh -c \"while :; do sleep 0.3; done\" &) ; exit' ; trap '' TERM; sleep 100; sleep 100",
}


@fault(
    35,
    "jobs that ignore SIGTERM, fork twice, leave their session",
    "gone after the grace, with all they started",
    bounded=True,
)
def stubborn_jobs(world: World) -> None:
    tables = "".join(
        f"[jobs.{name}]\ntimeout = \"{{}}\"\ncommand = '''{command}'''\n"
        for name, command in STUBBORN.items()
    )
    how = world.pick("revoke", "timeout")
    a = world.host("a", slots=6, jobs=tables.replace("{}", "3s" if how == "timeout" else "1h"))
    world.silent = set(STUBBORN)
    runs = world.submit_many([(name, ()) for name in STUBBORN])
    world.wait_started(*runs)
    leaders = [psutil.Process(int(world.record(run)["pi"])) for run in runs]
    until(lambda: all(leader.children() for leader in leaders), "they have children", within=10)
    family = {one for leader in leaders for one in (leader, *leader.children(recursive=True))}
    family |= {one for one in _shells(a) if one not in family}
    watch = Stopwatch()
    if how == "revoke":
        a.run("revoke", *runs)
    for record in world.wait_final(*runs, within=20):
        wanted = "v" if how == "revoke" else "x"
        expect(record["s"] == wanted, f"ended as {record}")
    until(
        lambda: not [one for one in family | set(_shells(a)) if _alive(one)],
        "nothing of them is left",
        within=5,
    )
    world.measured |= {"ended by": how, "after s": watch.seconds, "processes": len(family)}


def _shells(host: Host) -> list[psutil.Process]:
    found = []
    for process in host.processes():
        with contextlib.suppress(psutil.Error):
            if process.name() in ("sh", "dash", "sleep", "setsid"):
                found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
