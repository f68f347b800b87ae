"""Words of the command lines of this package."""

from __future__ import annotations

import argparse
from pathlib import Path


def count(text: str) -> int:
    """Return a whole number from 1 on; raises ``ArgumentTypeError`` for anything else."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def report_file(text: str) -> Path:
    """Return where a report is to be written; raises ``ArgumentTypeError`` where none can be."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written")
    return path
