"""Conditions with a deadline, and what a fault says when one did not come true."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class BrokenError(Exception):
    """A criterion or an invariant does not hold; the message is for the report."""


class SkipError(Exception):
    """The fault cannot be played here; the message says why."""


def expect(condition: object, message: str) -> None:
    """Raise :class:`BrokenError` with ``message`` unless ``condition`` is true."""
    if not condition:
        raise BrokenError(message)


def until(condition: Callable[[], T], what: str, *, within: float = 60.0, every: float = 0.1) -> T:
    """Return the first true value of ``condition``; look every ``every`` seconds.

    Raises :class:`BrokenError` naming ``what`` after ``within`` seconds.
    """
    limit = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise BrokenError(f"not within {within:g} s: {what}")
        time.sleep(every)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """With two digits."""
        return round(time.monotonic() - self._begin, 2)
