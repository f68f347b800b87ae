"""Schedules spread evenly over time, a hundred a minute: how late is each queued, and started?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon
from benchmarks.report import Row, quantile
from jobctl.store import queries

if TYPE_CHECKING:
    from benchmarks.report import Scene
    from jobctl.model.run import Run

PER_MINUTE = 100
LEAD = 25.0
"""Seconds from writing the file to the first instant."""


def measure(scene: Scene) -> list[Row]:
    """Measure 1,000 schedules over ten minutes; quickly 100 over one."""
    minutes = scene.pick(10, 1)
    count = minutes * PER_MINUTE
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=LEAD)
    names = [f"j{number}" for number in range(count)]
    instants = [
        start + timedelta(seconds=number * 60 // PER_MINUTE) for number in range(len(names))
    ]
    jobs = "\n".join(
        f'[jobs.{name}]\ncommand = "true"\ntimezone = "UTC"\n'
        f'schedule = "{at.second} {at.minute} {at.hour} {at.day} {at.month} *"\n'
        for name, at in zip(names, instants, strict=True)
    )
    with Daemon(scene.directory / "d", jobs, slots=2) as daemon:
        if datetime.now(UTC) > start:
            raise SystemExit("the daemon came up too late; raise LEAD")
        used = sum(daemon.supervisor.cpu_times()[:2])
        time.sleep(instants[-1].timestamp() - time.time() + 1.0)
        daemon.wait_ended(count, within=60.0)
        used = sum(daemon.supervisor.cpu_times()[:2]) - used
        calls = [queries.schedule_history(daemon.keys, name, newest=5) for name in names]
        histories = daemon.store.run_many(calls)
        once = sum(
            len(history) == 1 and history[0].instant == at.timestamp()
            for history, at in zip(histories, instants, strict=True)
        )
        runs: list[Run | None] = daemon.store.run_many(
            [queries.run(daemon.keys, history[0].run_id) for history in histories]
        )
    lags = [history[0].lag for history in histories]
    starts = [
        run.started_at - at.timestamp()
        for run, at in zip(runs, instants, strict=True)
        if run is not None and run.started_at is not None
    ]
    return [
        Row(f"of {count:,} schedules decided exactly once", once, "", aim=f"{count:,}",
            note=f"supervisor CPU {used / (minutes * 60) * 100:.1f} % of a core"),
        _lags("instant to run accepted: p99", lags),
        _lags("instant to start: p99", starts),
    ]  # fmt: skip


def _lags(what: str, lags: list[float]) -> Row:
    return Row(what, quantile(lags, 0.99) * 1000, "ms", aim="50",
               note=f"p50 {quantile(lags, 0.5) * 1000:.0f} ms, last {max(lags) * 1000:.0f} ms, "
               f"of {len(lags):,}")  # fmt: skip
