"""Runs that ``on_failure``, ``on_success`` and ``on_retry`` ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.model.admission import NewRun, admission_for, unique_digest
from jobctl.model.ids import derived_id
from jobctl.model.notices import RETRY
from jobctl.model.params import bind
from jobctl.model.run import LETTERS, Parent, Request, RunState

if TYPE_CHECKING:
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef
    from jobctl.model.notices import Notice

TRIGGER = "hook"


def hook_run(notice: Notice, hook: JobDef, *, config: Config, host: str) -> NewRun:
    """Return the run of ``hook`` that a notice asks for; raises ``UsageError`` for its arguments.

    Its id comes from the notice, so that asking twice makes one run.
    """
    args, kwargs = bind(hook, hook.args, hook.kwargs, text=False)
    namespace = config.settings.namespace
    state = RunState.RETRYING if notice.event == RETRY else LETTERS[notice.event]
    # A run has as many ends and attempts as there are epochs; the number tells them apart.
    run_id = derived_id(namespace, TRIGGER, notice.run, str(notice.number), hook.name)
    request = Request(
        id=run_id,
        job=hook.name,
        args=args,
        kwargs=kwargs,
        tags=hook.tags,
        queue=hook.queue,
        priority=hook.priority,
        max_attempts=hook.retry.retries + 1 if hook.retry.retries >= 0 else -1,
        trigger=TRIGGER,
        submitter=f"{TRIGGER}@{host}",
        parent=Parent(
            run=notice.run,
            job=notice.job,
            state=state.value,
            attempt=notice.attempt,
            reason=notice.reason,
            exit_code=notice.exit_code,
            error=notice.error,
        ),
    )
    return NewRun(
        request=request,
        admission=admission_for(hook, queue=config.queues.get(hook.queue), depth=notice.depth + 1),
        expires_in=hook.expires,
        unique=unique_digest(hook, args, kwargs),
    )
