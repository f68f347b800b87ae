"""Validate a configuration in a child process: what it imports for that goes when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import jobctl
from jobctl.config.problem import ConfigProblems, problem_from_plain
from jobctl.errors import ConfigError
from jobctl.model.config import Config, config_from_plain

LOAD_TIMEOUT = 60.0
"""Seconds; ten thousand jobs take a few."""


async def load_in_child(path: str | os.PathLike[str]) -> Config:
    """Return the validated configuration, from a child with this process's environment.

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
        )
    except OSError as error:
        raise ConfigError(
            f"cannot start {sys.executable} to read {path}: {error.strerror}"
        ) from error
    try:
        output, said = await asyncio.wait_for(child.communicate(), LOAD_TIMEOUT)
    except TimeoutError as error:
        raise ConfigError(f"reading {path} did not end within {LOAD_TIMEOUT:g} seconds") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return _answer(output, said, path=os.fspath(path))


def _environment() -> dict[str, str]:
    """Return ours, with this very package first on the child's path, wherever it was found."""
    package = str(Path(jobctl.__file__).parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{known}" if known else package}


def _answer(output: bytes, said: bytes, *, path: str) -> Config:
    """Read the child's answer. Its exit code is not asked: whoever reaps may have taken it."""
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError as error:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"the process that reads {path} ended without an answer: {last or 'no message'}"
        ) from error
    if "error" in answer:
        raise ConfigError(answer["error"])
    if "plain" not in answer:
        raise ConfigProblems(problem_from_plain(one) for one in answer["problems"])
    return config_from_plain(answer["plain"])
