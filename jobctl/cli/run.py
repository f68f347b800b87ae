"""``jobctl run``: one run here and now, in the foreground.

The job gets what the daemon would give it: the same fixed environment and none of the terminal's,
the same user, directory and limits of one run. What only a store can know is not looked at:
``overlap``, ``unique``, ``max_running``, ``rate`` and ``limits``; nor are hooks run, nor is anything
recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from jobctl.client.open import Session
    from jobctl.engine.foreground import Foreground
    from jobctl.model.job import JobDef
    from jobctl.model.run import Outcome, Request, Run

STDOUT = 1
STDERR = 2
BY_SIGNAL = 128
"""What shells add to the number of the signal that ended a command."""
PERCENT_STEP = 1.0
"""Progress below this much is not worth a line."""


def run(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Name of the job.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARG]... [K=V]...", help="Its arguments, as for `jobctl submit`."),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Time limit of an attempt instead of the job's own."),
    ] = None,
    retries: Annotated[
        bool,
        typer.Option("--retries", help="Try again as the job's retry policy says; else once."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Show what would be started, and start nothing."),
    ] = False,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="The jobs.toml to use.")
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the run as JSON at the end; its output to stderr."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Say nothing besides the job's output.")
    ] = False,
) -> None:
    """Run a job here and now, in the foreground, without a daemon.

    The job gets the environment, directory and limits that the daemon would give it. Both its
    output streams go to stdout, in order. Ctrl-C sends its stop signal, and KILL after its
    stop_timeout; a second Ctrl-C kills at once.

    Exits with the job's own code; 124: timed out, 128+N: ended by signal N, 130: Ctrl-C.
    """
    from jobctl.cli.words import arguments, duration
    from jobctl.client.open import Session
    from jobctl.client.submit import Wish, prepare

    args, kwargs = arguments(words or [])
    with Session.open(config) as session:
        definition = session.job(job)
        wish = Wish(
            job,
            args=args,
            kwargs=kwargs,
            text=True,
            timeout=None if timeout is None else duration("--timeout", timeout),
            retries=None if retries else 0,
        )
        request = prepare(session, wish).request
        if dry_run:
            _show_plan(session, definition, request, as_json=json)
            return
        ended, number = _run(session, definition, request, as_json=json, quiet=quiet)
    _report(ended, definition, as_json=json, quiet=quiet)
    raise typer.Exit(_exit_code(ended, number))


def _run(
    session: Session, job: JobDef, request: Request, *, as_json: bool, quiet: bool
) -> tuple[Run, int | None]:
    """Return the run as it ended, and the number of the signal that we were stopped with."""
    import asyncio

    return asyncio.run(_here(session, job, request, as_json=as_json, quiet=quiet))


async def _here(
    session: Session, job: JobDef, request: Request, *, as_json: bool, quiet: bool
) -> tuple[Run, int | None]:
    import asyncio
    import signal

    from jobctl.engine.foreground import Foreground
    from jobctl.host import host_name, host_zone

    foreground = Foreground(
        request,
        job,
        session.settings,
        output=STDERR if as_json else STDOUT,
        timezone=session.settings.timezone or host_zone(),
        host=host_name(session.settings.name),
        clock=session.clock,
    )
    if not quiet:
        foreground.on_retry = _say_retry
        foreground.on_progress = _progress_line()
    stopped: list[int] = []
    stop = _stopper(foreground, job, stopped, quiet=quiet)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    run = await foreground.run()
    return run, stopped[0] if stopped else None


def _stopper(
    foreground: Foreground, job: JobDef, stopped: list[int], *, quiet: bool
) -> Callable[[signal.Signals], None]:
    def stop(number: signal.Signals) -> None:
        stopped.append(number)
        if not quiet and len(stopped) == 1:
            _say(
                f"{number.name}: sent {job.stop_signal} to {job.name}, KILL follows in "
                f"{job.stop_timeout:g} s (again: now)"
            )
        foreground.stop()

    return stop


def _exit_code(run: Run, stopped: int | None) -> int:
    from jobctl.client.waiting import exit_code
    from jobctl.model.run import RunState

    if run.state is RunState.REVOKED and stopped is not None:
        return BY_SIGNAL + stopped
    return exit_code(run)


def _report(run: Run, job: JobDef, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        from json import dumps

        from jobctl.client.views import SCHEMA, run_view

        typer.echo(dumps({"schema": SCHEMA, "run": run_view(run, job)}, ensure_ascii=False))
    if quiet or run.state.value == "succeeded":
        return
    why = run.error or run.reason or ""
    said = f"{run.job} {run.state.value}" + (f": {why}" if why else "")
    if run.attempt > 1:
        said += f" (attempt {run.attempt})"
    _say(said)


def _say_retry(outcome: Outcome, delay: float) -> None:
    _say(f"failed: {outcome.error or outcome.reason}; next attempt in {delay:.1f} s")


def _progress_line() -> Callable[[str], None]:
    """Return what shows progress where a person looks; in a file it would only be noise."""
    import sys
    from json import loads

    if not sys.stderr.isatty():
        return lambda _progress: None
    shown = [-PERCENT_STEP, ""]

    def show(text: str) -> None:
        progress = loads(text)
        percent, message = float(progress["percent"]), str(progress["message"])
        if abs(percent - float(shown[0])) >= PERCENT_STEP or message != shown[1]:
            shown[:] = [percent, message]
            _say(f"{percent:3.0f}% {message}".rstrip())

    return show


def _show_plan(session: Session, job: JobDef, request: Request, *, as_json: bool) -> None:
    from jobctl.cli.plan import plan, plan_lines

    made = plan(job, request, session.settings)
    if as_json:
        from json import dumps

        typer.echo(dumps({"schema": 1, "plan": made}, ensure_ascii=False))
    else:
        typer.echo("\n".join(plan_lines(made)))


def _say(text: str) -> None:
    typer.echo(f"jobctl run: {text}", err=True)
