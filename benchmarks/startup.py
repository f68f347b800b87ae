"""Whole processes of the command line, and of the Python API, beside `python -c pass`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import Daemon, command_line, environment
from benchmarks.report import Row, median_ratio

if TYPE_CHECKING:
    from benchmarks.report import Scene

JOBS = """
[jobs.nothing]
command = "true"
queue = "later"

[jobs.greet]
command = "echo hello"
params.name = { type = "str", default = "you" }
queue = "later"
"""
VERBS = {
    "submit nothing": "2",
    "submit greet name=me": "",
    "status --json": "",
    "status": "",
    "list": "",
    "inspect nothing": "",
    "--version": "",
    "--help": "",
}
"""Words → aim for the ratio."""
PROGRAMS = {
    "import jobctl": "1.2",
    "from jobctl import job": "1.3",
    "from jobctl import Client; Client().submit('greet', name='me')": "",
}
"""Python programs → aim for the ratio."""


def took(words: list[str], environ: dict[str, str]) -> float:
    """Return the milliseconds from the start of a process to its end."""
    started = time.perf_counter()
    done = subprocess.run(
        words, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    spent = (time.perf_counter() - started) * 1000
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr.decode()}")
    return spent


def measure(scene: Scene) -> list[Row]:
    """Run each verb and program in turn with the bare interpreter."""
    start = command_line()
    if start is None:
        print("  skipped: this tree has no command line")
        return []
    rounds = scene.pick(20, 5)
    # The pool serves another queue, so that runs submitted here do not disturb.
    with Daemon(scene.directory / "d", JOBS) as daemon:
        environ = {**environment(), "JOBCTL_CONFIG": str(daemon.config)}
        bare = [sys.executable, "-c", "pass"]
        words = {f"jobctl {verb}": [*start, *verb.split()] for verb in VERBS}
        words |= {program: [sys.executable, "-c", program] for program in PROGRAMS}
        ours: dict[str, list[float]] = {what: [] for what in words}
        theirs: list[float] = []
        for number in range(rounds + 1):
            theirs.append(took(bare, environ))
            for what, command in words.items():
                ours[what].append(took(command, environ))
            if number == 0:
                # The first of each fills caches: compiled modules, the checked configuration.
                theirs.clear()
                for figures in ours.values():
                    figures.clear()
    aims = {f"jobctl {verb}": aim for verb, aim in VERBS.items()} | PROGRAMS
    return [
        Row(what, statistics.median(figures), "ms", "python -c pass",
            statistics.median(theirs), median_ratio(figures, theirs), aims[what])
        for what, figures in ours.items()
    ]  # fmt: skip
