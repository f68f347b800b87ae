"""Finds out what each source is, reads it, and hands it to its reader."""

from __future__ import annotations

import os
import pwd
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath

from jobctl.client.migrate.anacrontab import import_anacrontab
from jobctl.client.migrate.beat import import_beat
from jobctl.client.migrate.crontab_jobs import Wishes, import_crontab
from jobctl.client.migrate.crontab_lines import ANACRON, SYSTEM, USER
from jobctl.client.migrate.draft import NOTE, Findings
from jobctl.client.migrate.locks import Locks
from jobctl.client.migrate.timers import import_timers
from jobctl.errors import JobctlError, NotFoundError, NotPermittedError, UsageError

STDIN = "-"
_SPOOLS = ("/var/spool/cron/", "/var/cron/tabs/")
_NOT_TABLES = (
    ".placeholder",
    ".dpkg-dist",
    ".dpkg-old",
    ".dpkg-new",
    ".dpkg-bak",
    "~",
    ".bak",
    ".swp",
    ".rpmsave",
    ".rpmnew",
    ".rpmorig",
)
_CRONTAB_PREAMBLE = [
    "Made by `jobctl import crontab`. Every job does what cron does with the line above it:",
    '  overlap = "allow"    cron starts a job although its last run goes on; "skip" leaves that start out',
    '  on_lost = "fail"     cron starts nothing again after a crash of the host; "retry" does',
    '  leftovers = "keep"   cron does not end what a command leaves behind; "kill" does',
    '  mail_on = "output"   cron mails whatever a job prints; "failure" mails only when it fails',
    "  PATH                 cron's own where the table sets none; without it, /usr/local and sbin come first",
    'cron makes up for nothing: missed = "skip" is the default, "once" runs what was missed while the host was off.',
    "cron runs any number of jobs at once; here the others wait when all slots are taken: [pools.default] slots = N.",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for on the command line."""

    source: str
    files: tuple[str, ...]
    kind: str | None
    owner: str | None
    native: bool
    expand_run_parts: bool
    interpreter: str | None


def read_sources(asked: Asked) -> Findings:
    """Read everything that was named.

    Raises:
        UsageError: it cannot be told what kind of table a file is.
        NotFoundError: a file is not there.

    """
    found = Findings()
    if not asked.files:
        raise UsageError(
            f"jobctl import {asked.source} needs something to read; - is standard input"
        )
    if asked.source == "crontab":
        _read_crontabs(asked, found)
    elif asked.source == "systemd-timers":
        import_timers(list(asked.files), found)
    else:
        for spec in asked.files:
            import_beat(spec, interpreter=asked.interpreter, found=found)
    return found


def _read_crontabs(asked: Asked, found: Findings) -> None:
    tables = [
        (path, asked.kind or kind_of(path)) for name in asked.files for path in _files(name, found)
    ]
    if any(kind != ANACRON for _, kind in tables):
        found.preamble = list(_CRONTAB_PREAMBLE)
    texts = [read_text(path) for path, _ in tables]
    wishes = Wishes(
        native=asked.native, expand_run_parts=asked.expand_run_parts, locks=Locks(texts)
    )
    for (path, kind), text in zip(tables, texts, strict=True):
        shown = "<stdin>" if path == STDIN else path
        if kind == ANACRON:
            import_anacrontab(text, file=shown, wishes=wishes, found=found)
        else:
            owner = _owner(path, asked.owner) if kind == USER else None
            import_crontab(text, file=shown, kind=kind, owner=owner, wishes=wishes, found=found)


def _files(name: str, found: Findings) -> list[str]:
    """Return a file, or the tables in a directory such as ``/etc/cron.d``."""
    if re.fullmatch(r"cron\.(hourly|daily|weekly|monthly|yearly)", PurePath(name).name):
        raise UsageError(
            f"{name} holds scripts, not tables: import the table with its run-parts line, with --expand-run-parts"
        )
    if name == STDIN or not Path(name).is_dir():
        return [name]
    try:
        paths = sorted(Path(name).iterdir())
    except OSError as error:
        raise NotPermittedError(f"{name} cannot be read: {error.strerror}; ask as root") from error
    of_users = os.path.abspath(name).startswith(tuple(spool.rstrip("/") for spool in _SPOOLS))  # noqa: PTH100 (texts)
    tables = []
    for path in paths:
        if path.name.startswith(".") or path.name.endswith(_NOT_TABLES) or not path.is_file():
            found.tell(str(path), 0, "left-out", "left out: cron does not read it", severity=NOTE)
        else:
            if "." in path.name and not of_users:
                found.tell(
                    str(path),
                    0,
                    "name",
                    "Debian's cron does not read files with a dot in their names, cronie does",
                )
            tables.append(str(path))
    return tables


def kind_of(path: str) -> str:
    """Return the kind of table that stands at a path.

    Raises:
        UsageError: the path does not tell.

    """
    full = "" if path == STDIN else os.path.abspath(path)  # noqa: PTH100 (texts)
    if full == "/etc/crontab" or full.startswith(("/etc/cron.d/", "/usr/local/etc/cron.d/")):
        return SYSTEM
    if PurePath(full).name == "anacrontab":
        return ANACRON
    if full.startswith(_SPOOLS):
        return USER
    name = "standard input" if path == STDIN else path
    raise UsageError(
        f"whether {name} has a user column cannot be told: say --system (as /etc/crontab), --user (as"
        " `crontab -l` shows) or --anacron"
    )


def _owner(path: str, owner: str | None) -> str | None:
    """Return whose table it is, if it is not that of whoever asks."""
    if owner is not None:
        return owner
    full = os.path.abspath(path)  # noqa: PTH100 (texts)
    if path != STDIN and full.startswith(_SPOOLS):
        return PurePath(full).name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


def read_text(path: str) -> str:
    """Return the text of a file or of standard input; undecodable bytes stay recognisable."""
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is not there") from error
    except PermissionError as error:
        raise NotPermittedError(f"{path} cannot be read: {error.strerror}; ask as root") from error
    except OSError as error:
        raise JobctlError(f"{path} cannot be read: {error.strerror}") from error
    return data.decode("utf-8", errors="surrogateescape")
