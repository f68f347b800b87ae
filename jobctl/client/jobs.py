"""Jobs with what the store knows of them."""

from __future__ import annotations

from datetime import timedelta

from jobctl.client.schedules import Fire, entries
from jobctl.client.views import job_kind
from jobctl.errors import NotAcceptedError, NotPermittedError, UnreachableError
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from jobctl.client.open import Session
    from jobctl.errors import JobctlError
    from jobctl.model.job import JobDef
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.run import Run

AVERAGED = 10
"""Newest successful runs whose mean duration is shown."""


class JobRow:
    """One job in a listing."""

    __slots__ = ("average", "job", "kind", "last", "next", "rules")

    def __init__(self, job: JobDef) -> None:
        self.job = job
        self.kind = job_kind(job)
        self.rules = [definition.rule for definition in job.schedules]
        self.next: Fire | None = None
        self.last: Run | None = None
        self.average: float | None = None
        """Seconds."""


def job_rows(session: Session) -> tuple[list[JobRow], JobctlError | None]:
    """Return all jobs, and what keeps the store from saying more about them, if anything does."""
    rows = {name: JobRow(job) for name, job in session.config.jobs.items()}
    try:
        _add_next(session, rows)
        _add_history(session, rows)
    except (UnreachableError, NotAcceptedError, NotPermittedError) as error:
        _guess_next(session, rows)
        return list(rows.values()), error
    return list(rows.values()), None


def _add_next(session: Session, rows: dict[str, JobRow]) -> None:
    """Add what is to come, live schedules and what is switched off included."""
    from jobctl.client.known_schedules import (  # noqa: PLC0415 (not where there is no store)
        Catalogue,
        outlook,
    )

    catalogue = Catalogue(session)
    for name, job in catalogue.config.jobs.items():
        rows[name].rules = [definition.rule for definition in job.schedules]
    for fire in outlook(session, catalogue.entries()):
        row = rows[fire.job]
        row.next = row.next or fire


def _guess_next(session: Session, rows: dict[str, JobRow]) -> None:
    """Add what is to come as far as jobs.toml tells."""
    now = session.clock.now()
    nearest: dict[str, tuple[datetime, ScheduleEntry, datetime]] = {}
    for entry in entries(session):
        at = entry.next_after(now, anchor=now)
        if at is None:
            continue
        start, known = at + timedelta(seconds=entry.jitter), nearest.get(entry.job.name)
        if known is None or start < known[0]:
            nearest[entry.job.name] = (start, entry, at)
    for name, (_, entry, at) in nearest.items():
        rows[name].next = Fire(entry, at)


def _add_history(session: Session, rows: dict[str, JobRow]) -> None:
    keys = session.keys
    names = list(rows)
    if not names:
        return
    latest = session.run_many([queries.latest(keys, name) for name in names])
    histories = session.run_many([queries.history(keys, name, newest=AVERAGED) for name in names])
    known = {name: run_id for name, run_id in zip(names, latest, strict=True) if run_id}
    runs = (
        session.run_many([queries.run_or_broken(keys, one) for one in known.values()])
        if known
        else []
    )
    for name, run in zip(known, runs, strict=True):
        rows[name].last = run
    pairs = [(name, one) for name, ids in zip(names, histories, strict=True) for one in ids]
    calls = [queries.duration(keys, one) for _, one in pairs]
    durations: dict[str, list[float]] = {}
    for (name, _), duration in zip(pairs, session.run_many(calls) if calls else (), strict=True):
        if duration is not None:
            durations.setdefault(name, []).append(duration)
    for name, found in durations.items():
        rows[name].average = sum(found) / len(found)
