"""What ``jobctl run --dry-run`` shows: how a run would be started. Nothing is started for it."""

from __future__ import annotations

from shlex import join

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import spawn
from jobctl.engine.environment import attempt_environment, tool_directory
from jobctl.engine.runner import request_spec
from jobctl.host import host_zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.config import Settings
    from jobctl.model.job import JobDef
    from jobctl.model.run import Request


def plan(job: JobDef, request: Request, settings: Settings) -> dict[str, object]:
    """Return how the first attempt of ``request`` would be started, as JSON-ready data.

    Of the environment only names are given: values may be secret.
    Raises ``SpawnError`` when it could not be started.
    """
    spec = request_spec(
        request,
        job,
        settings,
        number=1,
        first_started_at=None,
        owner="",
        timezone=settings.timezone or host_zone(),
        now=SYSTEM_CLOCK.epoch(),
    )
    launch = spawn.Launches(tools=tool_directory()).prepare(job, spec.timezone)
    environment = attempt_environment(spec, launch.environment, result_file="", progress_file="")
    return {
        "job": job.name,
        "argv": None if job.python else spawn.command_line(spec),
        "python": job.python,
        "interpreter": job.interpreter,
        "args": list(request.args) if job.python else None,
        "kwargs": sorted(request.kwargs) if job.python else None,
        "cwd": launch.cwd,
        "user": launch.environment["USER"] if job.user is None else job.user,
        "group": job.group,
        "environment": sorted(environment),
        "only_if": job.only_if,
        "timeout": spec.timeout,
        "stop_signal": job.stop_signal,
        "stop_timeout": job.stop_timeout,
        "max_attempts": None if request.max_attempts < 0 else request.max_attempts,
        "max_rss": job.max_rss,
        "nice": job.nice,
        "success_codes": list(job.success_codes),
        "queue": request.queue,
        "source": job.source,
    }


def plan_lines(made: dict[str, object]) -> list[str]:
    """Return a plan for people: one ``key  value`` a line, without what is not set."""
    lines = []
    for key, value in made.items():
        if value is None or value == []:
            continue
        if key == "argv":
            shown = join(value)  # type: ignore[arg-type]  # a list of texts
        elif key in ("environment", "kwargs"):
            shown = " ".join(value)  # type: ignore[arg-type]  # a list of texts
        elif key in ("timeout", "stop_timeout"):
            shown = f"{value:g} s"
        else:
            shown = str(value)
        lines.append(f"{key:13} {shown}")
    return lines
