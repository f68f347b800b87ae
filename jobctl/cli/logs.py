"""``logs``: what runs printed."""

from __future__ import annotations

from jobctl.cli import values
from jobctl.cli.render import painted
from jobctl.client import logs as client
from jobctl.client.references import fetch, resolve
from jobctl.client.waiting import exit_code
from jobctl.errors import ExitCode, TimedOutError, UsageError
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.cli.invocation import Invocation


def logs(
    call: Invocation, *, run: str, follow: bool, lines: str | None, attempt: str | None
) -> int:
    """Write the output of a run to stdout, as it was printed."""
    most = values.integer("--lines", lines)
    number = values.integer("--attempt", attempt, least=1)
    if follow:
        if number is not None:
            raise UsageError(
                "--follow shows the newest attempt and those after it; leave out --attempt"
            )
        _pass_on(call, _followed(call, resolve(call.session, run), lines=most, timeout=None))
        return ExitCode.OK
    found = fetch(call.session, run)
    _pass_on(call, client.read(call.session, found, attempt=number, lines=most))
    if not found.attempt and not found.attempts:
        call.console.note(f"run {found.id} is {found.state.value} and has not started")
    return ExitCode.OK


def follow_to_end(call: Invocation, run_id: str, *, timeout: float | None) -> int:
    """Show a run's output until it ends, then exit with the job's own code."""
    _pass_on(call, _followed(call, run_id, lines=None, timeout=timeout))
    (run,) = call.session.outlast([queries.run(call.session.keys, run_id)])
    if run is not None:
        call.console.talk(painted(call.console, run))
    return exit_code(run)


def _followed(
    call: Invocation, run_id: str, *, lines: int | None, timeout: float | None
) -> Iterator[bytes]:
    call.parting.words = "the run goes on"
    clock = call.session.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    chunks = client.follow(
        call.session,
        run_id,
        lines=lines,
        on_attempt=lambda number: call.console.talk(f"--- attempt {number} ---"),
        deadline=deadline,
    )
    yield from chunks
    if deadline is not None and clock.monotonic() >= deadline:
        raise TimedOutError(f"run {run_id} has not ended; it goes on")


def _pass_on(call: Invocation, chunks: Iterator[bytes]) -> None:
    if not call.console.json:
        for chunk in chunks:
            call.console.raw(chunk)
        return
    for chunk in chunks:
        call.console.document({"output": chunk.decode("utf-8", "backslashreplace")})
