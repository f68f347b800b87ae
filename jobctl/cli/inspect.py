"""``inspect``: everything known about a run or a job."""

from __future__ import annotations

import json

from jobctl.cli.render import (
    clock_time,
    describe_end,
    describe_progress,
    elapsed,
    full_time,
    short,
    state_style,
    zone_of,
)
from jobctl.cli.table import clean
from jobctl.client.explain import why
from jobctl.client.open import shown
from jobctl.client.references import fetch
from jobctl.client.results import is_wrapped, result_for_view
from jobctl.client.schedules import next_fires
from jobctl.client.views import job_view, run_view, visible_arguments
from jobctl.client.zone_data import zone_data
from jobctl.errors import ExitCode, NotFoundError, UnreachableError
from jobctl.model.units import format_size
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from jobctl.cli.invocation import Invocation
    from jobctl.model.job import JobDef
    from jobctl.model.run import AttemptRecord, Run

LABEL = 14
MOST_ERROR_LINES = 12


def inspect(call: Invocation, *, run: str) -> int:
    """Show a run; a job's name shows its definition and its latest run."""
    job = call.session.find_job(run)
    if job is not None:
        return _inspect_job(call, job)
    found = fetch(call.session, run)
    console = call.console
    reasons = why(call.session, found)
    definition = call.session.find_job(found.job)
    if console.json:
        shown = run_view(found, definition, allow_pickle=call.session.settings.allow_pickle)
        console.document({"run": shown, "why": reasons})
        return ExitCode.OK
    for line in _run_lines(call, found, reasons, definition):
        console.data(line)
    return ExitCode.OK


def _inspect_job(call: Invocation, job: JobDef) -> int:
    run: Run | None = None
    code: int = ExitCode.OK
    try:
        run = _latest(call, job.name)
    except NotFoundError as error:
        call.console.note(str(error))
    except UnreachableError as error:
        # The definition needs no store; its runs are not known, which is not "none".
        call.console.fail(error)
        code = error.exit_code
    console = call.console
    pickles = call.session.settings.allow_pickle
    fires = next_fires(call.session, most=3, after=call.session.clock.now(), job=job.name)
    if console.json:
        console.document(
            {
                "job": job_view(job),
                "run": None if run is None else run_view(run, job, allow_pickle=pickles),
                "next": [fire.start.isoformat(timespec="seconds") for fire in fires],
                "zone_data": zone_data() if job.schedules else None,
            }
        )
        return code
    for name, value in job_view(job).items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        console.data(_styled(name, text))
    for index, fire in enumerate(fires):
        console.data(_field("" if index else "next", f"{full_time(fire.start)} {fire.zone.key}"))
    if fires:
        console.data(_field("", f"by {zone_data()}"))
    if code != ExitCode.OK:
        return code
    console.data("")
    if run is None:
        console.data("no run yet")
        return ExitCode.OK
    for line in _run_lines(call, run, why(call.session, run), job):
        console.data(line)
    return ExitCode.OK


def _latest(call: Invocation, job: str) -> Run | None:
    run_id = call.session.run(queries.latest(call.session.keys, job))
    if run_id is None:
        return None
    return call.session.run(queries.run_or_broken(call.session.keys, run_id))


def _run_lines(call: Invocation, run: Run, reasons: list[str], job: JobDef | None) -> Iterator[str]:
    console = call.console
    request = run.request
    yield _field("run", run.id)
    yield _field("job", run.job)
    yield _styled("state", console.style(run.state.value, state_style(run.state.value) or "bold"))
    for index, reason in enumerate(reasons):
        yield _field("" if index else "why", reason)
    yield _field("queue", f"{request.queue}, priority {request.priority}")
    yield _field(
        "trigger", request.trigger + (f" by {request.submitter}" if request.submitter else "")
    )
    args, kwargs = visible_arguments(run, job)
    if args:
        yield _field(
            "args",
            " ".join(shown(arg) if isinstance(arg, str) else json.dumps(arg) for arg in args),
        )
    for name, value in kwargs.items():
        yield _field("", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    if request.tags:
        yield _field("tags", " ".join(f"{name}={value}" for name, value in request.tags.items()))
    if request.retry_of:
        yield _field("retry of", request.retry_of)
    if request.parent is not None:
        parent = request.parent
        why = f" ({parent.reason})" if parent.reason else ""
        label = "hook of" if request.trigger == "hook" else "part of"
        yield _field(label, f"{parent.run}, {parent.job}: {parent.state}{why}")
    yield from _time_lines(call, run)
    yield from _end_lines(run, allow_pickle=call.session.settings.allow_pickle)
    for attempt in run.attempts:
        yield _field(f"attempt {attempt.number}", _attempt(attempt, zone_of(call.session)))
        if attempt.traceback:
            yield from _traceback_lines(attempt.traceback)


def _time_lines(call: Invocation, run: Run) -> Iterator[str]:
    zone = zone_of(call.session)
    yield _field("submitted", clock_time(run.submitted_at, zone=zone))
    for label, moment in (
        ("scheduled for", run.request.scheduled_at),
        ("not before", run.not_before),
        ("expires", None if run.state.final else run.expires_at),
        ("started", run.started_at),
        ("finished", run.finished_at),
    ):
        if moment is not None:
            yield _field(label, clock_time(moment, zone=zone))
    took = elapsed(run, call.session.clock.epoch())
    if took is not None:
        yield _field("took", short(took))
    if run.host:
        yield _field("host", run.host + (f", pid {run.pid}" if run.pid else ""))


def _end_lines(run: Run, *, allow_pickle: bool) -> Iterator[str]:
    progress = describe_progress(run)
    if progress:
        yield _field("progress", progress)
    if run.state.final:
        yield _field("ended", describe_end(run).removeprefix(f"{run.id} "))
    if run.error:
        for index, line in enumerate(run.error.splitlines()[-MOST_ERROR_LINES:]):
            yield _field("" if index else "error", line)
    if run.result is not None:
        seen = run.result
        if is_wrapped(seen):
            seen = json.dumps(result_for_view(seen, allow_pickle=allow_pickle), ensure_ascii=False)
        yield _field("result", clean(seen)[:500])


def _traceback_lines(text: str) -> Iterator[str]:
    """Return a traceback below its attempt, indented as Python does, its lines kept whole."""
    for line in text.splitlines():
        yield _field("", line)


def _attempt(attempt: AttemptRecord, zone: tzinfo | None) -> str:
    parts = [attempt.outcome]
    if attempt.reason:
        parts.append(attempt.reason)
    if attempt.exit_code:
        parts.append(f"exit {attempt.exit_code}")
    if attempt.signal:
        parts.append(f"signal {attempt.signal}")
    parts.append(f"started {clock_time(attempt.started_at, zone=zone)}")
    parts.append(f"took {short(attempt.duration)}")
    usage = attempt.usage
    parts.append(f"cpu {short(usage.user + usage.system)}")
    if usage.max_rss:
        parts.append(f"memory {format_size(usage.max_rss)}")
    if attempt.log_bytes:
        parts.append(
            f"output {format_size(attempt.log_bytes)}" + (" (cut)" if attempt.log_truncated else "")
        )
    if attempt.host:
        parts.append(f"on {attempt.host}")
    return ", ".join(parts)


def _field(label: str, text: str) -> str:
    return _styled(label, clean(text))


def _styled(label: str, text: str) -> str:
    return f"{label + ':' if label else '':{LABEL}} {text}".rstrip()
