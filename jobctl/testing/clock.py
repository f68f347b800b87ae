"""A clock that tests move, and what schedules would have started meanwhile."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from jobctl.client.open import Session
from jobctl.client.schedules import Fire, distinct, entries
from jobctl.clock import Clock
from jobctl.errors import UsageError
from jobctl.model.schedule import BootRule
from jobctl.model.units import parse_duration

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from jobctl.model.rules import ScheduleEntry


class Start(NamedTuple):
    """A run that a schedule starts."""

    at: datetime
    """When it starts: the instant and the job's jitter on this host; in the schedule's time zone."""
    job: str
    schedule: str
    """The schedule's name, as ``jobctl schedule`` lists it."""
    instant: datetime
    """What the schedule names; the run gets it as ``scheduled_at``."""


class FakeClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime | str | None = None) -> None:
        """``start`` is a datetime with a zone, or ISO 8601 text with an offset; default: now.

        Raises ``UsageError`` for anything else.
        """
        self.start = datetime.now(UTC) if start is None else _moment(start)  # noqa: TID251 - where it begins
        """Where it began, in UTC."""
        self._now = self.start
        self._watchers: list[Callable[[datetime], None]] = []

    def now(self) -> datetime:
        """Return the time it shows, in UTC."""
        return self._now

    def epoch(self) -> float:
        """Return the time it shows in seconds since 1970."""
        return self._now.timestamp()

    def monotonic(self) -> float:
        """Return the seconds it was moved."""
        return (self._now - self.start).total_seconds()

    def boottime(self) -> float:
        """Return the seconds it was moved."""
        return self.monotonic()

    def advance(self, duration: float | str | timedelta) -> datetime:
        """Move it on by seconds, a text such as ``"1d12h"``, or a timedelta; return the new time.

        What waits for it, such as delayed runs of :func:`jobctl.testing.eager`, happens on the way,
        each at its own time. Raises ``UsageError`` for no duration, or a negative one.
        """
        return self.move_to(self._now + _span(duration))

    def move_to(self, instant: datetime | str) -> datetime:
        """Move it on to an instant, and return that; raises ``UsageError`` for one that is past."""
        target = _moment(instant)
        if target < self._now:
            raise UsageError(f"{target} is before {self._now}; a clock is only moved on")
        for watch in list(self._watchers):
            watch(target)
        self._now = max(self._now, target)
        return self._now

    def show(self, instant: datetime) -> None:
        """Show ``instant`` while it moves on; for who watches it."""
        self._now = max(self._now, instant)

    def watch(self, watcher: Callable[[datetime], None]) -> Callable[[], None]:
        """Have ``watcher`` called with the target before the clock gets there; returns the undoing."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def starts(
        self, config: str | os.PathLike[str] | None = None, *, job: str | None = None
    ) -> list[Start]:
        """Return what schedules started between where the clock began and now."""
        return starts_between(self.start, self._now, config, job=job)


def starts_between(
    since: datetime | str,
    until: datetime | str,
    config: str | os.PathLike[str] | None = None,
    *,
    job: str | None = None,
) -> list[Start]:
    """Return the runs that the schedules of a jobs.toml start in (since, until], in order.

    ``config`` is the path of a jobs.toml; default: the one that ``jobctl`` would use. ``@every`` is
    counted from ``since``, and so are ``max_runs``; ``@reboot`` and ``@start`` have no instants.
    Policies that depend on what happened, ``overlap`` and ``missed``, play no part.

    Raises ``ConfigError``, ``NoSuchJob``, and ``UsageError`` for what is no instant.
    """
    session = Session.open(None if config is None else str(config))
    return session_starts(session, _moment(since), _moment(until), job=job)


def session_starts(
    session: Session,
    since: datetime,
    until: datetime,
    *,
    job: str | None = None,
    anchor: datetime | None = None,
    made: Counter[str] | None = None,
) -> list[Start]:
    """As :func:`starts_between`, of a configuration that was read.

    ``anchor`` is where ``@every`` is counted from, if not from ``since``. ``made`` are the runs of
    each schedule so far, and is kept up.
    """
    if job is not None:
        session.job(job)
    made = Counter() if made is None else made
    anchor = since if anchor is None else anchor
    found = [
        fire
        for entry in entries(session, job)
        for fire in _fires(entry, since=since, until=until, anchor=anchor)
    ]
    found.sort(key=lambda fire: (fire.start, fire.job, fire.schedule))
    starts = []
    for fire in distinct(found):
        if fire.most is None or made[fire.schedule] < fire.most:
            made[fire.schedule] += 1
            starts.append(Start(fire.start, fire.job, fire.schedule, fire.instant))
    return starts


def _fires(
    entry: ScheduleEntry, *, since: datetime, until: datetime, anchor: datetime
) -> Iterator[Fire]:
    if isinstance(entry.rule, BootRule):
        return
    jitter = timedelta(seconds=entry.jitter)
    at = entry.next_after(since - jitter, anchor=anchor)
    while at is not None and at + jitter <= until:
        yield Fire(entry, at)
        at = entry.next_after(at, anchor=at)


def _moment(value: datetime | str) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise UsageError(
            f"{value!r} is no instant; give a datetime with a zone, or 2030-12-24T18:00:00+01:00"
        )
    return found.astimezone(UTC)


def _span(value: float | str | timedelta) -> timedelta:
    if isinstance(value, timedelta):
        found = value
    else:
        try:
            found = timedelta(seconds=parse_duration(value))
        except ValueError as error:
            raise UsageError(f"{value!r}: {error}") from error
    if found < timedelta():
        raise UsageError(f"{value!r} is negative; a clock is only moved on")
    return found
