"""100,000 schedules in one namespace: loading, memory, idle cost, reload, and the command line."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psutil

from benchmarks import daemon as daemons
from benchmarks.daemon import Daemon, command_line, environment
from benchmarks.idle import _cpu, _memory
from benchmarks.report import Row
from jobctl.store import queries
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Scene

SETTLE = 3.0
DUE = 50
"""Schedules that come due in the minute that is watched; the others are not to be touched."""
BEAT = 5.0
"""Seconds between two beats of a supervisor that nothing keeps from it."""


def measure(scene: Scene) -> list[Row]:
    """Measure as many jobs with a schedule each, then one job with as many schedules."""
    daemons.READY_WITHIN = 300.0
    count = scene.pick(100_000, 10_000)
    return [*_shape(scene, count, tables=False), *_shape(scene, count, tables=True)]


def _rules(count: int) -> list[str]:
    """Return rules of which none is due in the next hours, different in most of them."""
    later = datetime.now(UTC) + timedelta(hours=6)
    hours = [(later.hour + more) % 24 for more in range(12)]
    return [
        f"{number % 60} {hours[number // 60 % 12]} {number // 720 % 28 + 1} * *"
        for number in range(count)
    ]


def _text(rules: list[str], *, tables: bool) -> str:
    if tables:
        head = '[jobs.j0]\ncommand = "true"\ntimezone = "UTC"\n\n'
        return head + "\n".join(
            f'[[jobs.j0.schedules]]\nschedule = "{rule}"\nargs = ["{number}"]\n'
            for number, rule in enumerate(rules)
        )
    return "\n".join(
        f'[jobs.j{number}]\ncommand = "true"\nschedule = "{rule}"\ntimezone = "UTC"\n'
        for number, rule in enumerate(rules)
    )


def _shape(scene: Scene, count: int, *, tables: bool) -> list[Row]:
    what = "one job, a table each" if tables else "a job each"
    directory = scene.directory / ("tables" if tables else "jobs")
    text = _text(_rules(count), tables=tables)
    began = time.monotonic()
    with Daemon(directory, text, slots=2) as daemon:
        ready = time.monotonic() - began
        introduced = _introduced(daemon, count, began)
        time.sleep(SETTLE)
        rows = [
            Row(f"{count:,} schedules, {what}: to ready", ready, "s",
                note=f"{len(text) / 1e6:.1f} MB; all introduced after {introduced:.1f} s"),
            *_rest(daemon, scene.pick(40, 10)),
            *_reload(daemon, text),
            *_due(daemon, scene.pick(60, 30)),
            *_commands(daemon, "j0"),
        ]  # fmt: skip
    return [*rows, _child(directory.with_suffix(".toml"), text)]


def _introduced(daemon: Daemon, count: int, began: float) -> float:
    """Wait until the store knows all schedules; return after how many seconds that was."""
    size = Call(("DBSIZE",), int)  # type: ignore[arg-type]
    deadline = time.monotonic() + 300
    while daemon.store.run(size) < count:
        if time.monotonic() > deadline:
            raise SystemExit("the schedules were not introduced")
        time.sleep(0.05)
    return time.monotonic() - began


def _rest(daemon: Daemon, seconds: int) -> list[Row]:
    """Watch it at rest."""
    supervisor = daemon.supervisor
    _, servers = daemon.split()
    used, stored, started = _cpu([supervisor]), _cpu(servers), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - started
    used, stored = _cpu([supervisor]) - used, _cpu(servers) - stored
    rss, pss = _memory([supervisor])
    others = [one for one in daemon.split()[0] if one.pid != supervisor.pid]
    pools = _memory(others)[0]
    return [
        Row("  supervisor at rest", used / took * 100, "% core", aim="1",
            note=f"store {stored / took * 100:.2f} %"),
        Row("  supervisor's resident memory", rss, "MB", aim="250",
            note=f"PSS {pss:.0f} MB; pool {pools:.0f} MB; store {_memory(servers)[0]:.0f} MB"),
    ]  # fmt: skip


def _reload(daemon: Daemon, text: str) -> list[Row]:
    """Change one job and reload; watch the beats meanwhile."""
    before = _reloads(daemon)
    plain = daemon.config.read_text()
    daemon.config.write_text(plain + '\n[jobs.added]\ncommand = "true"\nschedule = "@yearly"\n')
    began = time.monotonic()
    daemon.supervisor.send_signal(signal.SIGHUP)
    longest, peak, deadline = 0.0, 0.0, time.monotonic() + 300
    while _reloads(daemon) == before or not daemon.store.run(
        queries.schedule(daemon.keys, "added")
    ):
        longest = max(longest, _silence(daemon))
        peak = max(peak, daemon.supervisor.memory_info().rss / 1e6)
        if time.monotonic() > deadline:
            raise SystemExit("the reload did not end")
        time.sleep(0.1)
    took = time.monotonic() - began
    time.sleep(SETTLE)
    rss = daemon.supervisor.memory_info().rss / 1e6
    return [
        Row("  reload, to its last schedule", took, "s",
            note=f"{len(text) / 1e6:.1f} MB; memory {peak:.0f} MB at most, {rss:.0f} MB after"),
        Row("  longest time between beats meanwhile", max(longest, BEAT), "s", aim="15"),
    ]  # fmt: skip


def _reloads(daemon: Daemon) -> str:
    (sid,) = daemon.store.run(queries.supervisors(daemon.keys))
    return daemon.store.run(queries.supervisor(daemon.keys, sid)).get("reloads", "0")


def _silence(daemon: Daemon) -> float:
    """Return for how many seconds the supervisor has not beaten."""
    (sid,) = daemon.store.run(queries.supervisors(daemon.keys))
    beat = daemon.store.run(queries.supervisor(daemon.keys, sid)).get("bt", "0")
    return daemon.store.run(queries.now(daemon.keys)) - float(beat) / 1000


def _due(daemon: Daemon, seconds: int) -> list[Row]:
    """Add a few schedules that come due, and count what the store is asked meanwhile."""
    plain = daemon.config.read_text()
    more = "\n".join(
        f'[jobs.due{number}]\ncommand = "true"\nschedule = "{number % 60} * * * * *"\n'
        for number in range(DUE)
    )
    before = _reloads(daemon)
    daemon.config.write_text(f"{plain}\n{more}")
    daemon.supervisor.send_signal(signal.SIGHUP)
    last = f"due{DUE - 1}"
    while _reloads(daemon) == before or not daemon.store.run(queries.schedule(daemon.keys, last)):
        time.sleep(0.1)
    time.sleep(SETTLE)
    used, asked = _cpu([daemon.supervisor]), _looked_at(daemon)
    ticks = int(daemon.store.run(queries.counters(daemon.keys)).get("ticks", "0"))
    time.sleep(seconds)
    used, asked = _cpu([daemon.supervisor]) - used, _looked_at(daemon) - asked
    ticks = int(daemon.store.run(queries.counters(daemon.keys)).get("ticks", "0")) - ticks
    names = [f"due{number}" for number in range(DUE)]
    histories = daemon.store.run_many(
        [queries.schedule_history(daemon.keys, name, newest=5) for name in names]
    )
    lag = max(one.lag for history in histories for one in history)
    return [
        Row("  hashes read in the store for each instant due", asked / max(1, ticks), "",
            note=f"{ticks} instants in {seconds} s, lag at most {lag * 1000:.0f} ms, "
            f"supervisor {used / seconds * 100:.2f} % of a core"),
    ]  # fmt: skip


def _looked_at(daemon: Daemon) -> int:
    """Count the hashes that were read in the store so far; schedules and runs are hashes."""
    line = daemon.info("commandstats").get("cmdstat_hmget", "calls=0,")
    return int(line.split("calls=")[1].split(",")[0])


def _commands(daemon: Daemon, job: str) -> list[Row]:
    """Time whole processes of the command line, first without its cache of the file."""
    words = command_line()
    if words is None:
        return []
    verbs = {
        "submit": ["submit", job],
        "next": ["next", job],
        "status": ["status"],
        "jobs --json": ["jobs", "--json"],
    }
    rows = []
    for name, verb in verbs.items():
        took, peaks = [], []
        for _ in range(4):
            began = time.monotonic()
            peaks.append(_run([*words, "--config", str(daemon.config), *verb]))
            took.append(time.monotonic() - began)
        rows.append(
            Row(f"  jobctl {name}", statistics.median(took[1:]), "s",
                note=f"first {took[0]:.2f} s; memory at most {max(peaks):.0f} MB")
        )  # fmt: skip
    return rows


def _run(words: list[str]) -> float:
    """Run a command to its end; return its peak memory in MB."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"  ! {' '.join(words[-2:])} ended with {process.returncode}")
    return usage.ru_maxrss / 1000


def _child(path: Path, text: str) -> Row:
    """Time the validation by itself."""
    path.write_text(text)
    began = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-P", "-m", "jobctl.config", str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    peak = 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss / 1e6)
        time.sleep(0.05)
    os.unlink(path)  # noqa: PTH108
    return Row("  validation alone, in its child process", time.monotonic() - began, "s",
               note=f"memory at most {peak:.0f} MB")  # fmt: skip
