from __future__ import annotations

import pytest

from jobctl.engine.ending import Ending, Finding, judge, judge_reply, signal_number
from jobctl.engine.python_call import PythonReply
from jobctl.errors import ConfigError
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason

SHELL = JobDef(name="j", command="x", success_codes=(0, 3), skip_codes=(75,))
PLAIN = JobDef(name="j", command=("x",))
PYTHON = JobDef(name="j", python="m:f", success_codes=(0, 3), skip_codes=(75,))


def exited(code: int) -> int:
    return code << 8


def facts(ending: Ending) -> tuple[OutcomeKind, Reason | None, int | None, int | None]:
    return ending.finding.kind, ending.finding.reason, ending.exit_code, ending.signal


@pytest.mark.parametrize(
    ("job", "status", "expected"),
    [
        (SHELL, exited(0), (OutcomeKind.SUCCEEDED, None, 0, None)),
        (SHELL, exited(3), (OutcomeKind.SUCCEEDED, None, 3, None)),
        (PLAIN, exited(3), (OutcomeKind.FAILED, Reason.EXIT, 3, None)),
        (SHELL, exited(75), (OutcomeKind.SKIPPED, Reason.CODE, 75, None)),
        (SHELL, exited(1), (OutcomeKind.FAILED, Reason.EXIT, 1, None)),
        (SHELL, 15, (OutcomeKind.FAILED, Reason.SIGNAL, None, 15)),
        (SHELL, 11 | 0x80, (OutcomeKind.FAILED, Reason.SIGNAL, None, 11)),
        (SHELL, exited(143), (OutcomeKind.FAILED, Reason.SIGNAL, 143, 15)),
        (SHELL, exited(128), (OutcomeKind.FAILED, Reason.EXIT, 128, None)),
        (SHELL, exited(255), (OutcomeKind.FAILED, Reason.EXIT, 255, None)),
        (PLAIN, exited(143), (OutcomeKind.FAILED, Reason.EXIT, 143, None)),
    ],
)
def test_status_becomes_an_ending(job: JobDef, status: int, expected: object) -> None:
    assert facts(judge(job, status, stopped=None)) == expected


def test_success_code_above_128_is_no_signal() -> None:
    job = JobDef(name="j", command="x", success_codes=(143,))
    assert facts(judge(job, exited(143), stopped=None)) == (OutcomeKind.SUCCEEDED, None, 143, None)


def test_stopped_attempt_ends_as_what_it_was_stopped_for() -> None:
    stopped = Finding(OutcomeKind.REVOKED, Reason.USER)
    assert facts(judge(SHELL, exited(0), stopped=stopped)) == (
        OutcomeKind.REVOKED,
        Reason.USER,
        0,
        None,
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (PythonReply(reason=None, result="1"), (OutcomeKind.SUCCEEDED, None, 0, None)),
        (PythonReply(reason=None, exit_code=0), (OutcomeKind.SUCCEEDED, None, 0, None)),
        (PythonReply(reason=Reason.EXIT, exit_code=3), (OutcomeKind.SUCCEEDED, None, 3, None)),
        (PythonReply(reason=Reason.EXIT, exit_code=4), (OutcomeKind.FAILED, Reason.EXIT, 4, None)),
        (
            PythonReply(reason=Reason.EXIT, exit_code=75),
            (OutcomeKind.SKIPPED, Reason.CODE, 75, None),
        ),
        (
            PythonReply(reason=Reason.EXCEPTION, skip=True),
            (OutcomeKind.SKIPPED, Reason.EXCEPTION, None, None),
        ),
    ],
)
def test_reply_becomes_an_ending(reply: PythonReply, expected: object) -> None:
    assert facts(judge_reply(PYTHON, reply, stopped=None)) == expected


def test_raised_exception_is_known_by_all_its_classes() -> None:
    reply = PythonReply(
        reason=Reason.EXCEPTION, exception="m.Lost", bases=("m.Lost", "OSError"), retry_in=5.0
    )
    ending = judge_reply(PYTHON, reply, stopped=None)
    assert (ending.exception, ending.retry_in) == ("m.Lost OSError", 5.0)


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("sigint", 2), ("9", 9)])
def test_signal_names(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "NOPE", "999"])
def test_unknown_signal_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a signal"):
        signal_number(name)
