"""Where the CPU of one jobctl run goes, by kind of process."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import KINDS, Daemon, new_run
from benchmarks.peers.processes import cpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

WARM_UP = 300
"""Runs before anything is counted: interpreters start and scripts are loaded."""


def profile(directory: Path, *, runs: int, slots: int, rounds: int) -> None:
    """Queue runs while the pool stands still, let it go, and print µs of CPU for each of them."""
    place = directory / "code"
    place.mkdir(parents=True)
    (place / "bench_noop.py").write_text("def noop():\n    pass\n")
    jobs = f'[jobs.noop]\npython = "bench_noop:noop"\ncwd = {json.dumps(str(place))}\n'
    queued, drained, submits, drains = [], [], [], []
    with Daemon(directory / "d", jobs, slots=slots) as daemon:
        daemon.submit([new_run("noop") for _ in range(WARM_UP)])
        daemon.wait_ended(WARM_UP)
        for _ in range(rounds):
            daemon.freeze()
            ended, before = daemon.ended(), _used(daemon)
            started = time.perf_counter()
            daemon.submit([new_run("noop") for _ in range(runs)])
            submits.append(runs / (time.perf_counter() - started))
            between = _used(daemon)
            if daemon.ended() != ended:
                raise SystemExit("the pool did not stand still: nothing measured here is true")
            started = time.perf_counter()
            daemon.thaw()
            drains.append(runs / (daemon.wait_ended(ended + runs, every=0.05) - started))
            queued.append(_each(before, between, runs))
            drained.append(_each(between, _used(daemon), runs))
    print(f"submit {statistics.median(submits):,.0f} runs/s (objects made included)")
    print(f"drain  {statistics.median(drains):,.0f} runs/s, {slots} slots, {runs} runs")
    _table(queued, drained)


def _used(daemon: Daemon) -> dict[str, float]:
    """Return the CPU seconds of each kind; this process is the submitter."""
    used = {kind: cpu(processes) for kind, processes in daemon.parts().items()}
    return {**used, "submitter": time.process_time()}


def _each(before: Mapping[str, float], after: Mapping[str, float], runs: int) -> dict[str, float]:
    return {kind: (after[kind] - before[kind]) / runs * 1e6 for kind in after}


def _table(queued: list[dict[str, float]], drained: list[dict[str, float]]) -> None:
    print(f"\n{'CPU us per run':<16}{'submit':>10}{'drain':>10}{'both':>10}")
    for kind in (*KINDS, "submitter"):
        _line(kind, (one[kind] for one in queued), (one[kind] for one in drained))
    _line("all", (sum(one.values()) for one in queued), (sum(one.values()) for one in drained))
    print("(the submitter's share of the drain is the benchmark asking how far it is)")


def _line(what: str, queued: Iterable[float], drained: Iterable[float]) -> None:
    first, second = statistics.median(queued), statistics.median(drained)
    print(f"{what:<16}{first:>10.1f}{second:>10.1f}{first + second:>10.1f}")
