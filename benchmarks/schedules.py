"""1,000 schedules that are all due at one second: when is the last one queued?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon
from benchmarks.report import Row, quantile
from jobctl.store import queries

if TYPE_CHECKING:
    from benchmarks.report import Scene

COUNT = 1000
LEAD = 20.0
"""Seconds from writing the file to the instant: the daemon must be up by then."""


def measure(scene: Scene) -> list[Row]:
    """Measure with the runs waiting in their queue, then with a pool that runs them."""
    return [
        *_lags(scene, "queued only", queue="elsewhere"),
        *_lags(scene, "and run by 4 slots", queue="default"),
    ]


def _lags(scene: Scene, what: str, *, queue: str) -> list[Row]:
    instant = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=LEAD)
    rule = f"{instant.second} {instant.minute} {instant.hour} * * *"
    jobs = '[pools.elsewhere]\nslots = 1\nqueues = ["elsewhere"]\n\n' + "\n".join(
        f'[jobs.j{n}]\ncommand = "true"\nschedule = "{rule}"\ntimezone = "UTC"\nqueue = "{queue}"\n'
        for n in range(COUNT)
    )
    with Daemon(scene.directory / queue, jobs) as daemon:
        if queue != "default":
            daemon.freeze()
        if time.time() > instant.timestamp():
            raise SystemExit("the daemon came up too late; raise LEAD")
        used = sum(daemon.supervisor.cpu_times()[:2])
        names = _names(daemon)
        time.sleep(max(0.0, instant.timestamp() + 1.0 - time.time()))
        deadline = time.monotonic() + 30
        while len(lags := _decided(daemon, names)) < COUNT and time.monotonic() < deadline:
            time.sleep(0.1)
        used = sum(daemon.supervisor.cpu_times()[:2]) - used
    if len(lags) < COUNT:
        raise SystemExit(f"only {len(lags)} of {COUNT} schedules were decided")
    return [
        Row(f"{COUNT} due at once, {what}: last", max(lags) * 1000, "ms",
            note=f"first {min(lags) * 1000:.0f} ms, p50 {quantile(lags, 0.5) * 1000:.0f} ms, p99 {quantile(lags, 0.99) * 1000:.0f} ms, "
            f"supervisor CPU {used * 1000:.0f} ms"),
    ]  # fmt: skip


def _names(daemon: Daemon) -> list[str]:
    """Return the names of the schedules the daemon has introduced."""
    prefix = daemon.keys.schedule("")
    found: list[str] = []
    while len(found) < COUNT:
        cursor, found = "0", []
        while True:
            cursor, names = daemon.store.run(_scan(prefix, cursor))
            found += names
            if cursor == "0":
                break
        time.sleep(0.05)
    return found


def _scan(prefix: str, cursor: str) -> queries.Call[tuple[str, list[str]]]:
    def decode(reply: object) -> tuple[str, list[str]]:
        position, keys = reply  # type: ignore[misc]
        return position.decode(), [key.decode()[len(prefix) :] for key in keys]

    return queries.Call(("SCAN", cursor, "MATCH", prefix + "*", "COUNT", 5000), decode)


def _decided(daemon: Daemon, names: list[str]) -> list[float]:
    calls = [queries.schedule_history(daemon.keys, name, newest=1) for name in names]
    return [found[0].lag for found in daemon.store.run_many(calls) if found]
