"""On which lines tables begin, for a text that ``tomllib`` accepted; without a syntax tree.

A tree of a large file costs more than everything else done with it, and who finds no mistake in the
file needs nothing but these lines.
"""

from __future__ import annotations

import re

_QUOTES = ('"""', "'''")


def header_lines(text: str, section: str) -> dict[str, int]:
    """Return the line (from 1) of each ``[section.NAME]`` whose name is a bare key.

    Nothing when the text holds texts of several lines, in which such a line may mean nothing. A
    list holds no bare words with a dot, so a header is nothing else.
    """
    if any(quotes in text for quotes in _QUOTES):
        return {}
    header = re.compile(
        rf"^[ \t]*\[[ \t]*{section}[ \t]*\.[ \t]*([A-Za-z0-9_-]+)[ \t]*\][ \t]*(?:#.*)?\r?$",
        re.MULTILINE,
    )
    lines: dict[str, int] = {}
    line, reached = 1, 0
    for found in header.finditer(text):
        line += text.count("\n", reached, found.start())
        reached = found.start()
        lines.setdefault(found[1], line)
    return lines
