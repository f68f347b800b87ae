"""The job's side of jobctl: a plain function in a file that knows nothing of jobctl."""

from __future__ import annotations

from counting import enter


def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)
