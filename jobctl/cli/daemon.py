"""``jobctl daemon``: the supervisor, in the foreground."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class LogLevel(StrEnum):
    """How much the daemon says of itself."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def daemon(
    burst: Annotated[
        bool, typer.Option("--burst", help="Run what is there to run, then stop.")
    ] = False,
    no_scheduler: Annotated[
        bool, typer.Option("--no-scheduler", help="Leave the schedules to other supervisors.")
    ] = False,
    log_level: Annotated[
        LogLevel | None, typer.Option(help="Default: $JOBCTL_LOG_LEVEL, else info.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", "-c", metavar="FILE", help="The jobs.toml to use.")
    ] = None,
) -> None:
    """Schedule and run jobs until stopped, in the foreground.

    Without redis in jobs.toml it starts and keeps its own private store. SIGTERM or Ctrl-C stops
    it in order: what runs may finish within drain_timeout; a second one stops what runs. SIGHUP
    reloads jobs.toml; a file with errors changes nothing.

    Exits with 75 when another daemon uses the same state directory, 77 when that directory or the
    store is not permitted, 78 when jobs.toml or this host cannot be used.
    """
    from jobctl.config.paths import find_config
    from jobctl.engine.daemon import run_daemon

    code = run_daemon(
        find_config(config),
        burst=burst,
        scheduling=not no_scheduler,
        log_level=None if log_level is None else log_level.value,
    )
    raise typer.Exit(code)
