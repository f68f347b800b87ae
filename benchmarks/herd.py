"""10,000 schedules due at one second, three supervisors on one store, one killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.daemon import environment
from benchmarks.hosts import Hosts
from benchmarks.report import Row, quantile

if TYPE_CHECKING:
    from benchmarks.report import Scene
    from jobctl.model.run import Run
    from jobctl.store.queries import Decision

LEAD = 15.0
LEAD_TIMES = 12
"""Seconds from writing the files to the instant, besides so many times as long as it takes to
validate one now: three daemons must be up by then, however busy the machine is."""
KILL_AT = 0.3
"""Share of the instants that are decided when a supervisor is killed."""
SETTLE = 3.0
"""Seconds in which whoever would decide an instant again does so."""


def measure(scene: Scene) -> list[Row]:
    """Measure with runs that wait in a queue, then with runs that two slots a host execute."""
    count = scene.pick(10_000, 1000)
    return [*_herd(scene, count, queue="elsewhere"), *_herd(scene, count, queue="default")]


def _herd(scene: Scene, count: int, *, queue: str) -> list[Row]:
    names = [f"j{number}" for number in range(count)]
    executed = scene.directory / "executed"
    lead = LEAD + LEAD_TIMES * _validation(scene, _jobs(datetime.now(UTC), names, queue, executed))
    instant = (datetime.now(UTC) + timedelta(seconds=lead)).replace(microsecond=0)
    with Hosts(scene.directory / queue, _jobs(instant, names, queue, executed)) as hosts:
        hosts.wait_introduced(names)
        if time.time() > instant.timestamp() - 1:
            raise SystemExit("the daemons came up too late; raise LEAD")
        time.sleep(instant.timestamp() - time.time())
        while hosts.ticks() < count * KILL_AT:
            time.sleep(0.002)
        killed_after = hosts.ticks()
        hosts.signal("h0", signal.SIGKILL)
        deadline = time.monotonic() + 60
        while hosts.ticks() < count and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(SETTLE)
        rows = _judge(hosts, names, instant.timestamp(), killed_after=killed_after)
        if queue == "default":
            rows += _executions(hosts, names, instant.timestamp(), executed)
        for line in hosts.complaints()[:5]:
            print(f"  ! {line}")
    return rows


def _validation(scene: Scene, text: str) -> float:
    """Return how many seconds it takes to validate a file."""
    scene.directory.mkdir(parents=True, exist_ok=True)
    path = scene.directory / "probe.toml"
    path.write_text(text)
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-P", "-m", "jobctl.config", str(path)],
        stdout=subprocess.DEVNULL, env=environment(), check=True,
    )  # fmt: skip
    return time.monotonic() - began


def _jobs(instant: datetime, names: list[str], queue: str, executed: object) -> str:
    rule = f"{instant.second} {instant.minute} {instant.hour} * * *"
    # A second pool, so that the queue is one that is known.
    head = '[pools.elsewhere]\nslots = 1\nqueues = ["never"]\n\n'
    return head + "\n".join(
        f'[jobs.{name}]\ncommand = "echo {name} >> {executed}"\nschedule = "{rule}"\n'
        f'timezone = "UTC"\nqueue = "{queue}"\n'
        for name in names
    )


def _judge(hosts: Hosts, names: list[str], instant: float, *, killed_after: int) -> list[Row]:
    count = len(names)
    histories = hosts.histories(names, newest=10)
    decisions: list[Decision] = [one for history in histories for one in history]
    once = sum(len(history) == 1 and history[0].instant == instant for history in histories)
    fired = [one for one in decisions if one.answer == "ok"]
    runs: list[Run | None] = hosts.runs([one.run_id for one in fired])  # type: ignore[assignment]
    recorded = sum(run is not None and run.request.scheduled_at == instant for run in runs)
    lags = [one.lag for one in decisions]
    by = Counter(one.who for one in decisions)
    shares = ", ".join(f"{name} {by[name]:,}" for name in hosts.names)
    submitted = int(hosts.counters().get("submitted", "0"))
    note = f"h0 killed after {killed_after:,}; decided by {shares}"
    return [
        Row(f"of {count:,} schedules decided exactly once", once, "", aim=f"{count:,}", note=note),
        Row("runs of that instant on record, each id once",
            recorded if len({one.run_id for one in fired}) == submitted else 0, "", aim=f"{count:,}"),
        Row("instant to run accepted: p99", quantile(lags, 0.99) * 1000, "ms", aim="2,000",
            note=f"p50 {quantile(lags, 0.5) * 1000:.0f} ms, last {max(lags) * 1000:.0f} ms"),
    ]  # fmt: skip


def _executions(hosts: Hosts, names: list[str], instant: float, executed: object) -> list[Row]:
    count = len(names)
    deadline = time.monotonic() + 300
    while int(hosts.counters().get("k", "0")) < count and time.monotonic() < deadline:
        time.sleep(0.2)
    lines = Counter(open(str(executed)).read().split())  # noqa: PTH123, SIM115 (a scratch file)
    once = sum(lines[name] == 1 for name in names)
    history = hosts.histories(names, newest=1)
    runs: list[Run] = hosts.runs([one[0].run_id for one in history])  # type: ignore[assignment]
    waits = [run.started_at - instant for run in runs if run is not None and run.started_at]
    took = max(waits)
    return [
        Row("commands executed exactly once", once, "", aim=f"{count:,}",
            note=f"{sum(lines.values()):,} executions"),
        Row("instant to start, as slots allow: median", quantile(waits, 0.5), "s",
            note=f"last {took:.1f} s: {count / took:,.0f} starts a second in four slots"),
    ]  # fmt: skip
