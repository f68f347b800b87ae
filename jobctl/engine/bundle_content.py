"""What is left of the line of a bundle when the host journal is compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

ROWS = 6
"""Where the runs are among the words of the line."""


def bundle_of(words: list[object], wanted: Container[object]) -> list[object] | None:
    """Return the words without the runs that are not ``wanted``; ``None`` when none is.

    Each run keeps its place, by which the tally knows it.
    """
    rows = words[ROWS]
    if not isinstance(rows, list):
        return None
    kept = [row if row and row[0] in wanted else None for row in rows]
    if not any(kept):
        return None
    return [*words[:ROWS], kept]
