"""``jobctl daemon``: the supervisor, in the foreground."""

from __future__ import annotations

from jobctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation

LEVELS = ("debug", "info", "warning", "error")


def daemon(call: Invocation, *, burst: bool, no_scheduler: bool, log_level: str | None) -> int:
    """Run until stopped."""
    if log_level is not None and log_level not in LEVELS:
        raise UsageError(f"--log-level: {log_level!r} is none of {', '.join(LEVELS)}")
    from jobctl.config.paths import find_config
    from jobctl.engine.daemon import run_daemon

    if call.console.quiet and log_level is None:
        log_level = "warning"
    return run_daemon(
        find_config(call.config), burst=burst, scheduling=not no_scheduler, log_level=log_level
    )
