"""Many runs submitted at once: through the store's calls, the Python API and `submit --from-ndjson`."""

from __future__ import annotations

import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, command_line, environment, new_run
from benchmarks.report import Row
from jobctl import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.report import Scene

JOBS = """
[pools.other]
queues = ["other"]
slots = 1

[jobs.nothing]
command = "true"
"""


def measure(scene: Scene) -> list[Row]:
    """Submit to a frozen pool, so that what is queued stays."""
    count, rounds = scene.pick(100_000, 10_000), scene.pick(3, 2)
    rows = [_rows(scene, "store calls, 500 at a time", _by_calls, count, rounds)]
    rows.append(_rows(scene, "Client().submit_many", _by_client, count, rounds, aim="20,000"))
    if command_line() is None:
        print("  --from-ndjson skipped: this tree has no command line")
    else:
        rows.append(_rows(scene, "jobctl submit --from-ndjson -", _by_command, count, rounds))
    return [row for pair in rows for row in pair]


def _rows(
    scene: Scene,
    what: str,
    submit: Callable[[Daemon, int], None],
    count: int,
    rounds: int,
    *,
    aim: str = "10,000",
) -> list[Row]:
    rates, sizes = [], []
    for number in range(rounds):
        with Daemon(scene.directory / f"{submit.__name__}{number}", JOBS) as daemon:
            daemon.freeze()
            before = int(daemon.info("memory")["used_memory"])
            started = time.perf_counter()
            submit(daemon, count)
            rates.append(count / (time.perf_counter() - started))
            sizes.append((int(daemon.info("memory")["used_memory"]) - before) / count)
    return [
        Row(f"{count:,} runs, {what}", statistics.median(rates), "runs/s", aim=aim),
        Row("  store memory per queued run", statistics.median(sizes), "bytes", aim="800"),
    ]  # fmt: skip


def _by_calls(daemon: Daemon, count: int) -> None:
    daemon.submit([new_run("nothing") for _ in range(count)])


def _by_client(daemon: Daemon, count: int) -> None:
    """Submit as a program does: signed, every run with its full record."""
    with Client(daemon.config) as client:
        made = client.submit_many("nothing", [()] * count)
    if len({run.id for run in made}) != count:
        raise SystemExit("submit_many: there are not as many runs as were asked for")


def _by_command(daemon: Daemon, count: int) -> None:
    start = command_line()
    assert start is not None
    done = subprocess.run(
        [*start, "submit", "nothing", "--from-ndjson", "-"],
        env={**environment(), "JOBCTL_CONFIG": str(daemon.config)},
        input=b"{}\n" * count, capture_output=True, check=True,
    )  # fmt: skip
    if len(done.stdout.split()) != count:
        raise SystemExit(f"{len(done.stdout.split())} ids came back for {count} runs")
