"""Whether another reader takes the text of an ``env_file`` as jobctl does."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.export_parts import CommandError

if TYPE_CHECKING:
    from jobctl.model.job import JobDef

_PLAIN = r"""[\w@%+=:,./-]*|'[^']*'|"[^"$`\\]*\""""
_LINES = {
    "a shell": re.compile(
        rf"(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?:{_PLAIN})(?:\s+#.*)?", re.ASCII
    ),
    # No `export`, no comment behind a value; nothing is run, but backslashes are read otherwise.
    "systemd": re.compile(
        r"""(?P<name>[A-Za-z_]\w*)=(?:(?!\#|.*(?:\s\#|\\))[^'"].*|'[^'\\]*'|"[^"\\]*")?""", re.ASCII
    ),
}
_OF_SHELLS = frozenset(
    ("UID", "EUID", "PPID", "IFS", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "BASH_ENV", "ENV")
)
"""Names that a shell does not let be set, or acts on."""


def env_files(job: JobDef, reader: str) -> list[str]:
    """Return the absolute paths of a job's files, each fit for ``reader``: ``a shell`` or ``systemd``.

    Raises:
        CommandError: a file cannot be read here, or a line in it would be read otherwise. The
            message names the line and shows nothing of it.

    """
    paths = [_of_home(name, job) for name in job.env_file]
    for path in paths:
        try:
            text = Path(path).read_bytes().decode()  # a carriage return is one
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise CommandError(
                f"env_file {path} cannot be read here ({why}), and {reader} might read it otherwise"
            ) from error
        _check(path, text, reader)
    return paths


def _check(path: str, text: str, reader: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(" \t")
        found = _LINES[reader].fullmatch(stripped)
        if found:
            usable = reader != "a shell" or found["name"] not in _OF_SHELLS
        else:
            usable = not stripped or stripped.startswith("#")
        # What is a line break for one of the two and not for the other is no printable character.
        if not usable or not stripped.replace("\t", " ").isprintable():
            raise CommandError(
                f"env_file {path}:{number}: {reader} would read this otherwise than jobctl;"
                " write NAME='value' without a quote or backslash in it"
            )


def _of_home(path: str, job: JobDef) -> str:
    """Return a path, ``~/`` taken for the home of the job's user."""
    if not path.startswith("~/"):
        return path
    if job.user is None:
        return os.path.expanduser(path)  # noqa: PTH111 (texts)
    try:
        return pwd.getpwnam(job.user).pw_dir + path[1:]
    except KeyError as error:
        raise CommandError(
            f"env_file {path}: there is no user {job.user} whose home could be meant"
        ) from error
