"""``next``: when jobs run, or what an expression means."""

from __future__ import annotations

from datetime import timedelta

from jobctl.cli import values
from jobctl.cli.render import full_time, short
from jobctl.cli.table import clean, columns
from jobctl.client import schedules
from jobctl.errors import ExitCode, JobctlError, UsageError
from jobctl.host import host_zone
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from jobctl.cli.invocation import Invocation
    from jobctl.client.legend import Legend
    from jobctl.client.schedules import Fire
    from jobctl.model.rules import ScheduleEntry

DEFAULT_NUMBER = 10
MOST_EXAMINED = 1000
"""Of more schedules only those in the list are put in words, and looked at for changes of clocks."""
MOST_LEGENDS = 20
"""So many schedules are put in words below a list; all of them for one job."""
MOST_CHANGES = 6
"""So many changes of the clock are told of each."""


def upcoming(
    call: Invocation,
    *,
    job: str | None,
    number: str | None,
    from_: str | None,
    schedule: str | None,
    timezone: str | None,
    explain: bool,
) -> int:
    """Show the next instants of jobs, or of an expression."""
    most = values.number(number, default=DEFAULT_NUMBER)
    if schedule is not None:
        if job is not None:
            raise UsageError("name a job or give --schedule, not both")
        return _of_expression(
            call, schedule, most=most, from_=from_, timezone=timezone, explain=explain
        )
    zone = schedules.zone_named(timezone or schedules.default_zone(call.session)).key
    after = call.session.clock.now() if from_ is None else schedules.moment(from_, zone=zone)
    if job is not None:
        schedules.require_scheduled(call.session, job)
    entries = schedules.all_entries(call.session, job)
    fires = schedules.next_fires(
        call.session,
        most=most,
        after=after,
        job=job,
        among=[entry for entry in entries if entry.active],
    )
    console = call.console
    if console.json:
        body: dict[str, object] = {
            "next": [_rfc3339(fire.start) for fire in fires],
            "jobs": [fire.job for fire in fires],
            "scheduled_at": [_rfc3339(fire.instant) for fire in fires],
        }
        if explain:
            legends = _legends(entries, fires, after=after, job=job)
            body["schedules"] = [_view(legend) for legend in legends]
        console.document(body)
        return ExitCode.OK
    _list(call, fires)
    if not console.quiet:
        legends = _legends(entries, fires, after=after, job=job)
        _tell(call, legends, most=MOST_LEGENDS if job is None else len(legends))
    return ExitCode.OK


def _list(call: Invocation, fires: Sequence[Fire]) -> None:
    now = call.session.clock.now()
    rows = []
    for fire in fires:
        offset = (fire.start - fire.instant).total_seconds()
        rows.append(
            (
                full_time(fire.start),
                short((fire.start - now).total_seconds()),
                fire.job,
                fire.zone.key,
                f"{fire.instant.strftime('%H:%M:%S')} + {format_duration(offset)}"
                if offset
                else "",
            )
        )
    for line in columns(("NEXT", "IN", "JOB", "ZONE", "WITH JITTER"), rows, right=(1,)):
        call.console.data(line)
    if not rows:
        call.console.note("nothing is scheduled")


def _legends(
    entries: Sequence[ScheduleEntry], fires: Sequence[Fire], *, after: datetime, job: str | None
) -> list[Legend]:
    """Return the words for one job's schedules, or for those that the list or a clock concerns."""
    from jobctl.client.legend import clock_changes_for, legend_of_entry

    until = max((fire.instant for fire in fires), default=after)
    shown = {fire.schedule for fire in fires}
    if len(entries) > MOST_EXAMINED:
        entries = [entry for entry in entries if entry.name in shown]
    elif job is None:
        entries = [
            entry
            for entry in entries
            if entry.name in shown or clock_changes_for(entry, after=after, until=until)
        ]
    now = _now()
    return [legend_of_entry(entry, after=after, until=until, now=now) for entry in entries]


def _tell(call: Invocation, legends: Sequence[Legend], *, most: int) -> None:
    call.console.flush()  # The words belong below the list, wherever both go.
    for legend in legends[:most]:
        call.console.talk(f"{clean(legend.name)}: {legend.explain}")
        _tell_rest(call, legend, legend.warnings)
    if len(legends) > most:
        call.console.note(
            f"{values.counted(len(legends) - most, 'more schedule')} not put in words: "
            "name a job, or use --json --explain"
        )


def _tell_rest(call: Invocation, legend: Legend, warnings: Iterable[str]) -> None:
    for remark in legend.remarks:
        call.console.talk(f"  {clean(remark)}")
    for note in legend.clock[:MOST_CHANGES]:
        call.console.talk(f"  {note.text}")
    if len(legend.clock) > MOST_CHANGES:
        more = values.counted(len(legend.clock) - MOST_CHANGES, "more change")
        call.console.talk(f"  {more} of the clock concern it within the list")
    for warning in warnings:
        call.console.talk(f"  warning: {warning}")


def _view(legend: Legend) -> dict[str, object]:
    return {
        "schedule": legend.name or None,
        "rule": legend.rule.text,
        "kind": legend.rule.kind,
        "timezone": legend.zone.key,
        "explain": legend.explain,
        "remarks": list(legend.remarks),
        "warnings": list(legend.warnings),
        "clock_changes": [
            {"code": note.code, "at": _rfc3339(note.instant), "text": note.text}
            for note in legend.clock
        ],
    }


def _of_expression(
    call: Invocation,
    text: str,
    *,
    most: int,
    from_: str | None,
    timezone: str | None,
    explain: bool,
) -> int:
    from jobctl.client.legend import legend_of_rule

    rule, zone = schedules.expression(
        text, timezone=timezone, default_zone=_zone_without_config(call)
    )
    after = schedules.moment(from_, zone=zone.key) if from_ is not None else _now()
    found = schedules.next_of(rule, zone, most=most, after=after)
    legend = legend_of_rule(rule, zone, after=after, until=found[-1] if found else after)
    console = call.console
    if console.json:
        body: dict[str, object] = {"next": [_rfc3339(one) for one in found]}
        if explain:
            body["schedules"] = [_view(legend)]
        console.document(body)
        return ExitCode.OK
    console.talk(rule.explain())
    for warning in rule.warnings:
        console.note(f"warning: {warning}")
    for one in found:
        console.data(f"{full_time(one)} {one.strftime('%a')} {zone.key}")
    if not found:
        console.note("it names no further instant")
    console.flush()
    _tell_rest(call, legend, ())
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
