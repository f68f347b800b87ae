"""How the end of a process becomes the outcome of an attempt: pure, no I/O."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.errors import ConfigError
from jobctl.model.records import maker
from jobctl.model.run import Outcome, OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.engine.python_call import PythonReply
    from jobctl.model.job import JobDef
    from jobctl.model.run import Usage

SHELL_SIGNAL = 128
"""A shell exits with this plus the number of the signal that ended its command."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What an attempt came to, and why; ``reason`` is ``None`` only when it succeeded."""

    kind: OutcomeKind
    reason: Reason | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """A finding with what the process or the function itself said; see ``Outcome``."""

    finding: Finding
    exit_code: int | None = None
    signal: int | None = None
    result: str | None = None
    exception: str | None = None
    retry_in: float | None = None
    again: bool = False
    fatal: bool = False
    traceback: str | None = None


_outcome = maker(Outcome)


def outcome_of(
    ending: Ending,
    *,
    pid: int,
    started_at: float,
    duration: float,
    usage: Usage,
    log_bytes: int,
    log_truncated: bool,
) -> Outcome:
    """Return the outcome of an attempt that was made. Times are epoch seconds, and seconds."""
    finding = ending.finding
    return _outcome(
        kind=finding.kind,
        reason=finding.reason,
        exit_code=ending.exit_code,
        signal=ending.signal,
        error=finding.error,
        exception=ending.exception,
        result=ending.result,
        retry_in=ending.retry_in,
        again=ending.again,
        fatal=ending.fatal,
        traceback=ending.traceback,
        pid=pid,
        started_at=started_at,
        finished_at=started_at + duration,
        duration=duration,
        usage=usage,
        log_bytes=log_bytes,
        log_truncated=log_truncated,
    )


def judge(job: JobDef, status: int, *, stopped: Finding | None) -> Ending:
    """Return the ending of a leader that ``wait4`` reported with ``status``.

    ``stopped`` is set when jobctl ended it: that decides, whatever the process made of it. A shell
    command that exits with 128+n is reported as ended by signal n, keeping its exit code.
    """
    exit_code, number = _numbers(status, shell=isinstance(job.command, str))
    if stopped is not None:
        return Ending(stopped, exit_code, number)
    if exit_code is not None and exit_code in job.success_codes:
        return Ending(Finding(OutcomeKind.SUCCEEDED), exit_code, None)
    if exit_code is not None and exit_code in job.skip_codes:
        error = f"exit code {exit_code} is one of skip_codes"
        return Ending(Finding(OutcomeKind.SKIPPED, Reason.CODE, error), exit_code, None)
    if number is not None:
        error = f"ended by signal {number} ({_signal_name(number)})"
        return Ending(Finding(OutcomeKind.FAILED, Reason.SIGNAL, error), exit_code, number)
    error = f"exit code {exit_code}"
    return Ending(Finding(OutcomeKind.FAILED, Reason.EXIT, error), exit_code, None)


def judge_reply(job: JobDef, reply: PythonReply, *, stopped: Finding | None) -> Ending:
    """Return the ending of a Python function that returned, raised, or exited like a script.

    It has the exit code that a script with the same ending would have; one that raised ``Skip`` has
    none.
    """
    exit_code = reply.exit_code
    if exit_code is None and not reply.skip and (reply.ok or reply.reason is Reason.EXCEPTION):
        exit_code = 0 if reply.ok else 1
    if stopped is not None:
        return Ending(stopped, exit_code)
    if exit_code is not None and exit_code in job.skip_codes:
        error = f"exit code {exit_code} is one of skip_codes"
        return Ending(Finding(OutcomeKind.SKIPPED, Reason.CODE, error), exit_code)
    if reply.ok or (reply.reason is Reason.EXIT and exit_code in job.success_codes):
        return Ending(Finding(OutcomeKind.SUCCEEDED), exit_code, result=reply.result)
    kind = OutcomeKind.SKIPPED if reply.skip else OutcomeKind.FAILED
    code = None if reply.exit_code is None else f"exit code {exit_code}"
    return Ending(
        Finding(kind, reply.reason, reply.error or code),
        exit_code,
        # All its classes, so that retry_on may name a base class.
        exception=" ".join(reply.bases) or reply.exception,
        retry_in=reply.retry_in,
        again=reply.again,
        fatal=reply.fatal,
        traceback=reply.traceback,
    )


def keeps_result(job: JobDef, *, succeeded: bool) -> bool:
    """Tell whether ``keep_result`` wants the result of a run; what nobody keeps may be anything."""
    return job.keep_result == "all" or (job.keep_result == "errors" and not succeeded)


def signal_number(name: str) -> int:
    """Return the number of ``TERM``, ``SIGTERM`` or ``15``; raise :class:`ConfigError`."""
    try:
        if name.isdigit():
            return int(signal.Signals(int(name)))
        return int(signal.Signals["SIG" + name.upper().removeprefix("SIG")])
    except (KeyError, ValueError):
        raise ConfigError(f"{name} is not a signal; try TERM, INT, HUP, USR1 or KILL") from None


def _numbers(status: int, *, shell: bool) -> tuple[int | None, int | None]:
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    exit_code = os.WEXITSTATUS(status)
    number = exit_code - SHELL_SIGNAL
    if shell and number > 0 and number in signal.valid_signals():
        return exit_code, number
    return exit_code, None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return f"real-time {number}"
