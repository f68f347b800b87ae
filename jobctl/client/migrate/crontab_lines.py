"""Reads the lines of a crontab as cron does: environment by position, fields, user, ``%``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.client.migrate.cron_laws import COLUMNS, CronLawError, Translation, translate

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = "system"
USER = "user"
ANACRON = "anacron"

_BLANKS = " \t"
_NICKNAMES = ("reboot", "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly")
_FREEBSD = {"every_minute": "* * * * *", "every_second": "* * * * * *"}
_FLAGS = "nqs"
_OPTIONS = re.compile(rf"-([{_FLAGS}]+)[ \t]+")
STDIN_REMARK = "what follows '%' is written as stdin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line that cron would run."""

    line: int
    text: str
    """The line as it stands."""
    when: Translation
    user: str | None
    """``None`` in the table of a user."""
    command: str
    """For the shell: up to the first ``%``, with ``\\%`` made ``%``."""
    stdin: str | None
    env: dict[str, str]
    """The environment lines above it."""
    flags: frozenset[str] = frozenset()
    """OpenBSD's and FreeBSD's ``n`` ``q`` ``s``, and ``-`` of a leading dash."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that cron refuses."""

    line: int
    text: str
    why: str


class LineError(ValueError):
    """Raised for a line that cron refuses; the message says why."""


def read_lines(text: str, *, kind: str) -> Iterator[Entry | BadLine]:
    """Yield what each line means; ``kind`` is :data:`SYSTEM` or :data:`USER`."""
    env: dict[str, str] = {}
    for number, line in numbered(text):
        setting = environment_setting(line)
        if setting is not None:
            name, value = setting
            env[name] = value
            continue
        try:
            yield _entry(line, number, kind, env)
        except LineError as error:
            yield BadLine(line=number, text=line, why=str(error))


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither blank nor comments, with their numbers."""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.lstrip(_BLANKS)
        if stripped.strip(" \t\r") and not stripped.startswith("#"):
            yield number, stripped


def environment_setting(line: str) -> tuple[str, str] | None:
    """Return (name, value) if cron takes the line for a setting, else ``None``.

    The name and the value may each stand in quotes, blanks may stand around ``=``; nothing is
    expanded.
    """
    name, rest = _word(line, stops="=")
    if name is None or not name:
        return None
    rest = rest.lstrip(" \t\r\f\v")
    if not rest.startswith("="):
        return None
    rest = rest[1:].lstrip(" \t\r\f\v")
    if rest[:1] not in ("'", '"'):
        return name, rest.rstrip()
    value, after = _word(rest, stops="")
    return None if value is None or after.strip() else (name, value)


def _word(text: str, *, stops: str) -> tuple[str | None, str]:
    """Return a word, which may be quoted, and what follows it; ``None`` if a quote stays open."""
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        return (None, "") if end < 0 else (text[1:end], text[end + 1 :])
    end = next((at for at, char in enumerate(text) if char.isspace() or char in stops), len(text))
    return text[:end], text[end:]


def _entry(line: str, number: int, kind: str, env: dict[str, str]) -> Entry:
    flags: set[str] = set()
    rest = line
    if rest.startswith("-"):
        flags.add("-")
        rest = rest[1:]
    when, rest = _when(rest)
    user = None
    if kind == SYSTEM:
        user, rest = _user(rest)
    remarks: list[str] = []
    while options := _OPTIONS.match(rest):
        flags |= set(options[1])
        rest = rest[options.end() :]
    if rest.startswith("*"):
        raise LineError("the command begins with '*', so there is one field too many")
    if kind == USER and re.match(r"(root|nobody|www-data|daemon)[ \t]+[/\w\[]", rest):
        remarks.append(
            f"the command begins with {rest.split()[0]!r}: if that is the user, this is a system table (--system)"
        )
    if rest.endswith("\r"):
        remarks.append("the line ends with a carriage return, which cron hands to the command")
    elif rest.endswith("\\"):
        remarks.append(
            "the line ends with a backslash: cron knows no continued lines, the next is one of its own"
        )
    command, stdin = split_percent(rest)
    remarks += percent_remarks(command, stdin)
    if not command.strip():
        raise LineError("the command is missing")
    return Entry(
        line=number, text=line, when=when, user=user, command=command, stdin=stdin, env=dict(env),
        flags=frozenset(flags), remarks=tuple(remarks),
    )  # fmt: skip


def _when(rest: str) -> tuple[Translation, str]:
    if rest.startswith("@"):
        return _nickname(rest)
    words: list[str] = []
    for column in COLUMNS:
        word, rest = _next(rest)
        if not word:
            raise LineError(f"{column.name}: the field is missing")
        words.append(word)
    try:
        return translate(words), rest
    except CronLawError as error:
        raise LineError(_explained(error, words)) from error


def _explained(error: CronLawError, words: list[str]) -> str:
    """Say that a field is missing where a word is clearly of what follows the fields."""
    at = next((at for at, column in enumerate(COLUMNS) if column.name == error.field), None)
    if at and re.match(r"[/\[.]|[a-z_][a-z0-9_-]*$", words[at]):
        return f"{error}; one of the five fields before it is missing"
    return str(error)


def _nickname(rest: str) -> tuple[Translation, str]:
    word, rest = _next(rest)
    name = word[1:]
    if name in _NICKNAMES:
        return Translation(word, ()), rest
    if name in _FREEBSD:
        return Translation(_FREEBSD[name], (f"only FreeBSD's cron knows {word}",)), rest
    if name.isdigit() and int(name) > 0:
        said = f"{word}: FreeBSD's cron counts the seconds from the end of the last run, @every from its scheduled instant"
        return Translation(f"@every {name}s", (said,)), rest
    raise LineError(f"{word} is no nickname of cron: use @{' @'.join(_NICKNAMES)} or five fields")


def _user(rest: str) -> tuple[str, str]:
    user, rest = _next(rest)
    if not user:
        raise LineError("user: the field is missing, a system table has it before the command")
    if user.startswith("*"):
        raise LineError("user: found '*', so there is one field too many")
    if re.search(r"[/$=|;&\[]", user.partition("/")[0] or user):
        raise LineError(
            f"user: {user!r} is no user; the table of a user has no such field (--user)"
        )
    if not rest:
        raise LineError(f"the command is missing after the user {user!r}")
    return user, rest


def _next(rest: str) -> tuple[str, str]:
    end = next((at for at, char in enumerate(rest) if char in _BLANKS), len(rest))
    return rest[:end], rest[end:].lstrip(_BLANKS)


def split_percent(text: str) -> tuple[str, str | None]:
    r"""Return the command and its standard input, as cron divides them at the first plain ``%``.

    No quote protects it; ``\%`` is a ``%``. The input gets a newline for each further ``%``,
    and one at its end.
    """
    command: list[str] = []
    escaped = False
    for at, char in enumerate(text):
        if escaped and char == "%":
            command[-1] = "%"
        elif char == "%":
            return "".join(command), _input(text[at + 1 :])
        else:
            command.append(char)
        escaped = char == "\\" and not escaped
    return "".join(command), None


def _input(text: str) -> str:
    out = re.sub(r"(\\?)%", lambda found: "%" if found[1] else "\n", text)
    return out if not out or out.endswith("\n") else out + "\n"


def percent_remarks(command: str, stdin: str | None) -> Iterator[str]:
    """Yield what is likely wrong with a ``%`` that ended the command."""
    if stdin is None:
        return
    why = None
    if open_quote(command):
        why = "inside quotes, which do not protect it"
    elif command.count("$(") + command.count("`") % 2 > command.count(")"):
        why = "inside a command substitution"
    elif re.search(r"\bdate\b[^|;&]*\+\S*$", command):
        why = "in the format of date"
    if why:
        yield f"'%' {why}, ends the command for cron: the shell gets only {command!r}; write '\\%'"
    else:
        yield STDIN_REMARK


def open_quote(text: str) -> bool:
    """Tell whether a quote of the shell is still open at the end."""
    quote = ""
    skip = False
    for char in text:
        if skip:
            skip = False
        elif char == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return bool(quote)
