"""``jobctl run``: one run here and now, in the foreground.

The job gets what the daemon would give it: the same fixed environment and none of the terminal's,
the same user, directory and limits of one run. What only a store can know is not looked at:
``overlap``, ``unique``, ``max_running``, ``rate`` and ``limits``; nor are hooks run, nor is anything
recorded.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from jobctl.cli import values
from jobctl.cli.submit import warn_of_ignored
from jobctl.cli.words import arguments
from jobctl.client.submit import Wish, prepare
from jobctl.client.views import run_view
from jobctl.client.waiting import SIGNALLED, exit_code
from jobctl.engine.foreground import Foreground
from jobctl.host import host_name, host_zone
from jobctl.model.run import RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.cli.console import Console
    from jobctl.cli.invocation import Invocation
    from jobctl.model.job import JobDef
    from jobctl.model.run import Outcome, Request, Run

STDOUT = 1
STDERR = 2
PERCENT_STEP = 1.0
"""Progress below this much is not worth a line."""


def run(
    call: Invocation,
    *,
    job: str,
    words: list[str],
    timeout: str | None,
    retries: bool,
    dry_run: bool,
) -> int:
    """Make one run and return the exit code that stands for how it ended."""
    args, kwargs = arguments(words)
    definition = call.session.job(job)
    wish = Wish(
        job,
        args=[*args, *call.literal],
        kwargs=kwargs,
        text=True,
        timeout=values.duration("--timeout", timeout),
        retries=None if retries else 0,
    )
    request = prepare(call.session, wish).request
    warn_of_ignored(call, request)
    if dry_run:
        _show_plan(call, definition, request)
        return 0
    ended, stopped = asyncio.run(_here(call, definition, request))
    _report(call.console, ended, definition)
    if ended.state is RunState.REVOKED and stopped is not None:
        return SIGNALLED + stopped
    return exit_code(ended)


async def _here(call: Invocation, job: JobDef, request: Request) -> tuple[Run, int | None]:
    """Return the run as it ended, and the number of the signal that we were stopped with."""
    console, session = call.console, call.session
    foreground = Foreground(
        request,
        job,
        session.settings,
        output=STDERR if console.json else STDOUT,
        timezone=session.settings.timezone or host_zone(),
        host=host_name(session.settings.name),
        clock=session.clock,
    )
    foreground.on_retry = _retry_line(console)
    foreground.on_progress = _progress_line(console)
    stopped: list[int] = []
    stop = _stopper(console, foreground, job, stopped)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    run = await foreground.run()
    return run, stopped[0] if stopped else None


def _stopper(
    console: Console, foreground: Foreground, job: JobDef, stopped: list[int]
) -> Callable[[signal.Signals], None]:
    def stop(number: signal.Signals) -> None:
        stopped.append(number)
        if len(stopped) == 1:
            console.note(
                f"{number.name}: sent {job.stop_signal} to {job.name}, KILL follows in "
                f"{job.stop_timeout:g} s (again: now)"
            )
        foreground.stop()

    return stop


def _report(console: Console, run: Run, job: JobDef) -> None:
    if console.json:
        console.document({"run": run_view(run, job)})
    if run.state is RunState.SUCCEEDED:
        return
    why = run.error or run.reason or ""
    if run.state is RunState.REVOKED:
        said, why = f"{run.job} was stopped", ""
    else:
        said = f"{run.job} {run.state.value}"
    if run.attempt > 1:
        said += f" at attempt {run.attempt}"
    console.note(f"{said}: {why}" if why else said)


def _retry_line(console: Console) -> Callable[[Outcome, float], None]:
    def show(outcome: Outcome, delay: float) -> None:
        console.note(f"failed: {outcome.error or outcome.reason}; next attempt in {delay:.1f} s")

    return show


def _progress_line(console: Console) -> Callable[[str], None]:
    """Return what shows progress where a person looks; in a file it would only be noise."""
    if not sys.stderr.isatty():
        return lambda _progress: None
    shown: tuple[float, str] = (-PERCENT_STEP, "")

    def show(text: str) -> None:
        nonlocal shown
        progress = json.loads(text)
        percent, message = float(progress["percent"]), str(progress["message"])
        if abs(percent - shown[0]) >= PERCENT_STEP or message != shown[1]:
            shown = percent, message
            console.note(f"{percent:3.0f}% {message}".rstrip())

    return show


def _show_plan(call: Invocation, job: JobDef, request: Request) -> None:
    from jobctl.cli.plan import plan, plan_lines

    made = plan(job, request, call.session.settings)
    if call.console.json:
        call.console.document({"plan": made})
    else:
        call.console.data("\n".join(plan_lines(made)))
