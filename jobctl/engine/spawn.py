"""Making the first process of an attempt, and saying in plain words why it could not be made.

``subprocess.Popen`` is used without ``preexec_fn``, so that Python takes its vfork path unless
another user or priority is asked for: a plain fork of the pool costs a millisecond.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import subprocess
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jobctl.engine.environment import Account, EnvFileError, argument_text, job_environment
from jobctl.errors import JobctlError
from jobctl.model.job import EXEC_JOB

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.model.job import JobDef

NOT_EXECUTABLE = 126
NOT_FOUND = 127
"""What shells exit with, so that both spellings of a command fail alike."""

DEFAULT_UMASK = 0o022
"""As under cron, whatever the daemon uses for its own files."""

_KEPT = 512
"""Prepared jobs kept in memory; with more of them the oldest is prepared again."""


SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM))
"""What says nothing of the job: the pool or the host has no room for another process now."""


class SpawnError(JobctlError):
    """Raised when no process could be made; ``status`` is what a shell would have exited with.

    ``cause`` is the number of the system's error, if there is one.
    """

    def __init__(
        self, message: str, *, status: int | None = None, cause: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.scarce = cause in SCARCE
        """Whether the same start may work in a moment, or elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who an attempt runs as; every field is ``None`` when that is who the pool runs as."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None

    @property
    def owner(self) -> tuple[int, int] | None:
        """(uid, gid) for files made on behalf of the attempt, ``None`` if they need no change."""
        if self.uid is None:
            return None
        return self.uid, -1 if self.gid is None else self.gid


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything about starting a job that is the same for all its attempts."""

    job: JobDef
    environment: dict[str, str]
    cwd: str
    identity: Identity


class Launches:
    """Prepared jobs; looking up users and reading ``env_file`` is not done for every run."""

    def __init__(self, *, tools: str | None) -> None:
        self._tools = tools
        self._kept: dict[tuple[int, str], Launch] = {}

    def prepare(self, job: JobDef, timezone: str) -> Launch:
        """Return how to start ``job``; raise :class:`SpawnError`.

        A job is known by its object, which a reload of jobs.toml replaces. Jobs with an
        ``env_file`` are prepared every time, so that a changed file needs no reload.
        """
        key = (id(job), timezone)
        launch = self._kept.get(key)
        if launch is not None and launch.job is job:
            return launch
        launch = self._prepare(job, timezone)
        if not job.env_file:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = launch
        return launch

    def _prepare(self, job: JobDef, timezone: str) -> Launch:
        entry = _user(job)
        try:
            environment = job_environment(
                job,
                account=Account(name=entry.pw_name, home=entry.pw_dir),
                timezone=timezone,
                tools=self._tools,
            )
        except EnvFileError as error:
            raise SpawnError(str(error)) from error
        cwd = job.cwd or entry.pw_dir
        if cwd == "~" or cwd.startswith("~/"):
            cwd = entry.pw_dir + cwd[1:]
        if job.cwd is None and not os.path.isdir(cwd):
            cwd = "/"
        return Launch(job=job, environment=environment, cwd=cwd, identity=_identity(job, entry))


def command_line(spec: AttemptSpec) -> list[str]:
    """Return the argument vector of a shell job; raise :class:`SpawnError`.

    Arguments follow the command, never enter it: the shell sees them as ``"$@"``, ``$0`` is the
    name of the job.
    """
    job = spec.job
    arguments = [argument_text(value) for value in spec.args] if spec.args else []
    if job.name == EXEC_JOB and arguments:
        return arguments
    if isinstance(job.command, str):
        return [job.shell, "-c", job.command, job.name, *arguments]
    if job.command is not None:
        return [*job.command, *arguments]
    raise SpawnError(f"job {job.name} has no command: set command or python in its definition")


def start(
    launch: Launch, command: list[str], *, environment: dict[str, str], stdin: int, output: int
) -> int:
    """Make a process in a session of its own and return its number; raise :class:`SpawnError`."""
    identity = launch.identity
    job = launch.job
    # Lowering its own priority is what a process may always do, before anything of the job runs.
    first = None
    if job.nice is not None and job.nice >= os.getpriority(os.PRIO_PROCESS, 0):
        first = partial(os.setpriority, os.PRIO_PROCESS, 0, job.nice)
    try:
        process = subprocess.Popen(
            command,
            cwd=launch.cwd,
            env=environment,
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
            user=identity.uid,
            group=identity.gid,
            extra_groups=identity.groups,
            umask=DEFAULT_UMASK if job.umask is None else job.umask,
            preexec_fn=first,  # noqa: PLW1509 - the pool has one thread
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise explain(error, launch, command) from error
    # It is waited for by its number; Popen must neither do so nor warn that nobody did.
    process.returncode = 0
    if job.nice is not None and first is None:
        _raise_priority(process.pid, job.nice)
    return process.pid


def text_file(text: str) -> int:
    """Return a descriptor from which ``text`` is read; raise :class:`SpawnError`.

    A file in memory rather than a pipe: nobody has to feed it while the job runs.
    """
    try:
        fd = os.memfd_create("stdin")
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(text.encode())
            os.lseek(fd, 0, os.SEEK_SET)
        except OSError:
            os.close(fd)
            raise
    except OSError as error:
        raise SpawnError(f"the text for standard input has no room: {error.strerror}") from error
    return fd


def explain(error: Exception, launch: Launch, command: list[str]) -> SpawnError:
    """Return what went wrong at a start: what, where, and what to do about it."""
    if not isinstance(error, OSError):
        return SpawnError(f"job {launch.job.name} cannot be started: {error}")
    program, cwd = command[0], launch.cwd
    why = os.strerror(error.errno) if error.errno else str(error)
    if not os.path.isdir(cwd):
        return SpawnError(
            f"working directory {cwd} does not exist; create it or set cwd of job {launch.job.name}"
        )
    if error.filename == cwd and error.errno == errno.EACCES:
        return SpawnError(
            f"working directory {cwd}: {why}; the job's user must be able to enter it"
        )
    if error.filename == cwd and error.errno == errno.EPERM:
        return SpawnError(
            f"changing to user {launch.job.user} or group {launch.job.group} is not permitted: "
            "run the daemon as root, or take user and group out of the job"
        )
    return _explain_program(error, program, why)


def _explain_program(error: OSError, program: str, why: str) -> SpawnError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return SpawnError(f"{program}: {_missing(program)}", status=NOT_FOUND)
        case errno.EACCES:
            text = f"{program} may not be executed: {why}; try chmod +x, and mind the job's user"
            return SpawnError(text, status=NOT_EXECUTABLE)
        case errno.ENOEXEC:
            text = f"{program} is not a program; put #!/bin/sh or the like in its first line"
            return SpawnError(text, status=NOT_EXECUTABLE)
        case errno.E2BIG:
            text = "arguments and environment are too long for the kernel; pass a file name instead"
        case errno.EMFILE | errno.ENFILE | errno.EAGAIN | errno.ENOMEM:
            text = f"{why}: limits of the daemon or the host are used up; raise them, or use fewer slots"
        case _:
            text = why
    return SpawnError(f"{program} cannot be started: {text}", cause=error.errno)


def _missing(program: str) -> str:
    if "/" not in program:
        return "not found in PATH of the job; mend the command, or set PATH in env of the job"
    if os.path.exists(program):
        return "the interpreter named in its first line does not exist; install it or mend the line"
    return "there is no such file; mend the command"


def _user(job: JobDef) -> pwd.struct_passwd:
    try:
        if job.user is None:
            return pwd.getpwuid(os.geteuid())
        return pwd.getpwuid(int(job.user)) if job.user.isdigit() else pwd.getpwnam(job.user)
    except KeyError:
        if job.user is None:
            # A container may run under a number without a name.
            number = str(os.geteuid())
            return pwd.struct_passwd((number, "x", os.geteuid(), os.getegid(), "", "/", "/bin/sh"))
        raise SpawnError(
            f"user {job.user} of job {job.name} does not exist on this host; "
            "create it or mend user in the job"
        ) from None


def _identity(job: JobDef, entry: pwd.struct_passwd) -> Identity:
    gid = _group(job)
    other_user = job.user is not None and entry.pw_uid != os.geteuid()
    if not other_user:
        return Identity(gid=None if gid == os.getegid() else gid)
    if os.geteuid() != 0:
        raise SpawnError(
            f"job {job.name} is to run as {entry.pw_name}, which only root can arrange: "
            "run the daemon as root, or take user out of the job"
        )
    if gid is None:
        gid = entry.pw_gid
    return Identity(uid=entry.pw_uid, gid=gid, groups=tuple(os.getgrouplist(entry.pw_name, gid)))


def _group(job: JobDef) -> int | None:
    if job.group is None:
        return None
    if job.group.isdigit():
        return int(job.group)
    try:
        return grp.getgrnam(job.group).gr_gid
    except KeyError:
        raise SpawnError(
            f"group {job.group} of job {job.name} does not exist on this host; "
            "create it or mend group in the job"
        ) from None


def _raise_priority(pid: int, nice: int) -> None:
    """Set the priority of the whole new group, whose leader may already have become its user."""
    try:
        os.setpriority(os.PRIO_PGRP, pid, nice)
    except ProcessLookupError:
        return
    except OSError as error:
        # It has run for microseconds; without the asked priority it shall not run at all.
        os.killpg(pid, 9)
        os.waitpid(pid, 0)
        raise SpawnError(
            f"nice = {nice} is not permitted: {error.strerror}; only root may go below the daemon's own"
        ) from error
