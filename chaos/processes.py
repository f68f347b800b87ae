"""Finding and ending the processes of a world."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.acceptance.host import Host

SERVERS = ("valkey-server", "redis-server")


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kill processes so that none of them sees another one die."""
    victims = list(processes)
    for process in victims:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    for process in victims:
        with contextlib.suppress(psutil.Error):
            process.kill()


def of(directory: Path) -> list[psutil.Process]:
    """Return the living processes that name ``directory``, this one and those above it left out."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    mark = str(directory)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline()) + " ".join(process.environ().values())
            if (
                process.pid not in own
                and mark in words + process.cwd()
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def having(host: Host, word: str) -> list[psutil.Process]:
    """Return the processes of a host with ``word`` in their command line."""
    found = []
    for process in host.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found


def name_of(process: psutil.Process) -> str:
    """Return the name of a process, nothing when it has ended."""
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def is_attempt(process: psutil.Process) -> bool:
    """Whether a process of a host is of a job, not of jobctl."""
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline())
        return "jobctl" not in words and "keeper.py" not in words and process.name() not in SERVERS
    return False


def sweep(directory: Path) -> list[str]:
    """End what belongs to a world and remove its directory; return what had to be ended."""
    ended = []
    for process in of(directory):
        with contextlib.suppress(psutil.Error):
            ended.append(" ".join(process.cmdline())[:120])
            process.kill()
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)
    return ended
