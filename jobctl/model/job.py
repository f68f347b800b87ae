"""Definitions: jobs, their schedules and parameters, pools, queues and limits.

All of them are frozen values made from jobs.toml. Durations are seconds as ``float``, sizes are
bytes as ``int``, unless a name says otherwise. ``None`` means "no limit" or "not set".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_QUEUE = "default"
EXEC_JOB = "@exec"
"""The built-in job that ``jobctl exec`` submits; its arguments are the command."""


class Overlap(StrEnum):
    """What happens to a new run while an older one of the same job has not ended."""

    SKIP = "skip"
    """The new run ends at once as ``skipped``; the default for jobs with a schedule."""
    QUEUE = "queue"
    """The new run waits; a run that already waited is skipped in its favour."""
    QUEUE_ALL = "queue-all"
    """Every new run waits its turn."""
    REPLACE = "replace"
    """The older run is revoked, and the new one starts when it is gone."""
    ALLOW = "allow"
    """Both run; the default for jobs without a schedule."""


class Missed(StrEnum):
    """What happens to scheduled instants that passed while no supervisor was up."""

    SKIP = "skip"
    """They are recorded as missed and not run."""
    ONCE = "once"
    """One run for the newest of them."""
    ALL = "all"
    """A run for each, within ``catchup_window`` and ``catchup_max``."""


class OnLost(StrEnum):
    """What happens to a run whose supervisor died while it was running."""

    RETRY = "retry"
    """It is run again (at-least-once); three losses make it ``failed`` with reason ``poison``."""
    FAIL = "fail"
    """It ends as ``failed`` with reason ``lost``."""


class Delivery(StrEnum):
    """How a start is promised."""

    AT_LEAST_ONCE = "at-least-once"
    """The start mark travels with the next call to the store."""
    AT_MOST_ONCE = "at-most-once"
    """The start mark is acknowledged before the process is made, and a lost run is not repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """One declared parameter of a job, checked when a run is submitted."""

    name: str
    type: str = "str"
    """``str``, ``int``, ``float``, ``bool`` or ``json``."""
    required: bool = True
    """False when the declaration has a default."""
    default: object = None
    min: float | None = None
    """Smallest number, or shortest length of a string."""
    max: float | None = None
    choices: tuple[object, ...] = ()
    pattern: str | None = None
    """A regular expression the whole string must match."""
    secret: bool = False
    """The value is masked wherever it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDef:
    """One schedule of a job: when, and what a run made by it gets instead of the job's own values."""

    name: str
    """Unique in the namespace: the job's name, with ``#2``, ``#3`` … after the first."""
    rule: str
    """A cron expression, ``@every 10m``, ``@at RFC3339``, ``@reboot``, ``@start`` or a nickname."""
    timezone: str | None = None
    args: tuple[object, ...] = ()
    """What its runs get: complete, the job's own arguments and defaults of parameters included."""
    kwargs: dict[str, object] = field(default_factory=dict)
    queue: str | None = None
    priority: int | None = None
    expires: float | None = None
    jitter: float | None = None
    missed: Missed | None = None
    not_before: str | None = None
    """RFC 3339; instants before it are not fired."""
    not_after: str | None = None
    max_runs: int | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another one; see :mod:`jobctl.model.retry`."""

    retries: int = 0
    """Attempts after the first; -1 means for ever."""
    delay: float = 10.0
    backoff: float = 2.0
    """Each further delay is this many times the one before; 1 keeps it fixed."""
    max_delay: float = 3600.0
    jitter: float = 0.1
    """Each delay is moved by up to this fraction of itself, either way."""
    retry_on: tuple[int | str, ...] | None = None
    """Exit codes, reasons (``timeout``, ``signal``, ``memory``, ``spawn``, ``exit``) or exception
    names that are retried; ``None`` means all of them."""
    no_retry_on: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDef:
    """A named definition: what to run, when, and within which limits."""

    name: str
    command: str | tuple[str, ...] | None = None
    """A string goes to the shell, a tuple is executed as it is; ``None`` for Python jobs."""
    python: str | None = None
    """``package.module:function``."""
    interpreter: str | None = None
    """A virtual environment or a Python executable; default: the one jobctl runs in."""
    description: str = ""
    owner: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    schedules: tuple[ScheduleDef, ...] = ()
    timezone: str | None = None
    jitter: float = 0.0
    missed: Missed = Missed.SKIP
    catchup_window: float = 86400.0
    catchup_max: int = 100
    overlap: Overlap = Overlap.ALLOW
    timeout: float | None = None
    """Of one attempt."""
    soft_timeout: float | None = None
    """The stop signal is sent this long after the start, without a KILL to follow."""
    total_timeout: float | None = None
    """From the first start over all attempts and the waits between them."""
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    """Grace between the stop signal and KILL."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    success_codes: tuple[int, ...] = (0,)
    skip_codes: tuple[int, ...] = ()
    on_lost: OnLost = OnLost.RETRY
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    limits: tuple[str, ...] = ()
    max_running: int | None = None
    """Over the whole cluster."""
    rate: str | None = None
    """``N/s``, ``N/m``, ``N/h`` or ``N/d``, over the whole cluster."""
    unique: str | None = None
    """``args``: one unfinished run per set of arguments; ``job``: one for the job."""
    queue: str = DEFAULT_QUEUE
    priority: int = 5
    """0–9; 9 is first."""
    start_deadline: float | None = None
    """A run not started this long after it became due ends as ``expired`` (reason ``deadline``)."""
    expires: float | None = None
    """A run not started this long after it was submitted ends as ``expired``."""
    max_rss: int | None = None
    """Resident bytes of the whole process tree."""
    nice: int | None = None
    max_output: int | None = None
    """Bytes of log kept; more ends in a truncation mark, the job goes on."""
    env: dict[str, str] = field(default_factory=dict)
    env_file: tuple[str, ...] = ()
    cwd: str | None = None
    user: str | None = None
    group: str | None = None
    umask: int | None = None
    shell: str = "/bin/sh"
    stdin: str | None = None
    """Text given to the command; without it standard input is empty."""
    only_if: str | None = None
    """A shell condition run first; when it fails the run is ``skipped``, not failed."""
    on_failure: tuple[str, ...] = ()
    on_success: tuple[str, ...] = ()
    on_retry: tuple[str, ...] = ()
    mail_to: tuple[str, ...] = ()
    mail_on: str = "failure"
    ping_url: str | None = None
    late_after: float | None = None
    pause_after_failures: int | None = None
    keep_runs: int = 10_000
    keep_days: float = 7.0
    keep_failed: int | None = None
    keep_result: str = "all"
    """``all``, ``errors`` or ``none``."""
    result_ttl: float | None = None
    params: tuple[ParamSpec, ...] = ()
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    source: str = ""
    """``file:line`` of the definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDef:
    """A pool process: how many slots it has and which queues it serves, in order of preference."""

    name: str
    slots: int
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    """``*`` serves every queue that jobs.toml knows."""
    python: str = "process"
    max_runs_per_child: int = 1000
    max_rss_per_child: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDef:
    """Limits of one queue over the whole cluster."""

    name: str
    max_running: int | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitDef:
    """A semaphore that jobs share over the whole cluster."""

    name: str
    slots: int
