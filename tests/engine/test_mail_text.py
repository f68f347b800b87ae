"""The mails about runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from jobctl.engine.mail_text import Facts, decoded, mail, subject
from jobctl.model.job import JobDef
from jobctl.model.notices import Notice
from jobctl.model.run import Request, Run, RunState

if TYPE_CHECKING:
    from email.message import EmailMessage

JOB = JobDef(
    name="backup", mail_to=("a@x.example", "root"), late_after=60.0, env={"TOKEN": "s3cret"}
)
FAILED = Notice(
    raw=b"", number=7, event="x", run="r" * 16, job="backup", attempt=2, at=1e9, reason="exit",
    exit_code=3, mail=True, failures=1, since=1e9,
)  # fmt: skip


def facts(output: bytes = b"", **more: object) -> Facts:
    request = Request(id="r" * 16, job="backup", max_attempts=3)
    run = Run(
        request=request, state=RunState.FAILED, letter="x", attempt=2, host="web1",
        submitted_at=1e9, started_at=1e9, finished_at=1e9 + 5, duration=5.0,
    )  # fmt: skip
    values: dict[str, object] = {
        "job": JOB, "host": "web2", "zone": ZoneInfo("Europe/Berlin"), "run": run,
        "output": output, "size": len(output), **more,
    }  # fmt: skip
    return Facts(**values)  # type: ignore[arg-type]


def written(notice: Notice = FAILED, of: Facts | None = None) -> EmailMessage:
    return mail(notice, of or facts(), sender="jobctl@x.example", now=1e9)


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "failed (exit 3)"),
        ({"reason": "signal", "exit_code": None, "signal": 9}, "failed (signal 9)"),
        ({"reason": "timeout"}, "failed (timeout)"),
        ({"event": "e", "reason": "deadline"}, "expired (deadline)"),
        ({"event": "k", "reason": ""}, "succeeded"),
        (
            {"event": "k", "reason": "", "recovered": True, "failures": 2},
            "recovered (after 2 failures)",
        ),
        ({"event": "h", "held": 1, "failures": 4}, "failing (1 more failure)"),
        ({"event": "h", "held": 5, "failures": 0}, "failed (5 more failures)"),
        ({"event": "l", "reason": ""}, "late"),
        ({"event": "p"}, "paused (exit 3)"),
    ],
)
def test_subject_says_job_host_and_what_happened(changes: dict[str, object], line: str) -> None:
    notice = replace(FAILED, **changes)  # type: ignore[arg-type]
    assert subject(notice, facts()) == f"[jobctl] backup on web1: {line}"
    assert written(notice)["Subject"] == f"[jobctl] backup on web1: {line}"


def test_mail_says_that_a_program_wrote_it_and_has_an_id_of_its_own() -> None:
    message = written()
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["To"] == "a@x.example, root"
    assert message["Message-ID"] == written()["Message-ID"]
    assert message["Message-ID"] != written(replace(FAILED, number=8))["Message-ID"]


def test_times_are_those_of_the_jobs_zone() -> None:
    assert "2001-09-09 03:46:40 +0200 (Europe/Berlin)" in text_of(written())


def test_failures_before_are_told() -> None:
    said = text_of(written(replace(FAILED, failures=4, held=2)))
    assert "failure 4 in a row" in said
    assert "2 of them were not mailed" in said


def test_mail_without_a_record_says_what_the_notice_knows() -> None:
    said = text_of(written(of=facts(run=None)))
    assert "exit code:  3" in said
    assert written(of=facts(run=None))["Subject"] == "[jobctl] backup on web2: failed (exit 3)"


def test_mail_holds_no_environment() -> None:
    assert "s3cret" not in written(of=facts(b"x")).as_string()


def test_output_that_is_no_text_is_attached_as_text() -> None:
    output = b"a\xff\x00\x1b[31mb\r\nc"
    (part,) = written(of=facts(output)).iter_attachments()
    assert part.get_content_type() == "text/plain"
    assert "a\ufffd\ufffd\ufffd[31mb" in str(part.get_content())


def test_only_the_last_lines_are_in_the_text() -> None:
    said = text_of(written(of=facts(b"".join(b"line %d\n" % number for number in range(100)))))
    assert "line 79\n" not in said.replace("\r", "")
    assert "line 80" in said
    assert "line 99" in said


def test_character_that_was_cut_in_two_is_left_out() -> None:
    whole = "xü€😀".encode()
    for cut in range(len(whole)):
        assert decoded(whole[cut:], cut=True) in "xü€😀"


def test_subject_cannot_begin_another_header() -> None:
    notice = replace(FAILED, reason="a\r\nBcc: all@x.example")
    message = written(notice)
    assert "Bcc" not in message
    assert "\n" not in str(message["Subject"])
