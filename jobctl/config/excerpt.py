"""The line of a problem, as it is shown: without what may be a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECRET = re.compile(
    r"\b(env|args|kwargs|stdin|ping_url|smtp)[\"']?\s*[.=\]]"
    r"|passw|secret|token|credential|api_?key|private",
    re.IGNORECASE,
)
"""Marks lines, and tables by their header, whose values are not shown."""
_URL_PASSWORD = re.compile(r"(\w://[^\s/@:'\"]*:)[^\s@'\"]+@")
_PIECES = re.compile(
    r"""\#[^\n]*                # a comment, whatever quotes it holds
      | "{3}(?:[^"\\]|\\.|"(?!""))*+\\?(?:"{3,5}|\Z)  # a text of several lines, perhaps with no end
      | '{3}(?:[^']|'(?!''))*+(?:'{3,5}|\Z)
      | "(?:[^"\\\n]|\\[^\n])*+"
      | '[^'\n]*'""",
    re.VERBOSE | re.DOTALL,
)
"""What may hold quotes that open nothing, or a line break within a text."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a text, with what tells whether one may be shown."""

    texts: list[str]
    inside: list[bool]
    """Whether a line begins within a text of several lines."""
    headers: list[str]
    """The last line before each that looks like the header of a table."""


def lines_of(text: str) -> Lines:
    """Return the lines of a text, of one that is no valid TOML as well."""
    texts = text.split("\n")
    inside = [False] * len(texts)
    line = reached = 0
    for found in _PIECES.finditer(text):
        breaks = found[0].count("\n")
        if breaks:
            line += text.count("\n", reached, found.start())
            reached = found.start()
            inside[line + 1 : line + 1 + breaks] = [True] * breaks
    headers: list[str] = []
    header = ""
    for within, shown in zip(inside, texts, strict=True):
        headers.append(header)
        if not within and shown.lstrip().startswith("["):
            header = shown
    return Lines(texts, inside, headers)


def excerpt_of(lines: Lines, number: int) -> str:
    """Return a line for people to see, cut off where it may hold a secret."""
    if number > len(lines.texts):
        return ""
    if lines.inside[number - 1]:
        return "…"
    line, header = lines.texts[number - 1].rstrip("\r"), lines.headers[number - 1]
    if _SECRET.search(line) or (_SECRET.search(header) and not line.lstrip().startswith("[")):
        name, equals, _ = line.partition("=")
        line = f"{name}{equals} …" if equals else "…"
    line = _URL_PASSWORD.sub(r"\1…@", line)
    line = line if len(line) <= 160 else line[:159] + "…"  # noqa: PLR2004 (two terminal rows)
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
