"""``jobs`` and ``next``: what is defined, and when it runs."""

from __future__ import annotations

from datetime import timedelta

from jobctl.cli import values
from jobctl.cli.render import clock_time, full_time, short, state_style, zone_of
from jobctl.cli.table import columns
from jobctl.client import schedules
from jobctl.client.jobs import job_rows
from jobctl.client.views import instant
from jobctl.errors import ExitCode, JobctlError, UsageError
from jobctl.host import host_zone
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from jobctl.cli.invocation import Invocation
    from jobctl.client.jobs import JobRow

DEFAULT_NUMBER = 10
HEAD = ("JOB", "KIND", "SCHEDULE", "NEXT", "LAST", "RESULT", "AVG")


def jobs(call: Invocation) -> int:
    """Show every job; without a store, what is in it stays empty."""
    rows, trouble = job_rows(call.session)
    console = call.console
    if trouble is not None:
        console.note(f"{trouble}; last runs are not shown")
    if console.json:
        console.document({"jobs": [_view(row) for row in rows]})
        return ExitCode.OK
    if not rows:
        console.note(f"{call.session.path} defines no jobs")
        return ExitCode.OK

    def paint(column: int, cell: str, padded: str) -> str:
        if column < 0:
            return console.style(padded, "bold")
        return (
            console.style(padded, state_style(cell.split(" ", maxsplit=1)[0]))
            if column == HEAD.index("RESULT")
            else padded
        )

    zone = zone_of(call.session)
    for line in columns(HEAD, [_cells(row, zone) for row in rows], paint=paint):
        console.data(line)
    return ExitCode.OK


def _cells(row: JobRow, zone: tzinfo | None) -> tuple[str, ...]:
    upcoming = "-"
    if row.next is not None:
        upcoming = row.next.start.strftime("%Y-%m-%d %H:%M:%S %z")
    last = row.last
    return (
        row.job.name,
        row.kind,
        ", ".join(row.rules) or "-",
        "off" if not row.job.enabled else upcoming,
        clock_time(last.finished_at or last.submitted_at, zone=zone) if last is not None else "-",
        last.state.value if last is not None else "-",
        short(row.average),
    )


def _view(row: JobRow) -> dict[str, object]:
    last = row.last
    return {
        "job": row.job.name,
        "kind": row.kind,
        "enabled": row.job.enabled,
        "description": row.job.description,
        "schedules": list(row.rules),
        "next": None if row.next is None else row.next.start.isoformat(timespec="seconds"),
        "last_run": None if last is None else last.id,
        "last_state": None if last is None else last.state.value,
        "last_finished_at": None if last is None else instant(last.finished_at),
        "average_duration": row.average,
    }


def upcoming(
    call: Invocation,
    *,
    job: str | None,
    number: str | None,
    from_: str | None,
    schedule: str | None,
    timezone: str | None,
) -> int:
    """Show the next instants of jobs, or of an expression."""
    most = values.number(number, default=DEFAULT_NUMBER)
    if schedule is not None:
        if job is not None:
            raise UsageError("name a job or give --schedule, not both")
        return _of_expression(call, schedule, most=most, from_=from_, timezone=timezone)
    zone = timezone or schedules.default_zone(call.session)
    after = call.session.clock.now() if from_ is None else schedules.moment(from_, zone=zone)
    if job is not None:
        schedules.require_scheduled(call.session, job)
    fires = schedules.next_fires(call.session, most=most, after=after, job=job)
    console = call.console
    if console.json:
        console.document(
            {
                "next": [fire.start.isoformat(timespec="seconds") for fire in fires],
                "jobs": [fire.job for fire in fires],
                "scheduled_at": [fire.instant.isoformat(timespec="seconds") for fire in fires],
            }
        )
        return ExitCode.OK
    rows = []
    for fire in fires:
        offset = (fire.start - fire.instant).total_seconds()
        rows.append(
            (
                full_time(fire.start),
                short((fire.start - call.session.clock.now()).total_seconds()),
                fire.job,
                fire.zone.key,
                f"{fire.instant.strftime('%H:%M:%S')} + {format_duration(offset)}"
                if offset
                else "",
            )
        )
    for line in columns(("NEXT", "IN", "JOB", "ZONE", "WITH JITTER"), rows, right=(1,)):
        console.data(line)
    if not rows:
        console.note("nothing is scheduled")
    return ExitCode.OK


def _of_expression(
    call: Invocation, text: str, *, most: int, from_: str | None, timezone: str | None
) -> int:
    rule, zone = schedules.expression(
        text, timezone=timezone, default_zone=_zone_without_config(call)
    )
    after = schedules.moment(from_, zone=zone.key) if from_ is not None else _now()
    found = schedules.next_of(rule, zone, most=most, after=after)
    console = call.console
    if console.json:
        console.document({"next": [_rfc3339(one) for one in found]})
        return ExitCode.OK
    console.talk(rule.explain())
    for warning in rule.warnings:
        console.note(f"warning: {warning}")
    for one in found:
        console.data(f"{full_time(one)} {one.strftime('%a')} {zone.key}")
    if not found:
        console.note("it names no further instant")
    return ExitCode.OK


def _rfc3339(moment: datetime) -> str:
    precise = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=precise)


def _zone_without_config(call: Invocation) -> str:
    """Return the default zone; an expression can be tried where there is no jobs.toml."""
    if call.config is None:
        from jobctl.config.paths import find_config

        try:
            find_config(None)
        except JobctlError:
            return host_zone()
    return schedules.default_zone(call.session)


def _now() -> datetime:
    from jobctl.clock import SYSTEM_CLOCK

    # To the second before: "@every" counts from here.
    now = SYSTEM_CLOCK.now()
    return now - timedelta(microseconds=now.microsecond)
