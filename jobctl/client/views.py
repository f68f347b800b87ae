"""Runs, attempts and jobs as JSON-ready data: the stable form of ``--json``.

Times are RFC 3339 in UTC, durations seconds, sizes bytes; what is absent is ``None``. Values of
parameters declared ``secret`` are masked.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from jobctl.client.results import result_for_view
from jobctl.model.config import to_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.job import JobDef
    from jobctl.model.run import AttemptRecord, Parent, Run

SCHEMA = 1
MASK = "***"


def instant(seconds: float | None) -> str | None:
    """Return epoch seconds as RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run_view(
    run: Run, job: JobDef | None = None, *, allow_pickle: bool = False
) -> dict[str, object]:
    """Return everything about a run; ``job`` tells which arguments are secret.

    A pickled result stays wrapped unless ``allow_pickle``.
    """
    request = run.request
    args, kwargs = visible_arguments(run, job)
    return {
        "id": run.id,
        "job": run.job,
        "state": run.state.value,
        "reason": run.reason,
        "attempt": run.attempt,
        "max_attempts": None if request.max_attempts < 0 else request.max_attempts,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "queue": request.queue,
        "priority": request.priority,
        "trigger": request.trigger,
        "submitted_at": instant(run.submitted_at),
        "scheduled_at": instant(request.scheduled_at),
        "not_before": instant(run.not_before),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "duration": run.duration,
        "host": run.host,
        "pid": run.pid,
        "args": args,
        "kwargs": kwargs,
        "tags": dict(request.tags),
        "error": run.error,
        "result": result_for_view(run.result, allow_pickle=allow_pickle),
        "progress": loads(run.progress),
        "retry_of": request.retry_of,
        "parent": parent_view(request.parent),
        "expires_at": instant(run.expires_at),
        "timeout": request.timeout,
        "submitted_by": request.submitter or None,
        "waits_for": run.waits_for,
        "blocked_by": None if run.blocked_by is None else list(run.blocked_by),
        "lost": run.lost,
        "attempts": [attempt_view(item) for item in run.attempts],
    }


def parent_view(parent: Parent | None) -> dict[str, object] | None:
    """Return what the run of a hook is about."""
    if parent is None:
        return None
    return {
        "id": parent.run,
        "job": parent.job,
        "state": parent.state,
        "attempt": parent.attempt,
        "reason": parent.reason or None,
        "exit_code": parent.exit_code,
        "error": parent.error or None,
    }


def attempt_view(attempt: AttemptRecord) -> dict[str, object]:
    """Return everything about one attempt."""
    return {
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "error": attempt.error,
        "traceback": attempt.traceback,
        "host": attempt.host,
        "pid": attempt.pid,
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "duration": attempt.duration,
        "cpu_user": attempt.usage.user,
        "cpu_system": attempt.usage.system,
        "max_rss": attempt.usage.max_rss,
        "read_blocks": attempt.usage.read_blocks,
        "write_blocks": attempt.usage.write_blocks,
        "log_bytes": attempt.log_bytes,
        "log_truncated": attempt.log_truncated,
    }


def job_view(job: JobDef) -> dict[str, object]:
    """Return a definition: what differs from the defaults; of ``env`` only the names."""
    plain: dict[str, object] = dict(to_plain(job))  # type: ignore[call-overload]  # of a dataclass
    if job.env:
        plain["env"] = dict.fromkeys(job.env, MASK)
    if job.stdin is not None:
        plain["stdin"] = MASK
    if job.ping_url is not None:
        plain["ping_url"] = MASK
    # Only what depends on it is of interest.
    for internal in ("overlap_written", "of_function"):
        plain.pop(internal, None)
    plain["kind"] = job_kind(job)
    return plain


def job_kind(job: JobDef) -> str:
    """Return ``shell``, ``exec`` or ``python``."""
    if job.python is not None:
        return "python"
    return "shell" if isinstance(job.command, str) else "exec"


def masked(view: dict[str, object]) -> dict[str, object]:
    """Return the view of a run of which nobody here knows what is secret: without its arguments."""
    args, kwargs = view["args"], view["kwargs"]
    return view | {
        "args": [MASK for _ in args],  # type: ignore[attr-defined]  # a list
        "kwargs": dict.fromkeys(kwargs, MASK),  # type: ignore[call-overload]  # a dict
    }


def visible_arguments(run: Run, job: JobDef | None) -> tuple[list[object], dict[str, object]]:
    """Return the arguments of a run without the secret ones."""
    args, kwargs = list(run.request.args), dict(run.request.kwargs)
    for index, spec in enumerate(job.params if job is not None else ()):
        if not spec.secret:
            continue
        if index < len(args):
            args[index] = MASK
        if spec.name in kwargs:
            kwargs[spec.name] = MASK
    return args, kwargs


def loads(text: str | None) -> object:
    """Return stored JSON as data; what is not JSON stays text, and NaN, which JSON has not, is None."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except ValueError:
        return text
