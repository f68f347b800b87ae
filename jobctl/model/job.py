"""Definitions: jobs, their schedules and parameters, queues and limits; :mod:`jobctl.model.pool` has pools.

All of them are frozen values made from jobs.toml. Durations are seconds as ``float``, sizes are
bytes as ``int``, unless a name says otherwise. ``None`` means "no limit" or "not set".
"""

from __future__ import annotations

from enum import StrEnum

from jobctl.model.records import field, record

DEFAULT_QUEUE = "default"
EXEC_JOB = "@exec"
"""The built-in job that ``jobctl exec`` submits; its arguments are the command."""


PARAM_TYPES = ("str", "int", "float", "bool", "list", "dict", "json")
"""What a parameter can be declared as."""


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


@record(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """One declared parameter of a job, checked when a run is submitted."""

    name: str
    type: str = "str"
    """``str``, ``int``, ``float``, ``bool``, ``list``, ``dict`` or ``json``, which is anything."""
    required: bool = True
    """False when the declaration has a default."""
    default: object = None
    """Taken when the parameter is not given; makes it optional."""
    min: float | None = None
    """Smallest number, or shortest length of a string."""
    max: float | None = None
    """Largest number, or greatest length of a string."""
    choices: tuple[object, ...] = ()
    """The only values allowed."""
    pattern: str | None = None
    """A regular expression the whole string must match."""
    nullable: bool = False
    """Null (``None``) is allowed as well."""
    positional: bool = False
    """A Python function takes it in order and not by name (it stands before a ``/``); such parameters
    come first."""
    keyword: bool = False
    """A Python function takes it by name only (it stands behind a ``*``)."""
    secret: bool = False
    """The value is masked wherever it is shown."""


@record(frozen=True, slots=True, kw_only=True)
class PythonDef:
    """The ``[python]`` table: where Python code declares jobs."""

    discover: tuple[str, ...] = ()
    """Modules that are imported, in a process of their own, for the jobs they declare with ``@job``;
    ``shop.*`` is the package ``shop`` and all below it."""
    interpreter: str | None = None
    """A virtual environment or a Python executable for them and their jobs; default: that of
    ``[defaults]``, else the one jobctl runs in."""


@record(frozen=True, slots=True, kw_only=True)
class ScheduleDef:
    """One schedule of a job: when, and what a run made by it gets instead of the job's own values."""

    name: str
    """Unique in the namespace: the job's name, with ``#2``, ``#3`` … after the first."""
    rule: str
    """A cron expression, ``@every 10m``, ``@at RFC3339``, ``@reboot``, ``@start`` or a nickname."""
    timezone: str | None = None
    """Of this rule; default: the job's."""
    args: tuple[object, ...] = ()
    """Positional arguments of its runs; default: the job's. Defaults of parameters are included."""
    kwargs: dict[str, object] = field(default_factory=dict)
    """Named arguments of its runs; default: the job's."""
    queue: str | None = None
    """Of its runs; default: the job's."""
    priority: int | None = None
    """Of its runs; default: the job's."""
    expires: float | None = None
    """Of its runs; default: the job's."""
    jitter: float | None = None
    """Default: the job's."""
    missed: Missed | None = None
    """Default: the job's."""
    not_before: str | None = None
    """RFC 3339; instants before it are not fired."""
    not_after: str | None = None
    """RFC 3339; instants after it are not fired."""
    max_runs: int | None = None
    """Runs this schedule makes in all; then it stops."""
    enabled: bool = True
    """False: it does not fire."""


@record(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is followed by another one; see :mod:`jobctl.model.retry`."""

    retries: int = 0
    """Attempts after the first; -1 means for ever."""
    delay: float = 10.0
    """Between a failed attempt and the next."""
    backoff: float = 2.0
    """Each further delay is this many times the one before; 1 keeps it fixed."""
    max_delay: float = 3600.0
    """Longest delay, however often it was multiplied."""
    jitter: float = 0.1
    """Each delay is moved by up to this fraction of itself, either way."""
    retry_on: tuple[int | str, ...] | None = None
    """Exit codes, reasons (``exit``, ``signal``, ``timeout``, ``memory``, ``spawn``, ``exception``,
    ``result``) or exception names that are retried; by default all of them."""
    no_retry_on: tuple[int | str, ...] = ()
    """As ``retry_on``; what is named here is never retried."""


@record(frozen=True, slots=True, kw_only=True)
class JobDef:
    """A named definition: what to run, when, and within which limits."""

    name: str
    command: str | tuple[str, ...] | None = None
    """A text is run by the shell, a list is executed as it is. A job has either this or ``python``."""
    python: str | None = None
    """A Python function, ``package.module:function``."""
    interpreter: str | None = None
    """A virtual environment or a Python executable; default: the one jobctl runs in."""
    description: str = ""
    """For people."""
    owner: str = ""
    """Whom to ask; for people."""
    tags: dict[str, str] = field(default_factory=dict)
    """Given to every run: to find runs by, and as ``JOBCTL_TAG_…`` to the process."""
    enabled: bool = True
    """False: its schedules do not fire. It can still be submitted."""
    schedules: tuple[ScheduleDef, ...] = ()
    timezone: str | None = None
    """Zone of its schedules and ``TZ`` of its attempts; default: that of ``[jobctl]``, else the host's."""
    jitter: float = 0.0
    """Its runs start up to this much after the instant: a fixed time per schedule and host."""
    missed: Missed = Missed.SKIP
    """What happens to instants that passed while no supervisor was up: ``skip``, ``once`` or ``all``."""
    catchup_window: float = 86400.0
    """``missed`` makes up for no instant older than this."""
    catchup_max: int = 100
    """Most instants that ``missed = "all"`` makes up for, the newest ones."""
    overlap: Overlap = Overlap.ALLOW
    """What happens to a new run while an older one of the job has not ended: ``skip``, ``queue``,
    ``queue-all``, ``replace`` or ``allow``."""
    overlap_written: bool = False
    """True when jobs.toml says so, rather than a default."""
    timeout: float | None = None
    """An attempt is stopped after this long and fails with reason ``timeout``."""
    soft_timeout: float | None = None
    """This long after the start a command gets the stop signal, without a KILL to follow, and a
    Python function the exception ``jobctl.SoftTimeout``."""
    total_timeout: float | None = None
    """Of the whole run, from its first start over all attempts and the waits between them."""
    stop_signal: str = "TERM"
    """Sent to the whole process tree to stop it."""
    stop_timeout: float = 10.0
    """Grace between the stop signal and KILL."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    success_codes: tuple[int, ...] = (0,)
    """Exit codes that mean success."""
    skip_codes: tuple[int, ...] = ()
    """Exit codes by which the job says that there was nothing to do: the run ends as ``skipped``."""
    expected: tuple[str, ...] = ()
    """Names of exceptions of a Python job, or of classes they extend, that need no traceback: the
    attempt fails with one line."""
    on_lost: OnLost = OnLost.RETRY
    """What happens to a run whose supervisor died, or was stopped in a hurry, while it ran: ``retry`` or ``fail``."""
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    """``at-most-once``: the start is recorded before the process is made."""
    strict_single: bool = False
    """Never on two hosts at once: an attempt is killed when its host has been cut off from a shared
    store for so long that others will soon take its runs over (22.5 seconds)."""
    limits: tuple[str, ...] = ()
    """Names of ``[limits.…]`` of which each attempt takes one slot."""
    max_running: int | None = None
    """Runs of the job at the same time, over the whole cluster; further ones are parked."""
    rate: str | None = None
    """``N/s``, ``N/m``, ``N/h`` or ``N/d``: starts over the whole cluster. N may start at once, then they
    are spread evenly."""
    unique: str | None = None
    """``args``: one unfinished run per set of arguments; ``job``: one for the job; ``key:TEXT``: one
    for all jobs with the same text, in which ``{name}`` stands for a named argument. A second submit
    is answered with the first run."""
    queue: str = DEFAULT_QUEUE
    """The queue its runs go to."""
    priority: int = 5
    """0 to 9; 9 is first."""
    start_deadline: float | None = None
    """A run not started this long after it became due ends as ``expired`` (reason ``deadline``)."""
    expires: float | None = None
    """A run not started this long after it was submitted ends as ``expired``."""
    max_rss: int | None = None
    """Resident memory of the whole process tree, looked at every second; above it the attempt is
    stopped and fails with reason ``memory``."""
    nice: int | None = None
    """CPU priority of the processes, -20 to 19; below the daemon's own only as root."""
    max_output: int | None = None
    """Size of the log kept of an attempt; of more the middle is dropped, and the job goes on. Default:
    that of ``[jobctl]``."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables of the process; they come after those of ``env_file``."""
    env_file: tuple[str, ...] = ()
    """Files of ``KEY=VALUE`` lines, read at each attempt."""
    cwd: str | None = None
    """Working directory; default: the user's home, or ``/`` when there is none."""
    user: str | None = None
    """Name or number of the user to run as; needs a daemon that runs as root."""
    group: str | None = None
    """Name or number of the group to run as; default: the user's."""
    umask: int | None = None
    """File mode mask; default: ``022``."""
    shell: str = "/bin/sh"
    """Program that gets a ``command`` that is text, and ``only_if``, after ``-c``."""
    stdin: str | None = None
    """Text given to the process; without it standard input is empty."""
    leftovers: str = "kill"
    """What happens to processes that a shell job leaves behind when it ends by itself: ``kill``, or
    ``keep`` for jobs that start daemons. What is stopped is always stopped with all its processes."""
    only_if: str | None = None
    """A shell condition run first, for at most a minute; when it fails the run is ``skipped``."""
    on_failure: tuple[str, ...] = ()
    """Jobs to submit when a run has failed for good, or expired"""
    on_success: tuple[str, ...] = ()
    """Jobs to submit when a run has succeeded."""
    on_retry: tuple[str, ...] = ()
    """Jobs to submit when an attempt failed and will be followed by another."""
    mail_to: tuple[str, ...] = ()
    """Addresses to mail to; how is in ``[mail]``."""
    mail_on: str = "failure"
    """``failure``: when runs fail, at most every ``mail_every``, and when one succeeds again;
    ``output``: each run that printed something or failed; ``always``: each run that ended;
    ``never``."""
    mail_every: float = 3600.0
    """With ``mail_on = "failure"``: failures within this time of a mail are told together at its
    end; ``0`` mails each."""
    ping_url: str | None = None
    """Web address that is called when a run starts (``/start`` behind it), has succeeded, and has
    failed (``/fail`` or its exit code)."""
    late_after: float | None = None
    """A run that has not started this long after its time is reported, by mail and in the log."""
    pause_after_failures: int | None = None
    """Its schedules are switched off after this many failed runs in a row, until they
    are enabled again; it can still be submitted."""
    keep_runs: int = 10_000
    """Final runs kept in the history, and log files kept on each host; at least one run is."""
    keep_days: float = 7.0
    """Days that final runs and log files are kept."""
    keep_failed: int | None = None
    """Failed runs kept in a history of their own, so that successes do not push them out."""
    keep_ids: float = 86400.0
    """How long an id that was given at submit is known after the end of its run, though ``keep_runs``
    or ``keep_days`` has dropped the record: so long it makes no second run. ``0``: as long as the record."""
    keep_result: str = "all"
    """``all``, ``errors`` (those of runs that did not succeed) or ``none``. What is not kept is not
    looked at either, so it may be anything."""
    result_format: str = "json"
    """How the result of a Python job is written: ``json``, ``msgpack`` (its interpreter needs that
    package), or ``pickle``, which is only read where ``[jobctl] allow_pickle`` is set."""
    result_compression: str | None = None
    """``zlib`` or ``zstd``: results of a kilobyte or more are compressed."""
    result_ttl: float | None = None
    """How long results are kept."""
    params: tuple[ParamSpec, ...] = ()
    """Declared parameters, checked when a run is submitted."""
    of_function: bool = False
    """The function itself has told its parameters: it takes no others, and no value twice."""
    args: tuple[object, ...] = ()
    """Positional arguments of the runs that its schedules make."""
    kwargs: dict[str, object] = field(default_factory=dict)
    """Named arguments of the runs that its schedules make."""
    source: str = ""
    """``file:line`` of the definition."""

    @property
    def repeatable(self) -> bool:
        """True when a run whose supervisor died while it ran is run again."""
        return self.on_lost is OnLost.RETRY and self.delivery is Delivery.AT_LEAST_ONCE


@record(frozen=True, slots=True, kw_only=True)
class MailDef:
    """The ``[mail]`` table: how this host sends mail."""

    smtp: str | None = None
    """``smtp://[USER@]HOST[:PORT]``, which is encrypted when the server offers it, ``smtp+tls://``,
    which insists, or ``smtps://`` for TLS from the first byte; default: ``sendmail`` if there is
    such a program, else ``smtp://localhost``."""
    password_file: str | None = None
    """File with the password of the user in ``smtp``, of mode 0600."""
    sendmail: str | None = None
    """Program that takes a mail on its standard input; default: ``/usr/sbin/sendmail``."""
    sender: str | None = None
    """Address the mails come from; default: the daemon's user at this host."""
    ca_file: str | None = None
    """File with the certificates that the server's is checked against; default: the system's."""


@record(frozen=True, slots=True, kw_only=True)
class QueueDef:
    """Limits of one queue over the whole cluster."""

    name: str
    max_running: int | None = None
    """Runs of this queue that run at the same time."""
    max_length: int | None = None
    """Waiting runs; with so many of them, further ones are refused."""


@record(frozen=True, slots=True, kw_only=True)
class LimitDef:
    """A semaphore that jobs share over the whole cluster."""

    name: str
    slots: int
    """Runs that may hold the limit at the same time."""
