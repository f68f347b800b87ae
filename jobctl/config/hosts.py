"""What a valid configuration asks of this host and does not find here.

The same file serves many hosts, so nothing of this makes it invalid. Files of jobs that run as
another user are not looked at: whether they are there may only be visible to that user.
Imports nothing that validates; the daemon calls this itself.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.config.paths import shown_path
from jobctl.config.problem import ERROR, WARNING, Problem

SENDMAIL = "/usr/sbin/sendmail"
"""What mails are given to when ``[mail]`` names nothing else."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.model.config import Config
    from jobctl.model.job import JobDef

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the job's ``env`` has no PATH."""


def host_problems(config: Config) -> list[Problem]:
    """Return what is missing here. Errors keep the daemon from starting, warnings do not."""
    root = os.geteuid() == 0
    _which.cache_clear()
    found: list[Problem] = []
    for job in config.jobs.values():
        found += _identity(job, root=root)
        if job.enabled and (job.user is None or job.user == _own_name()):
            found += _files(job)
    found += _mail(config)
    if root:
        found += _writable(config)
    return found


def _mail(config: Config) -> Iterator[Problem]:
    mail = config.mail
    writers = [job for job in config.jobs.values() if job.mail_to and job.mail_on != "never"]
    if not writers or mail.smtp is not None:
        return
    program = mail.sendmail or SENDMAIL
    if not os.access(program, os.X_OK):
        yield problem_of(
            writers[0], "mail_to", code="mail", severity=WARNING,
            message=f"there is no {program} on this host, so mails go to smtp://localhost"
            if mail.sendmail is None else f"there is no program {program} on this host to mail with",
            remedy='name a mail server: smtp = "smtp://…" in [mail]',
        )  # fmt: skip


def problem_of(job: JobDef, key: str, **said: str) -> Problem:
    """Return a problem with a key of a job, where the job is written."""
    file, _, line = job.source.rpartition(":")
    return Problem(
        file=shown_path(file),
        line=int(line) if line.isdecimal() else 0,
        key=f"jobs.{job.name}.{key}",
        **said,  # type: ignore[arg-type]  # texts only
    )


def _identity(job: JobDef, *, root: bool) -> Iterator[Problem]:
    if job.user is not None:
        if not root and job.user != _own_name():
            yield _not_root(job, "user", job.user)
        elif root and not _known_user(job.user):
            yield problem_of(
                job, "user", code="user", severity=WARNING, remedy="create it or name another",
                message=f"there is no user {job.user!r} on this host",
            )  # fmt: skip
    if job.group is not None:
        gid = _group_id(job.group)
        if gid is None:
            yield problem_of(
                job, "group", code="user", severity=WARNING, remedy="create it or name another",
                message=f"there is no group {job.group!r} on this host",
            )  # fmt: skip
        elif not root and gid not in {os.getegid(), *os.getgroups()}:
            yield _not_root(job, "group", job.group)


def _not_root(job: JobDef, key: str, name: str) -> Problem:
    return problem_of(
        job, key, code="user", severity=ERROR,
        message=f"only root can run jobs as {key} {name!r}",
        remedy=f"start the daemon as root, or remove {key}",
    )  # fmt: skip


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _known_user(name: str) -> bool:
    try:
        pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _group_id(name: str) -> int | None:
    try:
        return (grp.getgrgid(int(name)) if name.isdecimal() else grp.getgrnam(name)).gr_gid
    except KeyError:
        return None


def _files(job: JobDef) -> Iterator[Problem]:
    cwd = _expand(job.cwd) if job.cwd is not None else None
    if cwd is not None and not cwd.is_dir():
        yield _missing(job, "cwd", f"there is no directory {cwd}")
        cwd = None
    for name in job.env_file:
        if not _expand(name).is_file():
            yield _missing(job, "env_file", f"there is no file {name}")
    program = _program(job)
    if program is not None and _found(program[1], job, cwd) is None:
        yield _missing(job, program[0], f"there is no program {program[1]!r}")


def _missing(job: JobDef, key: str, message: str) -> Problem:
    remedy = "runs of this job on this host will fail until it is there"
    return problem_of(job, key, code="host", severity=WARNING, message=message, remedy=remedy)


def _program(job: JobDef) -> tuple[str, str] | None:
    """Return the key and name of the program that a run begins with."""
    if isinstance(job.command, tuple):
        return "command", job.command[0]
    if job.command is not None:
        return "shell", job.shell.split()[0]
    if job.interpreter is None:
        return None
    folder = _expand(job.interpreter)
    return "interpreter", f"{folder}/bin/python" if folder.is_dir() else job.interpreter


def _found(program: str, job: JobDef, cwd: Path | None) -> str | None:
    if os.sep in program:
        if not program.startswith(("/", "~")) and cwd is None:
            # Where it would be looked for is decided where it runs.
            return program
        return _which(str((cwd or Path("/")) / _expand(program)), "")
    if "PATH" not in job.env and job.env_file:
        return program
    return _which(program, job.env.get("PATH", USUAL_PATH))


@lru_cache(maxsize=256)
def _which(program: str, path: str) -> str | None:
    """Look for a program; most jobs begin with the same."""
    import shutil  # noqa: PLC0415 - 0.3 MB that only programs to look for cost

    return shutil.which(program, path=path)


def _expand(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        # Nobody's home.
        return Path(path)


def _writable(config: Config) -> Iterator[Problem]:
    """Whoever can write the files can run commands as root."""
    files = {config.path: None} | {
        job.source.rpartition(":")[0]: None for job in config.jobs.values()
    }
    for file in files:
        try:
            info = Path(file).stat()
        except OSError:
            continue
        if info.st_mode & stat.S_IWOTH or info.st_uid != 0:
            yield Problem(
                file=shown_path(file), code="writable", severity=WARNING,
                message="others than root can change what root runs",
                remedy=f"chown root {file} and chmod go-w {file}",
            )  # fmt: skip
