"""``list`` and ``result``: runs, and what they returned."""

from __future__ import annotations

from jobctl.cli import values
from jobctl.cli.console import dumps
from jobctl.cli.render import clock_time, elapsed, ending, short, state_style, zone_of
from jobctl.cli.table import columns
from jobctl.client.listing import Filter
from jobctl.client.listing import list_runs as find_runs
from jobctl.client.references import fetch
from jobctl.client.results import as_json, is_wrapped, read_result
from jobctl.client.views import run_view
from jobctl.client.waiting import exit_code
from jobctl.errors import ExitCode, NotAcceptedError, UsageError
from jobctl.model.run import RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation
    from jobctl.model.run import Run

DEFAULT_NUMBER = 20
HEAD = ("RUN", "JOB", "STATE", "ATT", "SUBMITTED", "STARTED", "DURATION", "END", "HOST", "TRIGGER")
STATE_COLUMN = HEAD.index("STATE")


def list_runs(
    call: Invocation,
    *,
    state: str | None,
    job: str | None,
    queue: str | None,
    since: str | None,
    tag: list[str],
    number: str | None,
    ids: bool,
) -> int:
    """Show runs, newest first."""
    most = values.number(number, default=DEFAULT_NUMBER)
    wanted = Filter(
        states=values.states(state),
        job=job,
        queue=queue,
        since=_since(call, since),
        tags=values.pairs("--tag", tag),
    )
    if job is not None and job not in call.session.job_names and not job.startswith("@"):
        _require_known(call, job)
    broken: list[str] = []
    found = find_runs(call.session, wanted, most=most, on_broken=broken.append)
    console = call.console
    if console.json:
        find = call.session.find_job
        console.document({"runs": [run_view(run, find(run.job)) for run in found]})
    elif ids:
        for run in found:
            console.data(run.id)
    elif found:
        _table(call, found)
    elif not broken:
        console.note("no runs fit" if wanted.restricts else "there are no runs yet")
    if broken:
        others = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        console.note(
            f"left out: run {broken[0]}{others}: the record cannot be read; `jobctl inspect` says why"
        )
    return ExitCode.OK


def _require_known(call: Invocation, job: str) -> None:
    """Refuse a job that never was; one that left jobs.toml may still have runs."""
    from jobctl.client.listing import known_jobs

    if job not in known_jobs(call.session):
        call.session.job(job)


def _since(call: Invocation, word: str | None) -> float | None:
    if word is None:
        return None
    from jobctl.client.schedules import default_zone, moment

    if word[:1].isdigit() and "-" in word:
        return moment(word, zone=default_zone(call.session)).timestamp()
    try:
        seconds = values.duration("--since", word)
    except UsageError:
        raise UsageError(
            f"--since: {word[:40]!r} is neither a duration nor a time: write for example '2h', "
            "or 2030-12-24T18:00"
        ) from None
    assert seconds is not None  # noqa: S101 - a word was given
    return call.session.clock.epoch() - seconds


def _table(call: Invocation, found: list[Run]) -> None:
    now = call.session.clock.epoch()
    zone = zone_of(call.session)
    rows = [
        (
            run.id,
            run.job,
            run.state.value,
            str(run.attempt),
            clock_time(run.submitted_at, zone=zone),
            clock_time(run.started_at, zone=zone),
            short(elapsed(run, now)),
            ending(run) if run.state.final else "-",
            run.host or "-",
            run.request.trigger,
        )
        for run in found
    ]

    def paint(column: int, cell: str, padded: str) -> str:
        if column < 0:
            return call.console.style(padded, "bold")
        return call.console.style(padded, state_style(cell)) if column == STATE_COLUMN else padded

    for line in columns(HEAD, rows, paint=paint):
        call.console.data(line)


def result(call: Invocation, *, run: str, raw: bool) -> int:
    """Print what a run returned."""
    found = fetch(call.session, run)
    console = call.console
    if not found.state.final:
        raise NotAcceptedError(
            f"run {found.id} is {found.state.value}; `jobctl wait {found.id}` waits for its end"
        )
    value = read_result(found.result, allow_pickle=call.session.settings.allow_pickle)
    wrapped = found.result is not None and is_wrapped(found.result)
    if wrapped:
        value = as_json(value)
    if console.json:
        console.document(
            {"id": found.id, "state": found.state.value, "result": value, "error": found.error}
        )
    elif found.result is not None:
        if raw and isinstance(value, str):
            console.raw(value.encode("utf-8", "surrogatepass"))
        elif raw and not isinstance(value, str):
            console.raw(dumps(value).encode() if wrapped else found.result.encode())
        else:
            console.value(value)
    elif found.state is RunState.SUCCEEDED:
        console.note(f"run {found.id} returned nothing")
    if found.state is not RunState.SUCCEEDED and not console.json:
        console.note(f"run {found.id} {found.state.value}: {found.error or ending(found)}")
    return exit_code(found)
