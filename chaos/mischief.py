"""Short troubles for the soak: each begins, ends by itself, and leaves a host that goes on.

None lasts as long as the TTL, and none destroys the outcome of an execution: so after all of them
every accepted run must have ended, and what ran to its end must not have run twice.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import psutil

from chaos.processes import SERVERS, is_attempt, kill_all, name_of
from chaos.waits import BrokenError, Stopwatch, until
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World
    from tests.acceptance.host import Host

    Trouble = Callable[["World", Host], str]

LONGEST_STANDSTILL = 12.0
"""Seconds that a process is stopped at most: far from the TTL, also on a busy machine."""
RULES = (
    "pool:before:claim=drop%20",
    "pool:after:claim=drop%20",
    "pool:after:start=drop%20",
    "pool:before:settle=drop%30",
    "pool:after:settle=drop%30",
    "pool:after:settle=delay:300ms%30",
    "pool:before:start=crash@2",
    "pool:after:claim=crash@3",
    "pool:after:settle=crash@4",
    "supervisor:before:beat=drop%50",
    "supervisor:after:beat=drop%50",
    "supervisor:after:tick=drop%50",
    "supervisor:after:promote=drop%50",
    "supervisor:after:tick=crash@1",
    "supervisor:before:promote=crash@1",
    "supervisor:after:beat=crash@1",
)
"""Failpoints that are armed for a few seconds; a crash meets every process that begins anew, too."""
TROUBLES: dict[str, tuple[Trouble, int]] = {}
"""By name: what is done to a world and one of its hosts, and its weight."""


def trouble(name: str, weight: int = 2) -> Callable[[Trouble], Trouble]:
    """Put a function into :data:`TROUBLES`; it returns words about what exactly was done."""

    def register(act: Trouble) -> Trouble:
        TROUBLES[name] = (act, weight)
        return act

    return register


def revive(host: Host) -> bool:
    """Start a host's daemon again if it ended; return whether it had to be."""
    if host.daemons[-1].poll() is None:
        return False
    host.start()
    return True


@trouble("kill -9 supervisor", 4)
def supervisor_killed(world: World, host: Host) -> str:
    world.supervisor(host).kill()
    return _restarted(world, host)


@trouble("kill -9 a pool", 4)
def pool_killed(world: World, host: Host) -> str:
    pools = world.pools(host)
    if pools:
        world.random.choice(pools).kill()
    return f"of {len(pools)}"


@trouble("kill -9 supervisor and pools", 4)
def all_killed(world: World, host: Host) -> str:
    kill_all([world.supervisor(host), *world.pools(host)])
    return _restarted(world, host)


@trouble("kill -9 a job")
def job_killed(world: World, host: Host) -> str:
    with contextlib.suppress(BrokenError, psutil.Error):
        found = until(
            lambda: [p for p in host.processes() if is_attempt(p)], "a job", within=3, every=0.02
        )
        world.random.choice(found).kill()
        return f"of {len(found)} processes"
    return "found none"


@trouble("kill -9 keepers, then pools")
def keepers_killed(world: World, host: Host) -> str:
    keepers = world.keepers(host)
    kill_all(keepers)
    time.sleep(world.random.uniform(0, 3))
    # A keeper comes back with its pool only. Left alone, the next kill of supervisor and pools would
    # leave attempts to nobody, and how they end could not be known: see fault 2.
    kill_all(world.pools(host))
    return f"{len(keepers)}"


@trouble("kill -9 the store", 4)
def store_killed(world: World, host: Host) -> str:
    if host.redis is None:
        return _replaced(world, host, signal.SIGKILL)
    world.server.kill()
    gap = world.random.choice([0.0, 0.5, 2.0, 5.0])
    time.sleep(gap)
    world.server.start(ready=False)
    return f"for {gap:g} s{_answers(world)}"


@trouble("end the store in order")
def store_ended(world: World, host: Host) -> str:
    if host.redis is None:
        return _replaced(world, host, signal.SIGTERM)
    world.store_process().send_signal(signal.SIGTERM)
    until(lambda: not _up(world), "the store ends", within=20)
    world.server.kill()
    world.server.start(ready=False)
    return _answers(world)


@trouble("stop the store, go on")
def store_stopped(world: World, host: Host) -> str:
    return _stood_still(world, [world.store_process(host if host.redis is None else None)])


@trouble("stop supervisor, go on")
def supervisor_stopped(world: World, host: Host) -> str:
    return _stood_still(world, [world.supervisor(host)])


@trouble("stop pools, go on")
def pools_stopped(world: World, host: Host) -> str:
    return _stood_still(world, world.pools(host))


@trouble("stop the whole host, go on")
def host_stopped(world: World, host: Host) -> str:
    return _stood_still(world, [p for p in host.processes() if name_of(p) not in SERVERS])


@trouble("reload --exec", 3)
def replaced(_world: World, host: Host) -> str:
    done = host.call("reload", "--exec", "--host", host.name)
    if done.returncode:
        raise BrokenError(f"reload --exec of {host.name} ended with {done.returncode}: {done}")
    return ""


@trouble("reload")
def reloaded(_world: World, host: Host) -> str:
    host.daemons[-1].send_signal(signal.SIGHUP)
    return ""


@trouble("stop in order, start", 3)
def ended_in_order(_world: World, host: Host) -> str:
    code = host.stop()
    if code:
        raise BrokenError(f"host {host.name} ended with {code} when told to stop")
    host.start()
    return ""


@trouble("throw out all clients", 3)
def thrown_out(world: World, _host: Host) -> str:
    times = world.random.randint(1, 4)
    for _ in range(times):
        world.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(world.random.uniform(0, 0.6))
    return f"{times} times"


@trouble("failpoint", 6)
def failpoint(world: World, host: Host) -> str:
    rule = world.random.choice(RULES)
    path = world.directory / f"rules.{host.name}"
    path.write_text(rule)
    time.sleep(world.random.uniform(1.5, 4))
    path.unlink()
    return rule + (", restarted" if revive(host) else "")


@trouble("forget all scripts", 1)
def scripts_forgotten(world: World, _host: Host) -> str:
    world.raw("SCRIPT", "FLUSH", "SYNC")
    return ""


def _restarted(world: World, host: Host) -> str:
    host.daemons[-1].wait()
    gap = world.random.choice([0.0, 0.0, 1.0, 3.0])
    time.sleep(gap)
    host.start()
    return f"back after {gap:g} s"


def _stood_still(world: World, processes: list[psutil.Process]) -> str:
    span = world.random.uniform(1.0, LONGEST_STANDSTILL)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    time.sleep(span)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.resume()
    return f"{len(processes)} processes for {span:.1f} s"


def _replaced(world: World, host: Host, number: int) -> str:
    """End an embedded store and wait for the next one."""
    process = world.store_process(host)
    process.send_signal(number)
    until(lambda: not process.is_running(), "the store ends", within=20, every=0.01)
    return _answers(world)


def _up(world: World) -> bool:
    with contextlib.suppress(JobctlError):
        return bool(world.raw("PING"))
    return False


def _answers(world: World) -> str:
    # It loads all that there was; that takes its time on a machine that has other things to do.
    watch = Stopwatch()
    until(lambda: _up(world), "the store answers again", within=120)
    return f", answers after {watch.seconds} s"
