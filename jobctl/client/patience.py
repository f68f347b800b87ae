"""How long a command waits for a store that is away for a moment."""

from __future__ import annotations

import os

from jobctl.errors import ConfigError
from jobctl.store.failures import LostReplyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.clock import Clock
    from jobctl.errors import JobctlError

VARIABLE = "JOBCTL_STORE_WAIT"
USUAL = 3.0
"""Seconds; a server that is restarted without much data is back by then."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.4
GROWTH = 1.5


def usual_wait() -> float:
    """Return how many seconds to wait when nobody says so; raises ``ConfigError`` for nonsense."""
    text = os.environ.get(VARIABLE)
    if not text:
        return USUAL
    from jobctl.model.units import parse_duration  # noqa: PLC0415 (only who sets it pays for it)

    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: {error}") from error


class Patience:
    """The time that one request has, over all its tries."""

    __slots__ = ("_clock", "_deadline", "_pause", "lost", "submits")

    def __init__(self, seconds: float, clock: Clock, *, began: float | None = None) -> None:
        """``began`` is when the request began, by the monotonic clock; now, if it is not given."""
        self._clock = clock
        self._deadline = (clock.monotonic() if began is None else began) + seconds
        self._pause = FIRST_PAUSE
        self.submits = False
        """Whether it is for a submit, which is not refused because a daemon is just being restarted."""
        self.lost: LostReplyError | None = None
        """The first try that was sent and not answered: since then its fate is unknown."""

    def failed(self, error: JobctlError) -> None:
        """Note how a try failed."""
        if self.lost is None and isinstance(error, LostReplyError):
            self.lost = error

    def pause(self) -> float | None:
        """Return the seconds to wait before the next try; ``None`` when the time is up."""
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            return None
        pause = min(self._pause, left)
        self._pause = min(self._pause * GROWTH, LONGEST_PAUSE)
        return pause
