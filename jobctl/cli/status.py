"""``status``: of everything there is, or of the runs and jobs named; once, or again and again."""

from __future__ import annotations

import time

from jobctl.cli import values
from jobctl.cli.overview import everything
from jobctl.cli.render import describe_end, state_style
from jobctl.client.references import fetch
from jobctl.client.views import run_view
from jobctl.client.waiting import exit_code
from jobctl.errors import (
    ExitCode,
    NotAcceptedError,
    NotFoundError,
    UnreachableError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from jobctl.cli.invocation import Invocation
    from jobctl.model.run import Run

UNHEALTHY = 3
"""Exit code when a run or job named is not well, as of ``systemctl status``."""
DEFAULT_EVERY = 2.0
DEFAULT_SINCE = 86400.0
SHORTEST_EVERY = 0.1


def status(
    call: Invocation, *, runs: list[str], watch: bool, every: str | None, failed_since: str | None
) -> int:
    """Show everything, or the runs and jobs named."""
    pause = values.duration("--every", every)
    since = values.duration("--failed-since", failed_since)
    if pause is not None and pause < SHORTEST_EVERY:
        raise UsageError(f"--every: {every} is shorter than {SHORTEST_EVERY} s")

    def draw() -> int:
        if runs:
            return _named(call, runs)
        return everything(call, since=DEFAULT_SINCE if since is None else since)

    if not watch and pause is None:
        return draw()
    return _again_and_again(call, draw, every=DEFAULT_EVERY if pause is None else pause)


def _again_and_again(call: Invocation, draw: Callable[[], int], *, every: float) -> NoReturn:
    """Draw until somebody interrupts; once it has worked, a store that is away only interrupts it."""
    drawn = False
    while True:
        try:
            if call.console.on_terminal and not call.console.json:
                call.console.clear()
            draw()
            drawn = True
        except (UnreachableError, NotAcceptedError) as error:
            if not drawn:
                raise
            call.console.note(f"{error}; trying again")
        call.console.flush()
        time.sleep(every)


def _named(call: Invocation, words: Sequence[str]) -> int:
    code: int = ExitCode.OK
    documents: list[dict[str, object]] = []
    for word in words:
        run = _latest_or_none(call, word)
        if run is None:
            if call.console.json:
                documents.append({"job": word, "run": None})
            else:
                call.console.data(f"{word} no run yet")
            continue
        if run.state.final and exit_code(run) != ExitCode.OK:
            code = UNHEALTHY
        if call.console.json:
            documents.append({"job": run.job, "run": run_view(run, call.session.find_job(run.job))})
        else:
            call.console.data(_one_line(call, run))
    if call.console.json:
        call.console.document({"runs": documents})
    return code


def _latest_or_none(call: Invocation, word: str) -> Run | None:
    try:
        return fetch(call.session, word)
    except NotFoundError:
        if word in call.session.job_names:
            return None
        raise


def _one_line(call: Invocation, run: Run) -> str:
    style = call.console.style
    state = style(run.state.value, state_style(run.state.value) or "bold")
    text = describe_end(run) if run.state.final else f"{run.id} {run.state.value}"
    return f"{run.job} {text.replace(run.state.value, state, 1)}"
