"""The starts of a day or more, by minute, hour and day, from the configuration alone."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, NamedTuple

from jobctl.client.schedules import entries
from jobctl.model.density import crowds, density

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from jobctl.client.open import Session
    from jobctl.model.density import Crowd

HOUR = 60
DAY = 24 * HOUR
MOST_CROWDS = 5


class Hour(NamedTuple):
    """One row of the picture: an hour that begins at ``at``, or the same hour of several days."""

    at: datetime
    label: str
    minutes: list[int]

    @property
    def starts(self) -> int:
        """All starts of the row."""
        return sum(self.minutes)


class Day(NamedTuple):
    """One day of the wall clock: its first minute, its starts, and its busiest minute."""

    at: datetime
    starts: int
    busiest: datetime
    peak: int


class Calendar:
    """The starts of ``days`` times 24 hours, from the full hour at or before ``after``.

    Raises ``NotFoundError`` for a job that does not exist.
    """

    def __init__(
        self,
        session: Session,
        *,
        jobs: Sequence[str],
        after: datetime,
        days: int,
        zone: ZoneInfo,
    ) -> None:
        for name in jobs:
            session.job(name)
        local = after.astimezone(zone)
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        self.zone = zone
        self.days = days
        self.start = after.astimezone(UTC) - past
        self.entries = [
            entry for name in dict.fromkeys(jobs) or [None] for entry in entries(session, name)
        ]
        self._found = density(self.entries, start=self.start, minutes=days * DAY)
        self._crowds: list[Crowd] | None = None

    @property
    def end(self) -> datetime:
        """The first instant that is not drawn."""
        return self._found.at(self.days * DAY)

    @property
    def total(self) -> int:
        """All starts."""
        return self._found.total

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Schedules without instants: ``@reboot`` and ``@start``."""
        return self._found.uncounted

    def local(self, at: datetime) -> datetime:
        """Return an instant in the calendar's zone."""
        return at.astimezone(self.zone)

    def hours(self) -> list[Hour]:
        """Return every hour that passes, in order."""
        out: list[Hour] = []
        for first in range(0, self.days * DAY, HOUR):
            at = self.local(self._found.at(first))
            counts = self._found.minutes[first : first + HOUR]
            out.append(Hour(at, f"{at:%a %H:%M}", counts))
        return out

    def by_hour(self) -> list[Hour]:
        """Return the rows of the picture: the hours of one day, or the 24 of the clock added up."""
        if self.days == 1:
            return self.hours()
        sums = [[0] * HOUR for _ in range(24)]
        for minute, starts in enumerate(self._found.minutes):
            if starts:
                at = self.local(self._found.at(minute))
                sums[at.hour][at.minute] += starts
        first = self.local(self.start)
        return [Hour(first, f"{hour:02}:00", counts) for hour, counts in enumerate(sums)]

    def by_day(self) -> list[Day]:
        """Return each date of the window that has starts, in order."""
        days: dict[str, list[int]] = {}
        for minute, starts in enumerate(self._found.minutes):
            if starts:
                at = self.local(self._found.at(minute))
                days.setdefault(at.date().isoformat(), []).append(minute)
        return [self._day(minutes) for minutes in days.values()]

    def _day(self, minutes: list[int]) -> Day:
        counts = self._found.minutes
        peak = max(minutes, key=lambda minute: counts[minute])
        first, busiest = (self.local(self._found.at(minute)) for minute in (minutes[0], peak))
        return Day(first, sum(counts[minute] for minute in minutes), busiest, counts[peak])

    def crowds(self) -> list[Crowd]:
        """Return the busiest minutes."""
        if self._crowds is None:
            self._crowds = crowds(self._found, self.entries, most=MOST_CROWDS, start=self.start)
        return self._crowds
