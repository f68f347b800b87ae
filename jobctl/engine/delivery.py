"""What can become of an attempt to tell somebody, and for how long it is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CUT = 300
"""Characters of what a foreign server says that are repeated."""


class UndeliveredError(JobctlError):
    """Raised when something could not be delivered now; it is tried again."""


class DownError(UndeliveredError):
    """Raised when nothing at all can be delivered there now."""


class RefusedError(UndeliveredError):
    """Raised when something will not be delivered however often it is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One thing to do about a notice."""

    what: str
    """For people: ``mail to root``."""
    key: tuple[str, str]
    """Deliveries of the same key are made one after the other: kind and run."""
    place: str
    """Where it goes; a place that hangs holds up only what goes there."""
    most: float
    """Seconds after the notice for which it is tried."""
    do: Callable[[], Awaitable[None]]
    """Does it; raises :class:`UndeliveredError`."""


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures: 5, 10, 20 … at most ten minutes."""
    return float(min(600, 5 * 2 ** min(failures - 1, 10)))


def quoted(said: object) -> str:
    """Return what a foreign server said, safe to be logged: one line, cut."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    line = " ".join(text.split())[:CUT]
    return "".join(char if char.isprintable() else "?" for char in line)
