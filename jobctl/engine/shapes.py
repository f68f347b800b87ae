"""What the runs of a bundle have in common, said to a child once and then by number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobctl.engine.attempt import log_file
from jobctl.engine.environment import attempt_environment, run_environment
from jobctl.engine.python_call import call_limits
from jobctl.store.compact import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.attempt import AttemptDirs, AttemptSpec
    from jobctl.engine.ledger import Held
    from jobctl.engine.spawn import Launch
    from jobctl.model.job import JobDef

NO_ARGUMENTS = "[[],{}]"
KNOWN_MOST = 500
"""Shapes a child is told before it is told them anew."""
_OF_ONE_RUN = (
    "JOBCTL_RUN_ID",
    "JOBCTL_ATTEMPT",
    "JOBCTL_RESULT_FILE",
    "JOBCTL_PROGRESS_FILE",
    "JOBCTL_SUPERVISOR",
)


class Shapes:
    """The shapes that one child knows."""

    def __init__(self, dirs: AttemptDirs, *, slot: str) -> None:
        self._dirs = dirs
        self._exchange = f"{dirs.spool}/{slot}"
        self._numbers: dict[tuple[object, ...], tuple[int, Launch]] = {}
        self._count = 0
        self._news: list[tuple[int, dict[str, Any]]] = []

    def number(self, held: Held, spec: AttemptSpec, launch: Launch) -> int:
        """Return the number of a run's shape; ``spec`` is of any run of its job."""
        request, claim = held.request, held.claim
        most = request.max_attempts
        if most >= 0:
            most += claim.lost + claim.interrupted
        key = (id(launch), request.queue, request.trigger, most)
        known = self._numbers.get(key)
        if known is not None and known[1] is launch:
            return known[0]
        if len(self._numbers) >= KNOWN_MOST:
            self._numbers.clear()
        self._count += 1
        self._numbers[key] = (self._count, launch)
        spec = replace(spec, queue=request.queue, trigger=request.trigger, max_attempts=most)
        self._news.append((self._count, self._describe(spec, launch)))
        return self._count

    def news(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the shapes that the child has not been told yet."""
        news, self._news = self._news, []
        return news

    def _describe(self, spec: AttemptSpec, launch: Launch) -> dict[str, Any]:
        env = attempt_environment(bare(spec), launch.environment, result_file="", progress_file="")
        for name in _OF_ONE_RUN:
            env.pop(name, None)
        return {
            "target": spec.job.python or "",
            "env": env,
            "cwd": launch.cwd,
            "stdin": None,
            "max_result": spec.max_result,
            "limits": call_limits(replace(bare(spec), timeout=spec.job.timeout)),
            "exchange": self._exchange,
            "logs": str(log_file(self._dirs.logs, spec.job.name, "-", 1).parent),
            "mark": spec.supervisor.rpartition(".")[0],
        }


def bare(spec: AttemptSpec) -> AttemptSpec:
    """Return ``spec`` without what is of one run alone."""
    return replace(spec, run_id="", args=(), kwargs={}, tags={}, parent=None, scheduled_at=None)


def more_of(
    held: Held, job: JobDef, spec: Callable[[Held], AttemptSpec]
) -> tuple[dict[str, str], dict[str, object] | None] | None:
    """Return what the environment of a run has beyond its shape, and its limits; ``None`` if nothing.

    Limits are ``None`` where they are those of the shape. ``spec`` tells what an attempt needs: it
    is asked only for the few runs to which it matters.
    """
    request = held.request
    limited = bool(request.tags or request.timeout is not None or job.total_timeout is not None)
    if not (limited or request.kwargs or request.parent or request.scheduled_at is not None):
        return None
    environment = run_environment(request.kwargs, request.tags, request.parent)
    if not limited and request.scheduled_at is None:
        return environment, None
    whole = spec(held)
    if whole.scheduled_at is not None:
        environment["JOBCTL_SCHEDULED_AT"] = whole.scheduled_at
    return environment, call_limits(whole) if limited else None


def arguments_of(held: Held) -> str:
    """Return the arguments of a run as JSON."""
    request = held.request
    if not request.args and not request.kwargs:
        return NO_ARGUMENTS
    return encode([request.args, request.kwargs])
