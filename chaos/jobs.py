"""The jobs of every world; what they execute is in :mod:`chaos.executions`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

JOBS = {
    "work": "",
    "again": "retries = 3",
    "pair": 'limits = ["two"]',
    "single": "max_running = 1",
    "only": 'unique = "args"',
    "once": 'delivery = "at-most-once"\non_lost = "fail"',
    "strict": "strict_single = true\nmax_running = 1",
    "timed": 'timeout = "3s"',
}
"""Shell jobs: ``submit JOB SECONDS|NAME [CODE]``. A name waits for ``World.go``; a code ``2:5`` is
5 before attempt 2, then 0. The Python job ``python`` takes seconds."""
HEAD = """
[pools.default]
slots = {slots}
[limits.two]
slots = 2
[defaults]
cwd = "{directory}"
stop_timeout = "1s"
retry_delay = "200ms"
[defaults.env]
CHAOS_DIR = "{directory}"
CHAOS_HOST = "{name}"
[jobs.python]
python = "work:act"
params.seconds = {{ type = "float", default = 0.0 }}
"""


def jobs_toml(directory: Path, name: str, slots: int) -> str:
    """Return the tables of the host ``name`` in the world at ``directory``."""
    text = HEAD.format(directory=directory, name=name, slots=slots)
    return text + "".join(job_table(job, keys) for job, keys in JOBS.items())


def job_table(job: str, keys: str = "") -> str:
    """Return the table of one more job that is counted; ``keys`` are lines of it."""
    return f'[jobs.{job}]\ncommand = \'exec /bin/sh "$CHAOS_DIR/work.sh" "$@"\'\n{keys}\n'
