"""How much room there is to show something."""

from __future__ import annotations

import os
import sys

NARROWEST = 40
USUAL_WIDTH = 80
USUAL_HEIGHT = 24


def terminal_size() -> tuple[int, int]:
    """Return columns and lines; ``COLUMNS`` and ``LINES`` win over what the terminal says."""
    try:
        found: tuple[int, int] = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        found = (0, 0)
    sizes = [
        int(told) if told.isdecimal() and int(told) else size or usual
        for told, size, usual in zip(
            (os.environ.get("COLUMNS", ""), os.environ.get("LINES", "")),
            found,
            (USUAL_WIDTH, USUAL_HEIGHT),
            strict=True,
        )
    ]
    return max(NARROWEST, sizes[0]), sizes[1]
