"""The run that a schedule makes: of one instant, by hand, or to fill a gap in its past. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from jobctl.model.admission import NewRun, admission_for, unique_digest
from jobctl.model.ids import derived_id
from jobctl.model.run import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.job import QueueDef
    from jobctl.model.rules import ScheduleEntry

CATCHUP = "catchup"


def queue_of(entry: ScheduleEntry) -> str:
    """Return the queue of a schedule's runs."""
    return entry.definition.queue or entry.job.queue


def instant_id(namespace: str, entry: ScheduleEntry, instant: float, *, of: str = "") -> str:
    """Return the id of the run of an instant (epoch seconds): whoever decides it makes the same one."""
    slot = entry.slot(datetime.fromtimestamp(instant, UTC))
    return derived_id(namespace, slot, *([of] if of else []), str(round(instant * 1000)))


def run_of(
    entry: ScheduleEntry,
    *,
    run_id: str,
    trigger: str,
    submitter: str,
    queue: QueueDef | None,
    scheduled_at: float | None = None,
    force: bool = False,
) -> NewRun:
    """Return a run with a schedule's arguments, queue, priority and expiry; it starts at once.

    ``queue`` is what is known of :func:`queue_of`; ``force`` lets the run overlap with others.
    """
    job, definition = entry.job, entry.definition
    request = Request(
        id=run_id,
        job=job.name,
        args=definition.args,
        kwargs=definition.kwargs,
        tags=job.tags,
        queue=queue_of(entry),
        priority=job.priority if definition.priority is None else definition.priority,
        max_attempts=job.retry.retries + 1 if job.retry.retries >= 0 else -1,
        trigger=trigger,
        scheduled_at=scheduled_at,
        submitter=submitter,
    )
    return NewRun(
        request=request,
        admission=admission_for(job, queue=queue, force=force),
        expires_in=job.expires if definition.expires is None else definition.expires,
        unique=unique_digest(job, definition.args, definition.kwargs),
    )


def scheduled_run(
    entry: ScheduleEntry,
    *,
    namespace: str,
    instant: float,
    kind: str,
    now: float,
    host: str,
    queue: QueueDef | None,
) -> NewRun:
    """Return the run of one scheduled instant; ``kind`` is that of the plan. Times are epoch seconds."""
    run = run_of(
        entry,
        run_id=instant_id(namespace, entry, instant),
        trigger=CATCHUP if kind == CATCHUP else "schedule",
        submitter=f"schedule@{host}",
        queue=queue,
        scheduled_at=instant,
    )
    if kind != CATCHUP or not entry.jitter:
        return replace(run, start_at=instant + entry.jitter)
    # What is made up for after a boot is spread as what is in time. The start that was drawn is
    # kept with the run, so another boot does not push it out again.
    run = replace(run, start_at=now + entry.jitter)
    deadline = entry.job.start_deadline
    if deadline is None:
        return run
    left = max(instant + entry.jitter + deadline - now, 0.0)
    return replace(run, expires_in=left if run.expires_in is None else min(left, run.expires_in))
