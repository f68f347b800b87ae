"""The environment of an attempt: a small fixed base, the job's own, and ``JOBCTL_*``.

Nothing of the daemon's own environment reaches a job, so that what works in the daemon's first
hour also works after a reboot.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.config.env_file import EnvFileError, read_env_file
from jobctl.store.compact import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.model.job import JobDef
    from jobctl.model.run import Parent

__all__ = [
    "DEFAULT_LANG", "DEFAULT_PATH", "Account", "EnvFileError", "argument_text", "attempt_environment",
    "job_environment", "read_env_file", "run_environment", "tool_directory", "variable_name",
]  # fmt: skip

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_LANG = "C.UTF-8"

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The user an attempt runs as."""

    name: str
    home: str


def tool_directory() -> str | None:
    """Return the directory of the running ``jobctl`` command, if it is a file somewhere."""
    for directory in (Path(sys.argv[0]).absolute().parent, Path(sys.executable).parent):
        if os.access(directory / "jobctl", os.X_OK):
            return str(directory)
    return None


def job_environment(
    job: JobDef, *, account: Account, timezone: str, tools: str | None
) -> dict[str, str]:
    """Return what every attempt of ``job`` has in common; raise :class:`EnvFileError`.

    ``tools`` comes last in ``PATH``, so that ``jobctl progress`` is found and hides nothing.
    """
    path = DEFAULT_PATH
    if tools is not None and tools not in path.split(":"):
        path = f"{path}:{tools}"
    environment = {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": job.shell,
        "PATH": path,
        "LANG": DEFAULT_LANG,
        "TZ": timezone,
    }
    for name in job.env_file:
        environment.update(read_env_file(_of_home(name, account.home)))
    environment.update(job.env)
    return environment


def attempt_environment(
    spec: AttemptSpec, common: dict[str, str], *, result_file: str, progress_file: str
) -> dict[str, str]:
    """Return ``common`` with the ``JOBCTL_*`` variables of one attempt, which always win."""
    environment = common.copy()
    environment["JOBCTL_RUN_ID"] = spec.run_id
    environment["JOBCTL_JOB"] = spec.job.name
    environment["JOBCTL_ATTEMPT"] = str(spec.number)
    environment["JOBCTL_MAX_ATTEMPTS"] = str(spec.max_attempts)
    environment["JOBCTL_QUEUE"] = spec.queue
    environment["JOBCTL_TRIGGER"] = spec.trigger
    # Empty rather than unset: a script under `set -u` may name it and be started by hand.
    environment["JOBCTL_SCHEDULED_AT"] = spec.scheduled_at or ""
    environment["JOBCTL_RESULT_FILE"] = result_file
    environment["JOBCTL_PROGRESS_FILE"] = progress_file
    environment["JOBCTL_SUPERVISOR"] = spec.supervisor
    if spec.kwargs or spec.tags or spec.parent is not None:
        environment.update(run_environment(spec.kwargs, spec.tags, spec.parent))
    return environment


def run_environment(
    kwargs: Mapping[str, object], tags: Mapping[str, str], parent: Parent | None
) -> dict[str, str]:
    """Return the variables by which a run knows its arguments, its tags, and the run it is about."""
    environment = {} if parent is None else _of_parent(parent)
    for name, value in tags.items():
        environment["JOBCTL_TAG_" + variable_name(name)] = value
    for name, argument in kwargs.items():
        environment["JOBCTL_ARG_" + variable_name(name)] = argument_text(argument)
    return environment


def _of_parent(parent: Parent) -> dict[str, str]:
    """Return what a hook is told of the run it is about; empty where nothing is known."""
    return {
        "JOBCTL_PARENT_RUN_ID": parent.run,
        "JOBCTL_PARENT_JOB": parent.job,
        "JOBCTL_PARENT_STATE": parent.state,
        "JOBCTL_PARENT_ATTEMPT": str(parent.attempt),
        "JOBCTL_PARENT_REASON": parent.reason,
        "JOBCTL_PARENT_EXIT_CODE": "" if parent.exit_code is None else str(parent.exit_code),
        # No variable can hold a NUL.
        "JOBCTL_PARENT_ERROR": parent.error.replace("\0", "?"),
    }


@lru_cache(maxsize=1024)
def variable_name(name: str) -> str:
    """Return ``name`` in the letters a shell variable may have: ``max-width`` → ``MAX_WIDTH``."""
    return _NOT_IN_A_NAME.sub("_", name.upper())


def argument_text(value: object) -> str:
    """Return an argument as a process sees it: strings as they are, anything else as JSON."""
    if isinstance(value, str):
        return value
    return encode(value)


def _of_home(path: str, home: str) -> str:
    """Return ``path`` with a leading ``~/`` taken for the home of the job's user."""
    return home + path[1:] if path.startswith("~/") else path
