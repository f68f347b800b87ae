"""Runs of eager mode that nobody submits: those of hooks and of schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.engine.hooks import hook_run
from jobctl.errors import UsageError
from jobctl.model.ids import derived_id
from jobctl.model.notices import Notice, hooks_of
from jobctl.model.run import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session
    from jobctl.model.admission import NewRun
    from jobctl.model.job import JobDef
    from jobctl.model.run import Run
    from jobctl.testing.clock import Start

HOST = "eager"
MOST_ERROR = 300
"""Characters of an error that a hook is told."""


class HookError(UsageError):
    """Raised when a hook does not take the arguments that its job says."""


def hook_runs(
    run: Run, job: JobDef, *, session: Session, depth: int, number: int, now: float
) -> Iterator[NewRun]:
    """Yield what a run asks for that has come to an end, or whose attempt is followed by another.

    ``depth`` is how many runs are above it, ``number`` tells its ends and attempts apart. Hooks
    that are commands are left out.
    """
    notice = Notice(
        raw=b"",
        number=number,
        event=run.letter,
        run=run.id,
        job=run.job,
        attempt=run.attempt,
        at=now,
        reason=run.reason or "",
        exit_code=run.exit_code,
        error=(run.error or "")[:MOST_ERROR],
        depth=depth,
    )
    for name in hooks_of(notice, job):
        hook = session.find_job(name)
        if hook is None or hook.python is None:
            continue
        try:
            yield hook_run(notice, hook, config=session.config, host=HOST)
        except UsageError as error:
            raise HookError(f"hook {name} of job {job.name}: {error}") from error


def scheduled(job: JobDef, start: Start, *, namespace: str) -> Request:
    """Return what a schedule asks for at one of its instants."""
    definition = next(one for one in job.schedules if one.name == start.schedule)
    instant = start.instant.timestamp()
    return Request(
        id=derived_id(namespace, start.schedule, str(round(instant * 1000))),
        job=job.name,
        args=definition.args,
        kwargs=dict(definition.kwargs),
        tags=dict(job.tags),
        queue=definition.queue or job.queue,
        priority=job.priority if definition.priority is None else definition.priority,
        max_attempts=job.retry.retries + 1 if job.retry.retries >= 0 else -1,
        trigger="schedule",
        scheduled_at=instant,
        submitter="schedule",
    )
