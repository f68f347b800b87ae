"""Runs, their states, and the table of every move a run may make.

``TRANSITIONS`` is the contract between this package, the Lua scripts and the documentation: a
move that is not in it is refused everywhere.
"""

from __future__ import annotations

from enum import StrEnum

from jobctl.model.records import field, record


class RunState(StrEnum):
    """Where a run is; each member says who moves it on."""

    SCHEDULED = "scheduled"
    """Waits for its time; a supervisor promotes it when it is due."""
    QUEUED = "queued"
    """Waits in its queue; a pool claims it."""
    PARKED = "parked"
    """Waits for a limit; whoever frees a slot releases it."""
    WAITING = "waiting"
    """Waits for other runs of its workflow; whoever finishes the last of them releases it."""
    RUNNING = "running"
    """Claimed by a pool; its owner settles it, or another supervisor rescues it."""
    RETRYING = "retrying"
    """Scheduled again after a failed attempt."""
    SUCCEEDED = "succeeded"
    """Its last attempt did what it should."""
    FAILED = "failed"
    """Its attempts are used up, or it must not be tried again."""
    REVOKED = "revoked"
    """Somebody took it back, or a newer run replaced it."""
    EXPIRED = "expired"
    """It was not started in time."""
    SKIPPED = "skipped"
    """It was not to be run: overlap, a condition, or its own wish."""

    @property
    def final(self) -> bool:
        """True when nothing moves the run any more."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.REVOKED,
        RunState.EXPIRED,
        RunState.SKIPPED,
    }
)

LETTERS = {
    "d": RunState.SCHEDULED,
    "q": RunState.QUEUED,
    "p": RunState.PARKED,
    "w": RunState.WAITING,
    "c": RunState.RUNNING,
    "r": RunState.RUNNING,
    "k": RunState.SUCCEEDED,
    "x": RunState.FAILED,
    "v": RunState.REVOKED,
    "e": RunState.EXPIRED,
    "s": RunState.SKIPPED,
}
"""The letter of each state in a record. ``c`` is claimed, shown as running without ``started_at``;
``d`` with an attempt behind it is shown as retrying."""

FINAL_LETTERS = "kxves"

_ACCEPT = ("submit", "tick", "boot")
_PROMOTE = ("promote", "claim")
_FREE = (*_ACCEPT, *_PROMOTE, "settle", "release", "rescue", "revoke", "limits")
_MOVES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    # Accepted: ready, due later, or skipped by the overlap policy.
    ("-", "qds", _ACCEPT),
    # overlap = "queue" and "replace": an older run that waits gives way to the newer one.
    ("dqp", "s", (*_ACCEPT, *_PROMOTE)),
    ("qp", "v", (*_ACCEPT, *_PROMOTE)),
    ("d", "v", ("submit", *_PROMOTE)),
    # A retry that waits gives way to the next scheduled run.
    ("d", "x", ("tick", "boot", *_PROMOTE)),
    # Due; s: its overlap policy skips it. Or too late to start.
    ("d", "qs", _PROMOTE),
    ("dqpw", "e", _PROMOTE),
    # A limit is full; room under it again.
    ("q", "p", ("claim",)),
    ("p", "q", _FREE),
    ("q", "c", ("claim",)),
    ("c", "r", ("start",)),
    # How an attempt ended; d and q: another one, later or at once.
    ("cr", "kxvsdq", ("settle",)),
    # Given back unstarted; v when it was revoked meanwhile.
    ("c", "qv", ("release",)),
    # The owner is dead; x when that happened too often or must not be tried again.
    ("cr", "qxv", ("rescue",)),
    ("dqpw", "v", ("revoke",)),
)
TRANSITIONS: frozenset[tuple[str, str, str]] = frozenset(
    (old, new, script)
    for olds, news, scripts in _MOVES
    for old in olds
    for new in news
    for script in scripts
)
"""(from, to, script) by record letters; ``-`` means that no record exists. A script may make
several moves of one run, and of several. Not in the table: whoever meets a record that cannot be
understood fails it as ``bad_payload``."""


class Reason(StrEnum):
    """Why a run ended, or is tried again."""

    EXIT = "exit"
    """An exit code that is not one of ``success_codes``."""
    SIGNAL = "signal"
    """Its process was ended by a signal that jobctl did not send."""
    TIMEOUT = "timeout"
    """``timeout`` or ``total_timeout`` passed."""
    MEMORY = "memory"
    """Its processes held more than ``max_rss``."""
    LOST = "lost"
    """Its supervisor died or was stopped while it ran."""
    POISON = "poison"
    """It was lost three times, or five times between claim and start."""
    SPAWN = "spawn"
    """No process could be made, or no such function was found."""
    BAD_PAYLOAD = "bad_payload"
    """Its record in the store cannot be understood, or is not signed as it must be."""
    REPLAYED = "replayed"
    """It had ended on this host, and came back into the store: it was not run again."""
    UPSTREAM = "upstream"
    """A run it needs did not succeed."""
    OVERLAP = "overlap"
    """An older run of the job had not ended, or a newer one took its place in the queue."""
    MISSED = "missed"
    """No supervisor was up at its instant."""
    DEADLINE = "deadline"
    """``expires`` or ``start_deadline`` passed before it started."""
    USER = "user"
    """Somebody revoked it."""
    CONDITION = "condition"
    """``only_if`` said no."""
    EXCEPTION = "exception"
    """A Python job raised."""
    CODE = "code"
    """An exit code of ``skip_codes``."""
    RESULT = "result"
    """The result was too large or could not be encoded."""
    REPLACED = "replaced"
    """A newer run took its place (``overlap = "replace"``)."""
    UNKNOWN_JOB = "unknown_job"
    """The host that claimed it has no job of this name."""


class OutcomeKind(StrEnum):
    """How one attempt ended, before the retry policy is asked."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    REVOKED = "revoked"
    NOT_STARTED = "not_started"
    """No process was made; no attempt is used up."""
    INTERRUPTED = "interrupted"
    """The supervisor stopped the attempt in order: it drains or ends."""
    LOST = "lost"
    """Whoever ran the attempt is gone, or does not own it any more."""


@record(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an attempt's process tree used. Seconds of CPU, bytes of memory."""

    user: float = 0.0
    system: float = 0.0
    max_rss: int = 0
    """Peak resident bytes of the tree as sampled, at least that of its largest process."""
    read_blocks: int = 0
    write_blocks: int = 0


@record(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended."""

    kind: OutcomeKind
    reason: Reason | None = None
    """``None`` only when it succeeded."""
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    """One or more lines for people; the last lines of a traceback for Python jobs."""
    exception: str | None = None
    """Dotted name of the exception a Python job raised."""
    result: str | None = None
    """JSON text."""
    retry_in: float | None = None
    """Seconds; set when the job itself said after how long it is to be tried again."""
    again: bool = False
    """The job itself asked to be tried again."""
    fatal: bool = False
    """The job itself asked not to be tried again."""
    traceback: str | None = None
    """Of the exception a Python job raised; its middle is left out when it is long."""
    pid: int | None = None
    started_at: float = 0.0
    """Epoch seconds; 0 when no process was made."""
    finished_at: float = 0.0
    duration: float = 0.0
    """By the monotonic clock."""
    usage: Usage = field(default_factory=Usage)
    log_bytes: int = 0
    log_truncated: bool = False


@record(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One attempt in the history of a run. Times are epoch seconds."""

    number: int
    outcome: str
    reason: str | None
    exit_code: int | None
    signal: int | None
    error: str | None
    host: str | None
    pid: int | None
    started_at: float | None
    finished_at: float | None
    duration: float | None
    usage: Usage
    log_bytes: int
    log_truncated: bool
    traceback: str | None = None
    """Of the exception a Python job raised; its middle is left out when it is long."""


@record(frozen=True, slots=True, kw_only=True)
class Parent:
    """What the run of a hook is about: another run, as it was then."""

    run: str
    """Its id."""
    job: str
    state: str
    """``succeeded``, ``failed``, ``expired`` or ``retrying``."""
    attempt: int = 0
    """Attempts started so far."""
    reason: str = ""
    exit_code: int | None = None
    error: str = ""
    """At most 300 bytes."""


@record(frozen=True, slots=True, kw_only=True)
class Request:
    """What a submitter asks for: everything about a run that never changes afterwards."""

    id: str
    job: str
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    queue: str = "default"
    priority: int = 5
    max_attempts: int = 1
    """-1: without end."""
    timeout: float | None = None
    """Seconds; overrides the job's own."""
    trigger: str = "manual"
    """``manual``, ``schedule``, ``catchup``, ``retry``, ``hook`` or ``exec``."""
    scheduled_at: float | None = None
    """Epoch seconds of the scheduled instant."""
    submitter: str = ""
    retry_of: str | None = None
    parent: Parent | None = None
    """Of runs that ``on_failure``, ``on_success`` and ``on_retry`` make."""


@record(frozen=True, slots=True, kw_only=True)
class Run:
    """One requested execution as the store knows it. Times are epoch seconds."""

    request: Request
    state: RunState
    letter: str
    reason: str | None = None
    attempt: int = 0
    """Attempts started so far."""
    epoch: int = 0
    """Claims so far: the fence."""
    lost: int = 0
    owner: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    submitted_at: float = 0.0
    not_before: float | None = None
    expires_at: float | None = None
    claimed_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    duration: float | None = None
    host: str | None = None
    pid: int | None = None
    error: str | None = None
    result: str | None = None
    """JSON text."""
    progress: str | None = None
    """JSON text: ``{"percent": …, "message": …}``."""
    cancel: str | None = None
    limits: tuple[str, ...] = ()
    waits_for: str | None = None
    """The limit a parked run waits for."""
    blocked_by: tuple[str, ...] | None = None
    """Runs of which one keeps busy the interpreter it shares, so that its function has not begun;
    ``None`` as far as nobody says that it waits for such."""
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def id(self) -> str:
        """The run's id."""
        return self.request.id

    @property
    def job(self) -> str:
        """The job's name."""
        return self.request.job
