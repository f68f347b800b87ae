"""The exception tree; each branch is what the caller can do about it.

::

    JobctlError                 exit 1
    ├── UsageError              exit 2    wrong words on the command line
    │   └── InvalidArguments              arguments or options that a job does not take
    ├── NotFoundError           exit 66   no such job or run
    │   ├── NoSuchJob
    │   └── NoSuchRun
    ├── UnreachableError        exit 69   store or daemon not reachable
    ├── NotAcceptedError        exit 75   not now, or unknown: repeat with the printed id
    ├── NotPermittedError       exit 77   credentials or file permissions
    ├── ConfigError             exit 78   jobs.toml or the environment is wrong
    ├── TimedOutError           exit 124  a wait ran out
    ├── JobFailed               exit 1    what was waited for ended without success
    └── RunNotEnded             exit 1    a result was asked for that is not there yet

What Python programs are told carries the job's name and the run ids it is about.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T", bound=type[Exception])


def shown_as(name: str) -> Callable[[T], T]:
    """Have tracebacks name an error as Python programs do: ``jobctl.name``."""

    def rename(error: T) -> T:
        error.__name__ = error.__qualname__ = name
        error.__module__ = "jobctl"
        return error

    return rename


class ExitCode:
    """What ``jobctl`` itself exits with; a job's own code is passed through unchanged.

    Plain numbers: an enum would make every command start a third of a bare interpreter later.
    """

    OK = 0
    """It worked. For ``wait``, ``result``, ``run`` and ``submit --wait``: the job succeeded, or skipped itself."""
    JOB_FAILED = 1
    """The job ended badly without a code of its own (revoked, expired, lost …), or jobctl met an error
    that none of the others describes."""
    USAGE = 2
    """The words of the command do not fit together."""
    NOT_FOUND = 66
    """There is no such job or run."""
    UNREACHABLE = 69
    """Nothing listens where the store or the daemon should be."""
    NOT_ACCEPTED = 75
    """Not accepted for now, or its fate is unknown: repeat it with the printed id."""
    NOT_PERMITTED = 77
    """The store or the file system refuses these credentials."""
    CONFIG = 78
    """jobs.toml, or what it points at, cannot be used."""
    TIMED_OUT = 124
    """A wait ran out, or the job ended by its time limit."""
    INTERRUPTED = 130
    """Ctrl-C."""


def _remade(kind: type[JobctlError], args: tuple[object, ...]) -> JobctlError:
    """Return an error that comes from another process; its attributes follow."""
    return kind.__new__(kind, *args)


@shown_as("JobctlError")
class JobctlError(Exception):
    """Base of everything raised on purpose; the message says what, where and the remedy."""

    exit_code = ExitCode.JOB_FAILED
    code = "error"
    """The stable word for this branch in ``--json`` errors."""
    reply = ""
    """What the store answered word for word, if the error stands for an answer."""
    field = ""
    """The field of a cron expression that is wrong."""
    column = -1
    """Where in the schedule's text, from 0; -1 when no place can be named."""
    job: str | None = None
    """The job it is about, if it is about one."""
    ids: Sequence[str] = ()
    """The runs it is about; with these a request can be repeated."""
    items: Sequence[int] = ()
    """Of ``submit_many``: the places, from 0, of the items it is about, those that ``ids`` are of."""

    def __init__(
        self, message: str = "", *, job: str | None = None, ids: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        if job is not None:
            self.job = job
        if ids:
            self.ids = ids

    @property
    def id(self) -> str | None:
        """The run it is about; ``None`` when it is about none or several."""
        return self.ids[0] if len(self.ids) == 1 else None

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process makes it anew: without what its class asks for."""
        return _remade, (type(self), self.args), self.__dict__


@shown_as("UsageError")
class UsageError(JobctlError):
    """Raised when the words of a command do not fit together."""

    exit_code = ExitCode.USAGE
    code = "usage"


@shown_as("InvalidArguments")
class InvalidArguments(UsageError):  # noqa: N818 (as Python programs read it)
    """Raised when a job does not take these arguments or options; nothing was submitted."""


@shown_as("NotFound")
class NotFoundError(JobctlError):
    """Raised when no job or run has the given name."""

    exit_code = ExitCode.NOT_FOUND
    code = "not_found"


@shown_as("NoSuchJob")
class NoSuchJob(NotFoundError):  # noqa: N818 (as Python programs read it)
    """Raised when the configuration has no job of this name."""


@shown_as("NoSuchRun")
class NoSuchRun(NotFoundError):  # noqa: N818 (as Python programs read it)
    """Raised when the store knows no such run: it never was, or was forgotten."""


@shown_as("StoreUnreachable")
class UnreachableError(JobctlError):
    """Raised when nothing listens where the store or the daemon should be."""

    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"


@shown_as("NotAccepted")
class NotAcceptedError(JobctlError):
    """Raised when a request was refused for now, or its fate is unknown."""

    exit_code = ExitCode.NOT_ACCEPTED
    code = "not_accepted"


@shown_as("NotPermitted")
class NotPermittedError(JobctlError):
    """Raised when the store or the file system refuses these credentials."""

    exit_code = ExitCode.NOT_PERMITTED
    code = "not_permitted"


@shown_as("ConfigError")
class ConfigError(JobctlError):
    """Raised when jobs.toml, or what it points at, cannot be used."""

    exit_code = ExitCode.CONFIG
    code = "config"


@shown_as("WaitTimeout")
class TimedOutError(JobctlError):
    """Raised when a wait ran out before its condition came true."""

    exit_code = ExitCode.TIMED_OUT
    code = "timed_out"


@shown_as("JobFailed")
class JobFailed(JobctlError):  # noqa: N818 (as Python programs read it)
    """Raised when a run that was waited for ended without success.

    The message says how; what it is made of is in the attributes.
    """

    code = "job_failed"

    def __init__(  # noqa: PLR0913 (one keyword per fact)
        self,
        message: str,
        *,
        job: str,
        ids: Sequence[str],
        state: str = "failed",
        reason: str | None = None,
        code: int | None = None,
        signal: int | None = None,
        error_type: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message, job=job, ids=ids)
        self.state = state
        """``failed``, ``revoked``, ``expired`` or ``skipped``."""
        self.reason = reason
        """Why, in a word: ``exception``, ``exit``, ``timeout``, ``user`` …; see the states reference."""
        self.job_exit_code = code
        """What its process exited with; ``None`` when it did not exit."""
        self.signal = signal
        """The number of the signal that ended its process."""
        self.error_type = error_type
        """The name of the exception that a Python job raised, as its traceback has it."""
        self.traceback = traceback
        """The traceback of a Python job, or what else is known of the error."""


@shown_as("RunNotEnded")
class RunNotEnded(JobctlError):  # noqa: N818 (as Python programs read it)
    """Raised when the result of a run is asked for that has not ended."""

    code = "not_ended"
