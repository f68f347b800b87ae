"""Files of ``KEY=VALUE`` lines: ``env_file``."""

from __future__ import annotations

import re
from pathlib import Path

from jobctl.errors import JobctlError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_QUOTED = re.compile(r"""(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?\Z""")
_TRAILING_COMMENT = re.compile(r"(?:^|\s+)#.*\Z")


class EnvFileError(JobctlError):
    """Raised when an ``env_file`` cannot be read or understood."""


def read_env_file(name: str) -> dict[str, str]:
    r"""Read ``KEY=VALUE`` lines; raise :class:`EnvFileError` naming the file and the line.

    Empty lines and lines from ``#`` are left out, as is a leading ``export``. ``'…'`` is taken
    as it is, ``"…"`` knows ``\n \t \r`` and a backslash before any other character. Variables
    are not expanded.
    """
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise EnvFileError(
            f"env_file {name} cannot be read: {why}; create it or take it out of the job"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not _NAME.match(key.strip()):
            raise EnvFileError(f"{name}:{number}: this is not KEY=VALUE; mend or remove the line")
        found[key.strip()] = _value(value.strip(), where=f"{name}:{number}")
    return found


def _value(text: str, *, where: str) -> str:
    if text[:1] not in {'"', "'"}:
        return _TRAILING_COMMENT.sub("", text)
    quoted = _QUOTED.match(text)
    if quoted is None:
        raise EnvFileError(f"{where}: the quote is not closed, or text follows it")
    double, single = quoted.groups()
    if double is None:
        return str(single)
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), double)
