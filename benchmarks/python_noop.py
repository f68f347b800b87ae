"""Python functions that do nothing, drained through 10 slots; our own figure only."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, new_run
from benchmarks.report import Row, quantile
from jobctl.store import queries

if TYPE_CHECKING:
    from benchmarks.report import Scene


def measure(scene: Scene) -> list[Row]:
    """Drain a queue that was filled while the pool stood still; then one at a time."""
    count, rounds = scene.pick(5000, 1000), scene.pick(3, 2)
    place = scene.directory / "code"
    place.mkdir(parents=True)
    (place / "bench_noop.py").write_text("def noop():\n    pass\n")
    jobs = f'[jobs.noop]\npython = "bench_noop:noop"\ncwd = {json.dumps(str(place))}\n'
    rates, cpu, waits = [], [], []
    with Daemon(scene.directory / "d", jobs, slots=10) as daemon:
        daemon.submit([new_run("noop") for _ in range(200)])
        daemon.wait_ended(200)
        for _ in range(rounds):
            daemon.freeze()
            before = daemon.ended()
            daemon.submit([new_run("noop") for _ in range(count)])
            used, started = _cpu(daemon), time.perf_counter()
            daemon.thaw()
            rates.append(count / (daemon.wait_ended(before + count) - started))
            cpu.append((_cpu(daemon) - used) / count * 1e6)
        waits = _one_by_one(daemon, scene.pick(300, 60))
    return [
        Row("no-op drain, 10 slots", statistics.median(rates), "runs/s"),
        Row("  CPU of the whole tree", statistics.median(cpu), "us/run"),
        Row("submit -> started_at, idle, p50", statistics.median(waits), "ms"),
        Row("submit -> started_at, idle, p99", quantile(waits, 0.99), "ms"),
    ]


def _one_by_one(daemon: Daemon, count: int) -> list[float]:
    moments = []
    before = daemon.ended()
    for _ in range(count):
        run = new_run("noop")
        moments.append((run.request.id, time.time()))
        daemon.submit([run])
        time.sleep(0.02)
    daemon.wait_ended(before + count)
    waits = []
    for run_id, moment in moments:
        record = daemon.store.run(queries.run(daemon.keys, run_id))
        assert record is not None
        assert record.started_at is not None
        waits.append((record.started_at - moment) * 1000)
    return waits


def _cpu(daemon: Daemon) -> float:
    return sum(sum(one.cpu_times()[:4]) for one in daemon.tree())
