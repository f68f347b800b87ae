"""What goes to a warm Python child and what comes back: keys, calls, replies, and what can fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.engine.ending import keeps_result, signal_number
from jobctl.errors import JobctlError
from jobctl.model.run import Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.model.job import JobDef

START_NAMES = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_")
"""Variables an interpreter or its C library reads once, at its start, by their prefixes."""
REASONS = frozenset(reason.value for reason in Reason)


class SpawnError(JobctlError):
    """Raised when an interpreter cannot be started; the message says what to do."""


class StaleChildError(Exception):
    """Raised when a call was not begun because the child's modules are not those it needs.

    Start another child and call again.
    """


class ChildDiedError(Exception):
    """Raised when a child ended, or stopped making sense, before it answered."""

    def __init__(self, message: str, *, started: bool) -> None:
        super().__init__(message)
        self.started = started
        """False when the call had surely not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildKey:
    """What two calls must have in common to share a child; made by :func:`child_key`."""

    interpreter: str
    user: str | None = None
    group: str | None = None
    umask: int | None = None
    nice: int | None = None
    cwd: str | None = None
    """Modules are imported from here, so jobs of two directories do not share."""
    start_env: tuple[tuple[str, str], ...] = ()
    """The variables of :data:`START_NAMES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCall:
    """One attempt, as a child needs it."""

    run_id: str
    target: str
    """``package.module:function``."""
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment."""
    cwd: str | None = None
    """``None``: where the child was started."""
    stdin: str | None = None
    max_result: int = 1 << 20
    """Bytes of JSON."""
    limits: Mapping[str, object] = field(default_factory=dict)
    """What few jobs have; made by :func:`call_limits`."""
    reply_file: str = ""
    """Where the child leaves its answer when nobody is there to take it; empty: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonReply:
    """How a call ended in a child that lived to tell."""

    reason: Reason | None
    """``None`` when the function returned or exited with 0."""
    result: str | None = None
    """JSON; ``None`` when the function returned ``None``."""
    exception: str | None = None
    """``package.module.Name``, or ``Name`` for built-in ones."""
    bases: tuple[str, ...] = ()
    """``exception`` and the names of the classes it extends, nearest first."""
    error: str | None = None
    exit_code: int | None = None
    """Only when the function raised SystemExit."""
    retry_in: float | None = None
    """Seconds, when the job raised ``Retry(in_=…)``."""
    again: bool = False
    """The job raised ``Retry``."""
    skip: bool = False
    fatal: bool = False
    traceback: str | None = None
    """A few kilobytes of it."""
    recycle: str | None = None
    """Why the child must not get another call."""
    started_at: float = 0.0
    """Epoch seconds."""
    duration: float = 0.0
    usage: Usage = field(default_factory=Usage)
    """Of the child and of processes it waited for, during this call alone."""
    rss: int | None = None
    """Resident bytes of the child after the call."""

    @property
    def ok(self) -> bool:
        """True when the function returned or exited with 0."""
        return self.reason is None


def call_limits(spec: AttemptSpec) -> dict[str, object]:
    """Return what few jobs have, for a child: only what is not as usual."""
    job = spec.job
    kept = keeps_result(job, succeeded=True)
    form = {"format": job.result_format, "compression": job.result_compression}
    usual = {"format": "json", "compression": None}
    limits: dict[str, object] = {
        "timeout": spec.timeout,
        "soft_timeout": job.soft_timeout,
        "stop_signal": None if job.stop_signal == "TERM" else signal_number(job.stop_signal),
        "tags": spec.tags or None,
        "expected": job.expected or None,
        "named": named_exceptions(job) or None,
        "result": {key: value for key, value in form.items() if kept and value != usual[key]}
        or None,
        "drop_result": None if kept else True,
    }
    return {name: value for name, value in limits.items() if value is not None}


def named_exceptions(job: JobDef) -> tuple[str, ...]:
    """Return the names of exceptions in ``retry_on`` and ``no_retry_on``: a child knows their classes."""
    rules = (*(job.retry.retry_on or ()), *job.retry.no_retry_on)
    return tuple(rule for rule in rules if isinstance(rule, str) and rule not in REASONS)


def child_key(
    *,
    interpreter: str,
    env: Mapping[str, str],
    user: str | None = None,
    group: str | None = None,
    umask: int | None = None,
    nice: int | None = None,
    cwd: str | None = None,
) -> ChildKey:
    """Return the key for jobs that run with ``env`` in ``cwd``."""
    chosen = sorted(item for item in env.items() if item[0].startswith(START_NAMES))
    return ChildKey(
        interpreter=interpreter,
        user=user,
        group=group,
        umask=umask,
        nice=nice,
        cwd=cwd,
        start_env=tuple(chosen),
    )
