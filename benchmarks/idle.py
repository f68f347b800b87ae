"""What a daemon with 1,000 schedules costs while nothing is due."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon
from benchmarks.report import Row

if TYPE_CHECKING:
    import psutil

    from benchmarks.report import Scene

SETTLE = 5.0
"""Seconds until start-up work is over."""


SENT = ("evalsha", "blpop", "smembers", "hgetall")
"""Commands that an idle daemon sends; scripts use `hgetall` and `smembers` too, but rarely then."""


def schedules(count: int) -> str:
    """Return jobs whose schedules have nothing due for the next hours: cron and @every mixed."""
    later = datetime.now(UTC) + timedelta(hours=5)
    lines = []
    for number in range(count):
        rule = f"{number % 60} {later.hour} * * *" if number % 2 else f"@every {5 + number % 7}h"
        lines.append(f'[jobs.j{number}]\ncommand = "true"\nschedule = "{rule}"\ntimezone = "UTC"\n')
    return "\n".join(lines)


def measure(scene: Scene) -> list[Row]:
    """Watch the tree for half a minute."""
    seconds = scene.pick(40, 10)
    with Daemon(scene.directory / "d", schedules(1000)) as daemon:
        time.sleep(SETTLE)
        ours, servers = daemon.split()
        before, commands = [_cpu([one]) for one in ours], _commands(daemon)
        store_before, started = _cpu(servers), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - started
        used = [_cpu([one]) - was for one, was in zip(ours, before, strict=True)]
        store_used = _cpu(servers) - store_before
        per_second = (_commands(daemon) - commands) / took
        rss, pss = _memory(ours)
        store_rss, store_pss = _memory(servers)
        each = ", ".join(f"{_memory([one])[0]:.0f}" for one in ours)
    share = sum(used) / took * 100
    return [
        Row("CPU of supervisor and pools", share, "% core", aim="0.5",
            note=", ".join(f"{one / took * 100:.2f}" for one in used)),
        Row("CPU of the store", store_used / took * 100, "% core"),
        Row("store commands", per_second, "/s"),
        Row("resident memory without the store", rss, "MB", aim="90", note=f"PSS {pss:.0f} MB; RSS of each: {each}"),
        Row("resident memory with the store", rss + store_rss, "MB", note=f"PSS {pss + store_pss:.0f} MB"),
    ]  # fmt: skip


def _cpu(processes: list[psutil.Process]) -> float:
    """Return the CPU seconds used so far, to the nanosecond where the kernel tells."""
    total = 0.0
    for one in processes:
        for thread in one.threads():
            figures = Path(f"/proc/{one.pid}/task/{thread.id}/schedstat").read_text().split()
            total += int(figures[0]) / 1e9
    return total


def _memory(processes: list[psutil.Process]) -> tuple[float, float]:
    """Return the sums of resident and proportional set size in MB."""
    full = [one.memory_full_info() for one in processes]
    return sum(one.rss for one in full) / 1e6, sum(one.pss for one in full) / 1e6


def _commands(daemon: Daemon) -> int:
    """Count what clients sent so far."""
    stats = daemon.info("commandstats")
    calls = {name: int(line.split("calls=")[1].split(",")[0]) for name, line in stats.items()}
    return sum(calls.get(f"cmdstat_{name}", 0) for name in SENT)
