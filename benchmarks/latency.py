"""From a submit to the first instruction of the job, idle daemon, one run at a time."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, new_run
from benchmarks.report import Row, quantile
from jobctl.store import queries, transitions

if TYPE_CHECKING:
    from benchmarks.report import Scene
    from jobctl.store.blocking import BlockingStore

CLOCK = "exec date +%s.%N"
"""The shell replaces itself by `date`, which says when it ran: one process, two execs."""
JOBS = f"""
[jobs.clock]
command = "{CLOCK}"
"""
APART = 0.02


def direct() -> float:
    """Return ms from before a plain Popen until the same command says the time."""
    started = time.time()
    done = subprocess.run(["/bin/sh", "-c", CLOCK], capture_output=True, check=True)
    return (float(done.stdout) - started) * 1000


def measure(scene: Scene) -> list[Row]:
    """Submit runs 20 ms apart and read what they said."""
    count = scene.pick(300, 60)
    started, said, plain = [], [], []
    with Daemon(scene.directory / "d", JOBS) as daemon:
        first = new_run("clock")
        daemon.submit([first])
        daemon.wait_ended(1)
        moments = []
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number * APART - time.monotonic()))
            run = new_run("clock")
            moment = time.time()
            _submit(daemon.store, daemon.submission([run]))
            moments.append((run.request.id, moment))
        daemon.wait_ended(count + 1)
        for run_id, moment in moments:
            record = daemon.store.run(queries.run(daemon.keys, run_id))
            assert record is not None
            assert record.started_at is not None
            log = daemon.state_dir / "logs" / "clock" / f"{run_id}.1.log"
            started.append((record.started_at - moment) * 1000)
            said.append((float(log.read_text()) - moment) * 1000)
        plain = [direct() for _ in range(scene.pick(100, 30))]
    p50, p99 = statistics.median(said), quantile(said, 0.99)
    return [
        Row("submit -> the job's own clock, p50", p50, "ms", "Popen -> its own clock",
            statistics.median(plain), p50 / statistics.median(plain), "3 ms"),
        Row("submit -> the job's own clock, p99", p99, "ms", "Popen -> its own clock",
            quantile(plain, 0.99), p99 / quantile(plain, 0.99), "10 ms", f"worst {max(said):.1f} ms"),
        Row("submit -> started_at on the record, p50", statistics.median(started), "ms"),
        Row("submit -> started_at on the record, p99", quantile(started, 0.99), "ms"),
    ]  # fmt: skip


def _submit(store: BlockingStore, call: transitions.Call[tuple[transitions.Answer, ...]]) -> None:
    (answer,) = store.run(call)
    assert answer.kind == "ok"
