"""Deletes log files that are past their job's retention."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.engine.service import Service
from jobctl.model.job import JobDef

if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.model.config import Config

log = logging.getLogger(__name__)

EVERY = 600.0
FIRST = 30.0
"""Seconds after the start: not while everything else starts too."""


class Retention(Service):
    """Keeps, of each job, the log files of the last ``keep_runs`` runs and ``keep_days`` days.

    Attempts of one run count as one each, so a job that retries keeps somewhat fewer runs.
    """

    name = "retention"
    longest_wait = EVERY

    def __init__(self, state_dir: Path, *, clock: Clock) -> None:
        super().__init__()
        self._logs = state_dir / "logs"
        self._clock = clock
        self._jobs: dict[str, JobDef] = {}
        self._first = True

    def configure(self, config: Config) -> None:
        """Use the retention of these jobs from the next round on."""
        self._jobs = dict(config.jobs)

    async def tick(self) -> float:  # noqa: D102 - as in Service
        if self._first:
            self._first = False
            return FIRST
        removed = await asyncio.to_thread(prune, self._logs, self._jobs, now=self._clock.epoch())
        if removed:
            log.info("removed %d old log files", removed)
        return EVERY


def prune(logs: Path, jobs: dict[str, JobDef], *, now: float) -> int:
    """Delete what is too old or too many; return how many files went. ``now`` is epoch seconds."""
    removed = 0
    try:
        directories = [entry for entry in os.scandir(logs) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return 0
    for directory in directories:
        job = jobs.get(directory.name) or JobDef(name=directory.name)
        files = []
        for entry in os.scandir(directory):
            try:
                files.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
            except FileNotFoundError:
                continue
        files.sort(reverse=True)
        oldest = now - job.keep_days * 86400
        for index, (changed, path) in enumerate(files):
            if index >= job.keep_runs or changed < oldest:
                try:
                    Path(path).unlink()
                    removed += 1
                except FileNotFoundError:
                    continue
    return removed
