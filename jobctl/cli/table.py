"""Columns for people: aligned with blanks, on a terminal and off it."""

from __future__ import annotations

import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GAP = "  "


def clean(text: str) -> str:
    """Return text without what would move the cursor or change the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else "?" if char not in "\t\n\r" else " " for char in text
    )


def width(text: str) -> int:
    """Return how many cells a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    marks = sum(unicodedata.combining(char) != 0 for char in text)
    return len(text) + wide - marks


def cut(text: str, most: int) -> str:
    """Return text shortened to ``most`` cells."""
    if width(text) <= most:
        return text
    while text and width(text) > most - 1:
        text = text[:-1]
    return text + "…"


def columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    most: int | None = None,
    paint: Callable[[int, str, str], str] | None = None,
) -> list[str]:
    """Return lines with aligned columns, the head first.

    ``right`` are the columns aligned to the right; ``most`` is the width of a line, to which the
    last column is cut. ``paint`` gets column, cell and padded text and may add colours; row -1
    is the head.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    sizes = [max(map(width, column)) for column in zip(head, *cells, strict=True)]
    if most is not None and sizes:
        sizes[-1] = max(4, most - sum(sizes[:-1]) - len(GAP) * (len(sizes) - 1))
    lines = []
    for number, row in enumerate([list(head), *cells]):
        parts = []
        for index, cell in enumerate(row):
            text = cut(cell, sizes[index]) if most is not None and index == len(row) - 1 else cell
            padding = " " * (sizes[index] - width(text))
            padded = padding + text if index in right else text + padding
            if index == len(row) - 1:
                padded = padded.rstrip()
            if paint is not None:
                padded = paint(index if number else -1, cell, padded)
            parts.append(padded)
        lines.append(GAP.join(parts).rstrip())
    return lines
