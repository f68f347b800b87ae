"""``jobs``: what is defined, when it runs next and how it ended last."""

from __future__ import annotations

from jobctl.cli.render import clock_time, short, state_style, zone_of
from jobctl.cli.table import columns
from jobctl.client.jobs import job_rows
from jobctl.client.views import instant
from jobctl.errors import ExitCode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

    from jobctl.cli.invocation import Invocation
    from jobctl.client.jobs import JobRow

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
