"""Shell runs a second through the whole daemon, beside xargs and GNU parallel."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, new_run
from benchmarks.report import Row, median_ratio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.report import Scene

SLOTS = 4
JOBS = """
[jobs.quiet]
command = "true"

[jobs.loud]
command = "echo hello"
"""
WARM = 200
"""Runs before the clock starts where a steady state is measured."""


def xargs(count: int, command: str) -> float:
    """Return runs a second; nothing is kept of them."""
    numbers = "\n".join(map(str, range(count)))
    started = time.perf_counter()
    subprocess.run(
        ["xargs", f"-P{SLOTS}", "-n1", "sh", "-c", command],
        input=numbers, text=True, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return count / (time.perf_counter() - started)


def parallel(count: int, command: str) -> float:
    """Return runs a second through GNU parallel, which collects each run's output."""
    numbers = "\n".join(map(str, range(count)))
    started = time.perf_counter()
    subprocess.run(
        ["parallel", "--will-cite", f"-j{SLOTS}", "-N0", command],
        input=numbers, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return count / (time.perf_counter() - started)


def drained(daemon: Daemon, job: str, count: int) -> tuple[float, int]:
    """Return runs a second from the first submit to the last settlement, and how many are whole."""
    runs = [new_run(job) for _ in range(count)]
    before = daemon.ended()
    started = time.perf_counter()
    daemon.submit(runs)
    took = daemon.wait_ended(before + count) - started
    return count / took, daemon.complete(runs)


def measure(scene: Scene) -> list[Row]:
    """Measure quiet and loud runs, then a backlog."""
    rows = []
    with Daemon(scene.directory / "a", JOBS, slots=SLOTS) as daemon:
        drained(daemon, "quiet", WARM)
        for job, command in (("quiet", "true"), ("loud", "echo hello")):
            rows += _beside(scene, daemon, job, command)
        rows += _backlog(scene, daemon, scene.directory / "b")
    return rows


def _beside(scene: Scene, daemon: Daemon, job: str, command: str) -> list[Row]:
    count, rounds = scene.pick(2000, 500), scene.pick(5, 3)
    ours, theirs, collected, whole = [], [], [], 0
    others = shutil.which("parallel") is not None
    for _ in range(rounds):
        theirs.append(xargs(count, command))
        rate, complete = drained(daemon, job, count)
        ours.append(rate)
        whole += complete
        if others:
            # A tenth of the runs: it is slow, and its own start costs little beside them.
            collected.append(parallel(max(100, count // 5), command))
    note = f"{whole} of {count * rounds} records whole"
    rows = [
        Row(f"`{command}`, {SLOTS} slots", statistics.median(ours), "runs/s", "xargs -P4 -n1 sh -c",
            statistics.median(theirs), median_ratio(ours, theirs), "0.75", note),
    ]  # fmt: skip
    if collected:
        rows.append(
            Row("", statistics.median(ours), "runs/s", "parallel -j4",
                statistics.median(collected), median_ratio(ours, collected))
        )  # fmt: skip
    return rows


def _window(daemon: Daemon, count: int) -> float:
    """Return the rate of ``count`` runs while more are there, after a moment to get going."""
    before = daemon.ended()
    started = daemon.wait_ended(before + WARM)
    first = daemon.ended()
    took = daemon.wait_ended(first + count) - started
    return count / took


def _backlog(scene: Scene, idle: Daemon, directory: Path) -> list[Row]:
    """Compare the rate in a queue that holds 100,000 with one that is nearly empty, in turns."""
    backlog, count, rounds = scene.pick(100_000, 20_000), scene.pick(2000, 500), scene.pick(4, 2)
    long, short = [], []
    with Daemon(directory, JOBS, slots=SLOTS) as full:
        full.submit([new_run("quiet") for _ in range(backlog)])
        for _ in range(rounds):
            long.append(_window(full, count))
            with _frozen(full):
                target = idle.ended() + count + 2 * WARM
                idle.submit([new_run("quiet") for _ in range(count + 2 * WARM)])
                short.append(_window(idle, count))
                idle.wait_ended(target)
        left = backlog - full.ended()
    return [
        Row(f"`true` with {backlog:,} queued", statistics.median(long), "runs/s", "with 2,000 queued",
            statistics.median(short), median_ratio(long, short), "0.90", f"{left:,} left at the end")
    ]  # fmt: skip


@contextlib.contextmanager
def _frozen(daemon: Daemon) -> Iterator[None]:
    daemon.freeze()
    try:
        yield
    finally:
        daemon.thaw()
