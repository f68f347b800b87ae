"""When jobs run next: computed from the configuration, without a store."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from itertools import islice

from jobctl.errors import NotFoundError, UsageError
from jobctl.host import host_name, host_zone
from jobctl.model.rules import schedule_entries
from jobctl.model.schedule import BootRule, ScheduleError, load_zone, parse_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

    from jobctl.client.open import Session
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.schedule import Rule

EARLIEST = 1900
"""Year of the first instants that commands look at."""


class Fire:
    """One scheduled instant of a job, and when its run starts on this host."""

    __slots__ = ("instant", "job", "most", "schedule", "slot", "start", "zone")

    def __init__(self, entry: ScheduleEntry, instant: datetime) -> None:
        self.job = entry.job.name
        self.schedule = entry.name
        self.most = entry.definition.max_runs
        """How many runs its schedule makes in all."""
        self.slot = entry.slot(instant)
        """What its run is named after."""
        self.zone = load_zone(entry.timezone)
        self.instant = instant.astimezone(self.zone)
        self.start = self.instant + timedelta(seconds=entry.jitter)
        """The instant plus the job's jitter on this host."""


def entries(session: Session, job: str | None = None) -> list[ScheduleEntry]:
    """Return the active schedules of all jobs, or of one."""
    return [entry for entry in all_entries(session, job) if entry.active]


def all_entries(session: Session, job: str | None = None) -> list[ScheduleEntry]:
    """Return the schedules of all jobs, or of one, those that are switched off as well."""
    config = session.config if job is None else session.config_of(job)
    return schedule_entries(config, host=own_host(session), timezone=host_zone(), job=job)


def own_host(session: Session) -> str:
    """Return the name this host has in listings."""
    return host_name(session.settings.name)


def next_fires(
    session: Session,
    *,
    most: int,
    after: datetime,
    job: str | None = None,
    among: Iterable[ScheduleEntry] | None = None,
) -> list[Fire]:
    """Return the next ``most`` instants of all jobs, or of one, in order.

    ``among`` are the active schedules, if they are known already.
    """
    if job is not None:
        session.job(job)
    firsts = (
        (at + timedelta(seconds=entry.jitter), number, entry, at)
        for number, entry in enumerate(entries(session, job) if among is None else among)
        if (at := _first(entry, after)) is not None
    )
    # What is among the next `most` comes from one of the `most` whose first instant is the nearest.
    # Or of twice as many, for several may turn out to be one run.
    nearest = heapq.nsmallest(2 * most, firsts, key=lambda first: first[:2])
    streams = [_fires(entry, at) for _, _, entry, at in sorted(nearest, key=lambda one: one[1])]
    merged = heapq.merge(*streams, key=lambda fire: fire.start)
    return list(islice(distinct(merged), most))


def distinct(fires: Iterable[Fire]) -> Iterator[Fire]:
    """Yield only the first of those that share a run, as the skipped times of a job do."""
    seen: set[tuple[str, datetime]] = set()
    for fire in fires:
        if fire.slot != fire.schedule:
            key = fire.slot, fire.instant.astimezone(UTC)
            if key in seen:
                continue
            seen.add(key)
        yield fire


def _first(entry: ScheduleEntry, after: datetime) -> datetime | None:
    if isinstance(entry.rule, BootRule):
        return None
    # An instant before ``after`` may, by its jitter, start after it.
    return entry.next_after(after - timedelta(seconds=entry.jitter), anchor=after)


def _fires(entry: ScheduleEntry, first: datetime) -> Iterator[Fire]:
    at: datetime | None = first
    while at is not None:
        yield Fire(entry, at)
        at = entry.next_after(at, anchor=at)


def expression(text: str, *, timezone: str | None, default_zone: str) -> tuple[Rule, ZoneInfo]:
    """Return the rule and zone of an expression; raises ``UsageError`` naming field and column."""
    try:
        zone = load_zone(timezone or default_zone)
        return parse_rule(text, timezone=zone.key), zone
    except ScheduleError as error:
        wrong = UsageError(f"{text!r}: {error}")
        wrong.field, wrong.column = error.field, error.column
        raise wrong from error


def next_of(rule: Rule, zone: ZoneInfo, *, most: int, after: datetime) -> list[datetime]:
    """Return the next ``most`` instants of a rule, in its zone."""
    out: list[datetime] = []
    at = rule.next_after(after, anchor=after)
    while at is not None and len(out) < most:
        out.append(at.astimezone(zone))
        at = rule.next_after(at, anchor=at)
    return out


def moment(text: str, *, zone: str) -> datetime:
    """Return an instant written as ISO 8601; without an offset it is in ``zone``.

    Raises ``UsageError`` for anything else, and for times before 1900: what is worked out for them
    would not be what was asked for.
    """
    default = zone_named(zone)
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=default)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no date and time; write for example 2030-12-24T18:00 "
            "or 2030-12-24T18:00:00+01:00"
        ) from error
    if found.year < EARLIEST:
        raise UsageError(f"{text!r} is too long ago: use a time in or after {EARLIEST}")
    return found


def zone_named(name: str) -> ZoneInfo:
    """Return a zone; raises ``UsageError`` with the nearest names."""
    try:
        return load_zone(name)
    except ScheduleError as error:
        raise UsageError(str(error)) from error


def default_zone(session: Session) -> str:
    """Return the zone of times and schedules that name none."""
    return session.settings.timezone or host_zone()


def require_scheduled(session: Session, job: str) -> None:
    """Raise ``NotFoundError`` when a job has no schedule."""
    if not session.job(job).schedules:
        raise NotFoundError(f"job {job} has no schedule; it runs when it is submitted")
