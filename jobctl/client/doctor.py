"""The checks of ``jobctl doctor`` that need no store: files, directories, zones, programs.

Each check says what it found and, when something is not as it should be, what to do about it.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobctl.client.zone_data import zone_data
from jobctl.config.hosts import host_problems
from jobctl.config.paths import CONFIG_VARIABLE
from jobctl.config.problem import ERROR as PROBLEM_ERROR
from jobctl.errors import ConfigError
from jobctl.host import host_zone
from jobctl.store import unrecorded, unsent
from jobctl.store.address import socket_path
from jobctl.store.binary import find_binary, version
from jobctl.store.directory import NETWORK_FILE_SYSTEMS, file_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.clock import Clock
    from jobctl.model.config import Config

OK = "ok"
WARNING = "warning"
ERROR = "error"

LITTLE_SPACE = 1 << 30
"""Bytes free in the state directory below which it is worth a word."""
NO_SPACE = 100 << 20
"""Bytes free below which the store may soon fail to write."""
STORE = "install your system's valkey or redis (7 or newer) and name it with store_binary"
MOST_SHOWN = 5
"""Names listed in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding; ``remedy`` is empty when all is well."""

    name: str
    status: str
    """``ok``, ``warning`` or ``error``."""
    detail: str
    remedy: str = ""


def found_by(explicit: str | None) -> str:
    """Return why the configuration file is the one it is."""
    if explicit:
        return "named with --config"
    if os.environ.get(CONFIG_VARIABLE):
        return f"named by ${CONFIG_VARIABLE}"
    if Path("jobs.toml").exists():
        return "found in this directory"
    return "found where configurations are looked for"


def local_checks(config: Config, *, explicit: str | None, clock: Clock) -> Iterator[Check]:
    """Yield what can be said without the store."""
    yield Check(
        name="configuration",
        status=OK,
        detail=f"{config.path} ({found_by(explicit)}), {len(config.jobs)} jobs, "
        f"namespace {config.settings.namespace}",
    )
    yield host_check(config)
    yield queue_check(config)
    yield zone_check(config, clock=clock)
    yield from state_checks(config)
    if config.settings.redis is None:
        yield binary_check(config)
        yield socket_check(config)


def host_check(config: Config) -> Check:
    """Say whether this host has what the jobs ask for."""
    problems = host_problems(config)
    if not problems:
        return Check(name="host", status=OK, detail="has what the jobs ask for")
    errors = [problem for problem in problems if problem.severity == PROBLEM_ERROR]
    shown = errors or problems
    rest = f" (and {len(problems) - 1} more: jobctl check)" if len(problems) > 1 else ""
    return Check(
        name="host",
        status=ERROR if errors else WARNING,
        detail=f"{shown[0].place}: {shown[0].key}: {shown[0].message}{rest}",
        remedy=shown[0].remedy,
    )


def queue_check(config: Config) -> Check:
    """Say whether every queue that jobs use has a pool here."""
    served = {queue for pool in config.pools.values() for queue in pool.queues}
    used = {job.queue for job in config.jobs.values()}
    used |= {item.queue for job in config.jobs.values() for item in job.schedules if item.queue}
    lost = sorted(used - served)
    if "*" in served or not lost:
        return Check(name="queues", status=OK, detail="every queue that jobs use has a pool")
    return Check(
        name="queues",
        status=WARNING,
        detail=f"no pool of this host serves {', '.join(lost[:MOST_SHOWN])}",
        remedy='add them to queues of a pool, or queues = ["*"]; '
        "else their runs wait for another host",
    )


def zone_check(config: Config, *, clock: Clock) -> Check:
    """Say which zone counts, and how old the zone data is."""
    named = config.settings.timezone
    zone = named or host_zone()
    why = "timezone in [jobctl]" if named else "the host's"
    now = clock.now().astimezone(ZoneInfo(zone))
    detail = f"{zone} ({why}), now {now:%H:%M %z}; {zone_data()}"
    return Check(name="time zone", status=OK, detail=detail)


def state_checks(config: Config) -> Iterator[Check]:
    """Yield what is to be said of the state directory."""
    place = Path(config.settings.state_dir)
    try:
        info = place.stat()
    except OSError:
        yield _missing_state(place)
        return
    yield _rights(place, info)
    yield _space(place)
    yield from _unsent(place)
    yield from _unrecorded(place)
    kind = file_system(place, Path("/proc/self/mountinfo"))
    if config.settings.redis is None and kind.removeprefix("fuse.") in NETWORK_FILE_SYSTEMS:
        yield Check(
            name="file system",
            status=ERROR,
            detail=f"{place} is on a network file system ({kind}), where the store may lose runs",
            remedy="set state_dir in [jobctl] to a local disk",
        )


def _missing_state(place: Path) -> Check:
    above = next(parent for parent in place.parents if parent.exists())
    if os.access(above, os.W_OK | os.X_OK):
        return Check(
            name="state directory",
            status=OK,
            detail=f"{place} is not there yet; the daemon makes it",
        )
    return Check(
        name="state directory",
        status=ERROR,
        detail=f"{place} is not there, and this user may not make it in {above}",
        remedy=f"make it as root and chown it to uid {os.geteuid()}, or set state_dir in [jobctl]",
    )


def _rights(place: Path, info: os.stat_result) -> Check:
    name, mode = "state directory", stat.S_IMODE(info.st_mode)
    if not stat.S_ISDIR(info.st_mode):
        return Check(
            name=name, status=ERROR, detail=f"{place} is not a directory",
            remedy="remove it, or set state_dir in [jobctl]",
        )  # fmt: skip
    if info.st_uid != os.geteuid():
        return Check(
            name=name, status=ERROR, detail=f"{place} belongs to uid {info.st_uid}",
            remedy="run jobctl as that user, or set state_dir in [jobctl]",
        )  # fmt: skip
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Check(
            name=name, status=WARNING, detail=f"others may write to {place} (mode {mode:03o})",
            remedy=f"chmod go-w {place}",
        )  # fmt: skip
    return Check(name=name, status=OK, detail=f"{place} (mode {mode:03o})")


def _space(place: Path) -> Check:
    free = shutil.disk_usage(place).free
    detail = f"{free / (1 << 30):.1f} GiB free in {place}"
    if free >= LITTLE_SPACE:
        return Check(name="free space", status=OK, detail=detail)
    return Check(
        name="free space",
        status=ERROR if free < NO_SPACE else WARNING,
        detail=detail,
        remedy="free some space: without any, no run is accepted; keep_days and max_output keep less",
    )


def _unsent(place: Path) -> Iterator[Check]:
    """Say what was left here for a store that was away, if anything is."""
    try:
        count = len(unsent.waiting(str(place)))
        bad = len(list((place / unsent.DIRECTORY / unsent.BAD).glob("*")))
    except OSError:
        return
    folder = place / unsent.DIRECTORY
    if count:
        yield Check(
            name="unsent requests", status=WARNING,
            detail=f"{count} file{'' if count == 1 else 's'} of requests wait{'s' if count == 1 else ''} "
            f"in {folder} for the daemon to submit",
            remedy="see that the daemon runs and that the store takes new runs",
        )  # fmt: skip
    if bad:
        yield Check(
            name="unusable requests", status=WARNING,
            detail=f"{bad} could not be submitted and lie in {folder / unsent.BAD}",
            remedy="the daemon's log says why; delete them when they are of no use",
        )  # fmt: skip


def _unrecorded(place: Path) -> Iterator[Check]:
    """Say what came of runs of which the store knows nothing any more, if there are any."""
    try:
        count, last = unrecorded.kept(place)
    except OSError:
        return
    if count:
        yield Check(
            name="lost by the store", status=WARNING,
            detail=f"{count} outcome{'' if count == 1 else 's'} the store has no run for "
            f"{'is' if count == 1 else 'are'} in {place / unrecorded.NAME}, the last of run {last}",
            remedy="the store has lost data: see its durability above; delete the file when you have read it",
        )  # fmt: skip


def binary_check(config: Config) -> Check:
    """Say which server serves as the embedded store."""
    try:
        binary = find_binary(config.settings.store_binary)
    except ConfigError as error:
        message, _, remedy = str(error).partition("; ")
        return Check(name="store program", status=ERROR, detail=message, remedy=remedy or STORE)
    try:
        number = ".".join(map(str, version(binary)))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return Check(
            name="store program",
            status=ERROR,
            detail=f"{binary} does not start: {error}",
            remedy=STORE,
        )
    return Check(name="store program", status=OK, detail=f"{binary}, version {number}")


def socket_check(config: Config) -> Check:
    """Say where the embedded store listens, and who may connect."""
    path = Path(socket_path(config.settings.state_dir))
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        folder = stat.S_IMODE(path.parent.stat().st_mode)
    except OSError:
        return Check(name="socket", status=OK, detail=f"{path} is not there: no daemon serves it")
    if folder & 0o077 and mode & 0o077:
        return Check(
            name="socket",
            status=ERROR,
            detail=f"others may connect to {path} (mode {mode:03o})",
            remedy=f"chmod 700 {path.parent}",
        )
    return Check(name="socket", status=OK, detail=f"{path} (mode {mode:03o})")
