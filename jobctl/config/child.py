"""Validate a configuration in a child process: what it imports for that goes when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jobctl
from jobctl.config.problem import ConfigProblems, problem_from_plain
from jobctl.errors import ConfigError
from jobctl.model.config import config_from_plain, job_from_plain, schedule_from_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.model.config import Config
    from jobctl.model.job import JobDef, ScheduleDef

LOAD_TIMEOUT = 300.0
"""Seconds; a hundred thousand jobs take ten on an idle machine."""
LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; a line is one job, and a file has at most 32 MiB."""
TURN = 50
"""Jobs after which other tasks of this process get their turn."""


async def load_in_child(
    path: str | os.PathLike[str], *, known: Mapping[str, JobDef] | None = None
) -> Config:
    """Return the validated configuration, from a child with this process's environment.

    ``known`` are jobs of which those that have not changed are taken, so that a large file is not
    held twice when it is read again.

    It is taken in job by job, so the loop goes on meanwhile, and nothing but the result is held.

    Raises:
        ConfigProblems: anything is wrong with the files.
        ConfigError: the child could not do its work; the message has its last words.

    """
    command = (sys.executable, "-P", "-m", "jobctl.config", os.fspath(path))
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
    except OSError as error:
        raise ConfigError(
            f"cannot start {sys.executable} to read {path}: {error.strerror}"
        ) from error
    assert child.stdout is not None  # noqa: S101 - both are pipes
    assert child.stderr is not None  # noqa: S101
    said = asyncio.create_task(child.stderr.read())
    try:
        async with asyncio.timeout(LOAD_TIMEOUT):
            config = await _answer(_Lines(child.stdout), known or {})
            last = await said
            await child.wait()
    except TimeoutError as error:
        raise ConfigError(f"reading {path} did not end within {LOAD_TIMEOUT:g} seconds") from error
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        said.cancel()
    if config is None:
        words = last.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"the process that reads {path} ended without an answer: {words or 'no message'}"
        )
    return config


def _environment() -> dict[str, str]:
    """Return ours, with this very package first on the child's path, wherever it was found."""
    package = str(Path(jobctl.__file__).parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}


class _Lines:
    """The JSON objects that a child says, with a look at the one that comes next."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._count = 0
        self.next: dict[str, Any] | None = None

    async def advance(self) -> dict[str, Any] | None:
        """Go to the next one; None at the end, also when it is cut off."""
        self._count += 1
        if self._count % TURN == 0:
            await asyncio.sleep(0)
        line = await self._stream.readline()
        try:
            self.next = json.loads(line)
        except ValueError:
            self.next = None
        return self.next


async def _answer(lines: _Lines, known: Mapping[str, JobDef]) -> Config | None:
    """Read the child's answer; None when it is none, or not whole.

    Its exit code is not asked: whoever reaps may have taken it.
    """
    first = await lines.advance()
    if first is None:
        return None
    if "error" in first:
        raise ConfigError(first["error"])
    if "plain" not in first:
        raise ConfigProblems(problem_from_plain(one) for one in first["problems"])
    jobs: list[JobDef] = []
    await lines.advance()
    while lines.next is not None and "job" in lines.next:
        job = await _job(lines)
        same = known.get(job.name)
        jobs.append(same if same is not None and same == job else job)
    if lines.next is None or "end" not in lines.next:
        return None
    return config_from_plain(first["plain"], jobs)


async def _job(lines: _Lines) -> JobDef:
    """Read a job and what follows of its schedules."""
    plain: dict[str, Any] = lines.next["job"]  # type: ignore[index]  # there is one
    schedules: list[ScheduleDef] = []
    while "schedules" in (await lines.advance() or {}):
        schedules += map(schedule_from_plain, lines.next["schedules"])  # type: ignore[index]
    return job_from_plain(plain, schedules or None)
