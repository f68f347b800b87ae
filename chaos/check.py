"""What must hold after every fault: the invariants, by the store and by the log of executions."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chaos import processes
from chaos.waits import BrokenError, expect, until
from jobctl.model.run import FINAL_LETTERS
from jobctl.store.verify import confirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World
    from tests.acceptance.host import Host

ALL_WITHIN = 120.0
"""Seconds within which all accepted runs have ended, after the fault is over."""
MOST_DESCRIPTORS = 64
"""Open descriptors of a supervisor or pool of few slots that leaks none; about 25 are usual."""
SETTLED = 0.5
"""Seconds from the beginning of a job to the record of its start, at most."""
LEFT_EMPTY = ("spool", "unsent", "pools/*")
"""Directories of a state directory that are empty when a daemon was stopped in order."""


def after(world: World) -> None:
    """Wait for the end of all runs, check everything, stop the hosts and look at what they left.

    Raises :class:`~chaos.waits.BrokenError` with all that does not hold.
    """
    wrong: list[str] = []
    world.go()
    _try(wrong, lambda: all_final(world))
    wrong += in_store(world)
    wrong += in_log(world)
    wrong += outputs(world)
    wrong += descriptors(world)
    wrong += stopped(world)
    expect(not wrong, "; ".join(wrong[:8]))


def all_final(world: World, *, within: float | None = None) -> None:
    """Every accepted run ends (I3), within :data:`ALL_WITHIN` seconds unless told otherwise."""
    waiting = world.accepted.keys() - world.lost - world.may_stay

    def left() -> bool:
        records = world.records()
        waiting.difference_update(
            [run for run in waiting if records.get(run, {}).get("s", "q") in FINAL_LETTERS]
        )
        return not waiting

    try:
        until(left, "the end of all runs", within=within or ALL_WITHIN, every=0.3)
    except BrokenError:
        records = world.records()
        named = ", ".join(
            f"{run} ({world.accepted[run]}) is {records.get(run, {}).get('s', 'missing')}"
            for run in sorted(waiting)[:4]
        )
        raise BrokenError(f"{len(waiting)} accepted runs did not end: {named}") from None


def in_store(world: World) -> list[str]:
    """I1, I2, I4 and I5 as the store shows them, twice in a row."""
    with world.connect() as store:
        found = confirmed(store, world.keys)
    if world.foreign:
        found = [one for one in found if any(run in one for run in world.accepted)]
    return [one for one in found if not any(words in one for words in world.may_say)]


def in_log(world: World) -> list[str]:
    """Compare executions with records: none lost, none overlapping, none beyond its attempts (I8)."""
    begun = Counter(line.run for line in world.executions.lines(word="begin"))
    # Schedules go on: what has begun is in the records a moment later, and what these call
    # succeeded has written its last line before.
    time.sleep(SETTLED)
    records = world.records()
    lines = world.executions.lines()
    ended = Counter(line.run for line in lines if line.word == "end")
    done = Counter(line.run for line in lines if (line.word, line.code) == ("end", "0"))
    overlaps = {line.run for line in lines if line.word == "overlap"}
    wrong = []
    for run in sorted(overlaps):
        job = world.accepted.get(run, records.get(run, {}).get("j", "?"))
        if job in ("strict", "once") or not world.may_overlap:
            wrong.append(f"two executions of {run} ({job}) overlap")
    if not world.strangers:
        wrong += [f"{run} ran and was never accepted" for run in begun.keys() - world.accepted]
    for run, record in records.items():
        most = int(record.get("at", 0)) + int(record.get("cl", 0))
        if begun[run] > most and not world.set_back:
            wrong.append(f"{run} ran {begun[run]} times, its record knows of {most}")
        told = record.get("j") not in world.silent
        if record.get("s") == "k" and run in world.accepted and told and not ended[run]:
            wrong.append(f"{run} succeeded and never came to its end")
        if world.accepted.get(run) == "once" and begun[run] > 1:
            wrong.append(f"{run} is to run at most once and ran {begun[run]} times")
        if done[run] > 1 and not (world.may_repeat or record.get("j") in world.may_redo):
            wrong.append(f"{run} was done {done[run]} times")
    world.measured.setdefault("runs", len(world.accepted))
    world.measured.setdefault("executions", sum(begun.values()))
    return wrong


def outputs(world: World) -> list[str]:
    """No run's output is in the log of another."""
    wrong = []
    for host in world.hosts.values():
        for path in (host.state / "logs").glob("*/*.log"):
            run = path.name.partition(".")[0]
            with contextlib.suppress(OSError):
                said = re.findall(
                    r"^output of (\w+)", path.read_text(errors="replace"), re.MULTILINE
                )
                wrong += [f"the log of {run} has output of {one}" for one in said if one != run]
    return wrong


def descriptors(world: World) -> list[str]:
    """No supervisor or pool collects descriptors."""
    wrong = []
    most = 0
    for host in world.hosts.values():
        if not host.daemons or host.daemons[-1].poll() is not None:
            continue
        for process in (world.supervisor(host), *world.pools(host)):
            with contextlib.suppress(psutil.Error):
                open_now = process.num_fds()
                most = max(most, open_now)
                if open_now > MOST_DESCRIPTORS:
                    wrong.append(f"{process.name()} {process.pid} has {open_now} descriptors")
    world.measured.setdefault("descriptors", most)
    return wrong


def stopped(world: World) -> list[str]:
    """Every daemon ends in order when told, and leaves no process and no file."""
    wrong: list[str] = []
    for host in world.hosts.values():
        running = bool(host.daemons) and host.daemons[-1].poll() is None
        if running:
            _try(wrong, lambda host=host: _stop(host))  # type: ignore[misc]
        if "Traceback (most recent call last)" in host.log:
            where = host.log.index("Traceback (most recent call last)")
            last = host.log[where:].split("\n\n")[0].splitlines()
            wrong.append(f"host {host.name} logged a traceback: {' | '.join(last[-3:])[:300]}")
        if running:
            wrong += _files(host)
    # More servers may be left as well, in places of their own.
    store = {world.server.directory, *world.directory.glob(f"{world.SERVERS}/*")}
    left: list[psutil.Process] = []

    def nothing() -> bool:
        left[:] = [
            process for process in processes.of(world.directory) if not _serves(process, store)
        ]
        return not left

    with contextlib.suppress(BrokenError):
        until(nothing, "no process is left", within=10)
    for process in left:
        with contextlib.suppress(psutil.Error):
            wrong.append(f"process {process.pid} is left: {' '.join(process.cmdline())[:100]}")
    return wrong


def _stop(host: Host) -> None:
    daemon = host.daemons[-1]
    daemon.send_signal(signal.SIGTERM)
    until(lambda: daemon.poll() is not None, f"host {host.name} stops", within=60)
    expect(daemon.returncode == 0, f"host {host.name} ended with {daemon.returncode} when stopped")


def _files(host: Host) -> list[str]:
    found = []
    for pattern in LEFT_EMPTY:
        for place in host.state.glob(pattern):
            if place.is_dir():
                found += [path for path in place.rglob("*") if path.is_file() and not _kept(path)]
    return [f"host {host.name} left {path.relative_to(host.state)}" for path in found[:5]]


def _kept(path: Path) -> bool:
    """Whether it is the empty spool file of a slot, which the next pool of the name goes on with."""
    return path.suffix == ".log" and path.stat().st_size == 0


def _serves(process: psutil.Process, places: set[Path]) -> bool:
    """Whether it is the world's own server, or gone by now."""
    try:
        return process.name() in processes.SERVERS and Path(process.cwd()) in places
    except psutil.Error:
        return True


def _try(wrong: list[str], action: Callable[[], object]) -> None:
    try:
        action()
    except BrokenError as error:
        wrong.append(str(error))
