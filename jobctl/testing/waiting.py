"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

DEADLINE = 30.0
"""Seconds; also on a machine where others leave a test little time."""
PAUSE = 0.02
"""Seconds between two looks."""


def wait_until(condition: Callable[[], T], *, deadline: float = DEADLINE, what: str = "") -> T:
    """Return the first true value of ``condition``, which is called every 20 ms.

    Raises ``AssertionError`` after ``deadline`` seconds; ``what`` says in it what was waited for.
    """
    limit = SYSTEM_CLOCK.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if SYSTEM_CLOCK.monotonic() > limit:
            raise AssertionError(f"not within {deadline:g} seconds: {what or condition}")
        time.sleep(PAUSE)
