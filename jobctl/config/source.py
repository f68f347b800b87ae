"""One TOML file: its bytes, its data, and problems that point into it."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from jobctl.config.cache import file_stamp
from jobctl.config.excerpt import Lines, excerpt_of, lines_of
from jobctl.config.headers import header_lines
from jobctl.config.paths import shown_path
from jobctl.config.positions import Place, locate
from jobctl.config.problem import ERROR, Problem

if TYPE_CHECKING:
    from jobctl.config.positions import Path, Positions

_LARGEST = 32 * 1024 * 1024
"""Bytes; ten thousand jobs are about 3 MB, so a larger file is a mistake."""

_SYNTAX: dict[str, tuple[str, str]] = {
    "Expected '=' after a key": ("a key must be followed by '='", "write key = value"),
    "Unterminated string": ("this text is not closed", "end it with the quote it began with"),
    'Expected "\'"': ("this text is not closed", "end it with the quote it began with"),
    "Unescaped '\\'": (
        "a backslash in double quotes must start an escape that TOML knows",
        "write \\\\, or put the text in single quotes",
    ),
    "Illegal character": (
        "this character is not allowed here",
        "a text ends on the line it begins on; write longer ones within triple quotes",
    ),
    "Expected newline or end of document": (
        "the line goes on after the value",
        "write one key to a line, text in quotes, and numbers without leading zeros",
    ),
    "Expected ']": ("the table header is not closed", "write [name], or [[name]] for a list"),
    "Invalid statement": ("here should be a key or a [table]", "comments begin with #"),
    "Invalid initial character for a key": (
        "here should be a key",
        "keys are letters, digits, '-' and '_'; put others in quotes",
    ),
    "Invalid value": (
        "here should be a value",
        "put text in quotes; other values are numbers, true, false, [lists] and {tables}",
    ),
    "Unclosed array": ("the list is not closed", "separate its items by ',' and end it with ']'"),
    "Unclosed inline table": (
        "the table is not closed",
        "separate its pairs by ',', on one line, and end it with '}'",
    ),
    "Invalid date or datetime": ("there is no such date", "write 2026-12-24T18:00:00+01:00"),
    "Cannot mutate immutable namespace": (
        "this table was closed where it was written in { }",
        "put all its keys in one place",
    ),
}
"""How tomllib's messages begin; what is said instead, and the remedy."""

_TWICE = ("Cannot declare", "Cannot overwrite", "Duplicate inline table key")


@dataclass(slots=True)
class Source:
    """A file that was read and parsed."""

    declares: ClassVar[bool] = False
    """Whether it is a module, whose functions say of themselves what they take."""
    path: str
    """Absolute."""
    shown: str
    """As problems name it."""
    text: str
    data: dict[str, object] = field(default_factory=dict)
    stamp: tuple[int, ...] = ()
    """What tells this content from a later one; see :mod:`jobctl.config.cache`."""
    _positions: Positions | None = None
    _lines: Lines | None = None
    _headers: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def lines(self) -> Lines:
        """Its lines, for excerpts; worked out when first asked for."""
        if self._lines is None:
            self._lines = lines_of(self.text)
        return self._lines

    def line(self, section: str, name: str) -> int:
        """Return the line on which ``[section.name]`` begins, or where its key is first written."""
        lines = self._headers.get(section)
        if lines is None:
            lines = self._headers[section] = header_lines(self.text, section)
        return lines.get(name) or self.positions.key((section, name)).line

    @property
    def positions(self) -> Positions:
        """Where everything is; worked out when first asked for."""
        if self._positions is None:
            self._positions = locate(self.text)
        return self._positions

    def problem(
        self,
        path: Path,
        *,
        code: str,
        message: str,
        remedy: str = "",
        severity: str = ERROR,
        at_key: bool = False,
        offset: int = 0,
    ) -> Problem:
        """Return a problem at the value of ``path``, or at its key.

        ``offset`` is the number of characters into a text; it counts only when the text is
        written without escapes, on one line.
        """
        place = self.positions.key(path) if at_key else self.positions.value(path)
        column = place.column
        if offset:
            literal = self.positions.literals.get(path, "")
            if literal[:1] in "'\"" and literal[:3] not in ('"""', "'''") and "\\" not in literal:
                column += offset
        return self.problem_at(
            Place(place.line, column),
            key=dotted(path),
            code=code,
            message=message,
            remedy=remedy,
            severity=severity,
        )

    def problem_at(
        self,
        place: Place,
        *,
        code: str,
        message: str,
        key: str = "",
        remedy: str = "",
        severity: str = ERROR,
    ) -> Problem:
        """Return a problem at a line and column."""
        return Problem(
            file=self.shown,
            line=place.line,
            column=place.column,
            key=key,
            code=code,
            message=message,
            remedy=remedy,
            severity=severity,
            excerpt=excerpt_of(self.lines, place.line),
        )


def dotted(path: Path) -> str:
    """Return a path as people write it: ``jobs.backup.limits[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else '"' + _printable(part) + '"'
        text += f".{name}" if text else name
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def read_source(path: str) -> Source | Problem:
    """Read and parse one file; ``path`` is absolute."""
    shown = shown_path(path)
    try:
        data, stamp = _content(path)
    except FileNotFoundError:
        return _unreadable(shown, "there is no such file", "jobctl init writes one to begin with")
    except OSError as error:
        mend = "give this user the right to read it" if isinstance(error, PermissionError) else ""
        said = (error.strerror or "input/output error").lower()
        return _unreadable(shown, f"the file cannot be read ({said})", mend)
    except _NotUsableError as error:
        return _unreadable(shown, str(error), "name a TOML file")
    return _parse(data, Source(path=path, shown=shown, text="", stamp=stamp))


class _NotUsableError(Exception):
    """Raised when a file is there and can be read, and is no text file."""


def _content(path: str) -> tuple[bytes, tuple[int, ...]]:
    # Not blocking: opening a named pipe that nobody writes would wait for ever.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        if stat.S_ISDIR(info.st_mode):
            raise _NotUsableError("this is a directory")
        if not stat.S_ISREG(info.st_mode):
            raise _NotUsableError("this is not a regular file")
        with open(handle, "rb", closefd=False) as stream:
            data = stream.read(_LARGEST + 1)
    finally:
        os.close(handle)
    if len(data) > _LARGEST:
        raise _NotUsableError("the file is larger than 32 MiB")
    if b"\0" in data:
        raise _NotUsableError("this is not a text file")
    return data, file_stamp(info)


def _unreadable(shown: str, message: str, remedy: str = "") -> Problem:
    return Problem(file=shown, code="unreadable", message=message, remedy=remedy)


def _parse(data: bytes, source: Source) -> Source | Problem:
    try:
        source.text = data.decode("utf-8-sig")
        source.data = tomllib.loads(source.text)
    except UnicodeDecodeError as error:
        begin = data.rfind(b"\n", 0, error.start) + 1
        return Problem(
            file=source.shown,
            line=data.count(b"\n", 0, error.start) + 1,
            column=len(data[begin : error.start].decode("utf-8-sig")) + 1,
            code="encoding",
            message=f"byte 0x{data[error.start]:02x} is not valid UTF-8",
            remedy="save the file as UTF-8",
        )
    except tomllib.TOMLDecodeError as error:
        return _syntax(source, str(error))
    except ValueError:
        return _unreadable(source.shown, "a number in it has thousands of digits")
    except RecursionError:
        return _unreadable(source.shown, "its lists or tables are nested too deeply")
    return source


def _syntax(source: Source, said: str) -> Problem:
    place = _syntax_place(source.text, said)
    key = ""
    message, remedy = "this is not valid TOML", "see https://toml.io/en/v1.0.0"
    if said.startswith(_TWICE):
        message, remedy = "this is written twice", "keep one of them"
        if source.positions.twice:
            path, first, place = source.positions.twice[0]
            key = dotted(path)
            message = f"this is written twice, first in line {first.line}"
    else:
        for begins, ours in _SYNTAX.items():
            if said.startswith(begins):
                message, remedy = ours
                break
    return source.problem_at(place, key=key, code="syntax", message=message, remedy=remedy)


def _syntax_place(text: str, said: str) -> Place:
    found = re.search(r"\(at line (\d+), column (\d+)\)$", said)
    if found:
        return Place(int(found[1]), int(found[2]))
    lines = text.rstrip("\n").split("\n")
    return Place(len(lines), len(lines[-1]) + 1)
