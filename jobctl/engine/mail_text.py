"""The mails about runs. Pure."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING

from jobctl.model.notices import HELD, LATE, MISSED, PAUSED
from jobctl.model.run import LETTERS
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from jobctl.model.job import JobDef
    from jobctl.model.notices import Notice
    from jobctl.model.run import Run

LAST_LINES = 20
"""Lines of output in the text itself."""
LINE_MOST = 500
ATTACHED_MOST = 256 * 1024
"""Bytes of output that are attached; of more, the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known besides the notice."""

    job: JobDef
    host: str
    """That mails."""
    zone: ZoneInfo
    run: Run | None
    """As it is now; ``None`` when its record is gone."""
    output: bytes
    """The end of the last attempt's output."""
    size: int
    """Bytes of all of it."""
    namespace: str = "default"


def mail(notice: Notice, facts: Facts, *, sender: str, now: float) -> EmailMessage:
    """Return the mail about a notice."""
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject(notice, facts)
    message["From"] = sender
    message["To"] = ", ".join(facts.job.mail_to)
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC).astimezone(facts.zone))
    domain = sender.rpartition("@")[2] or "localhost"
    message["Message-ID"] = f"<{notice.run or 'instant'}.{notice.event}{notice.number}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Precedence"] = "bulk"
    message["X-Jobctl-Job"] = notice.job
    message["X-Jobctl-Run"] = notice.run
    message["X-Jobctl-State"] = word_of(notice)
    output = decoded(facts.output, cut=facts.size > len(facts.output))
    message.set_content(body(notice, facts, output), cte="quoted-printable")
    if output:
        message.add_attachment(
            output, filename=f"{notice.job}-{notice.run}.log", cte="quoted-printable"
        )
    return message


def decoded(output: bytes, *, cut: bool) -> str:
    """Return output as text; a character that was cut in two at the beginning is left out."""
    if cut:
        start = 0
        while start < min(4, len(output)) and output[start] & 0xC0 == 0x80:  # noqa: PLR2004 (within a UTF-8 character)
            start += 1
        output = output[start:]
    text = codecs.decode(output, "utf-8", "replace").replace("\r\n", "\n")
    # What mail cannot carry, and what would move a terminal's cursor, is marked instead.
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def word_of(notice: Notice) -> str:
    """Return what happened, in one word."""
    words = {LATE: "late", HELD: "failing", MISSED: "missed", PAUSED: "paused", "d": "retrying"}
    if notice.event == HELD and notice.failures == 0:
        return "failed"
    if notice.recovered:
        return "recovered"
    return words.get(notice.event) or LETTERS[notice.event].value


def _why(notice: Notice) -> str:
    if notice.reason == "exit" and notice.exit_code is not None:
        return f"exit {notice.exit_code}"
    if notice.reason == "signal" and notice.signal is not None:
        return f"signal {notice.signal}"
    return notice.reason


def subject(notice: Notice, facts: Facts) -> str:
    """Return the subject: job, host and what happened."""
    host = _ran_on(facts) or facts.host
    word, why = word_of(notice), _why(notice)
    if notice.event == HELD:
        why = f"{notice.held} more failure{'' if notice.held == 1 else 's'}"
    elif notice.recovered:
        why = f"after {notice.failures} failure{'' if notice.failures == 1 else 's'}"
    line = f"[jobctl] {notice.job} on {host}: {word}" + (f" ({why})" if why else "")
    return "".join(char if char.isprintable() else "?" for char in line)


def _ran_on(facts: Facts) -> str:
    return facts.run.host or "" if facts.run is not None else ""


def body(notice: Notice, facts: Facts, output: str) -> str:
    """Return the text: a sentence, a table of what is known, and the last lines of output."""
    lines = [_sentence(notice, facts), ""]
    lines += [f"{name + ':':<11} {value}" for name, value in _table(notice, facts) if value]
    if output:
        shown = [line[:LINE_MOST] for line in output.splitlines()[-LAST_LINES:]]
        more = facts.size > len(facts.output)
        lines += ["", f"Last lines of its output ({facts.size} bytes in all):", ""]
        lines += [f"  {line}" for line in shown]
        if more:
            lines += ["", f"Attached is the end of it; all of it: jobctl logs {notice.run}"]
    elif facts.run is not None and facts.run.attempt:
        lines += ["", "It printed nothing, or its output is on another host."]
    lines += [
        "",
        f"More: jobctl inspect {notice.run}"
        if notice.run
        else f"More: jobctl schedule show {notice.job}",
        "",
    ]
    return "\n".join(lines)


def _sentence(notice: Notice, facts: Facts) -> str:
    job, since = notice.job, _moment(notice.since, facts)
    if notice.event == LATE:
        late = format_duration(facts.job.late_after or 0)
        waits = f" It waits for the limit {notice.waits_for}." if notice.waits_for else ""
        more = f" So have {notice.held} others since the last mail." if notice.held else ""
        return f"{job} has not started within {late} of its time.{waits}{more}"
    if notice.event == MISSED:
        return f"{job} was not run at its time: no supervisor was up, or it was too late."
    if notice.event == PAUSED:
        return f"{job} failed {notice.failures} times in a row; its schedules are switched off."
    if notice.event == HELD:
        times = f"{notice.held} time{'' if notice.held == 1 else 's'}"
        now = f"It goes on failing since {since}." if notice.failures else "Its last run succeeded."
        return f"{job} failed {times} more since the last mail. {now}"
    if notice.recovered:
        return f"{job} works again, after {notice.failures} failed run{'' if notice.failures == 1 else 's'} since {since}."
    said = f"{job}: {word_of(notice)}" + (f" ({_why(notice)})" if _why(notice) else "") + "."
    if notice.failures > 1:
        said += f" That is failure {notice.failures} in a row, since {since}."
    if notice.held:
        said += f" {notice.held} of them were not mailed."
    return said


def _table(notice: Notice, facts: Facts) -> list[tuple[str, str]]:
    run, job = facts.run, facts.job
    attempt = ""
    if notice.attempt:
        most = run.request.max_attempts if run is not None else 0
        attempt = f"{notice.attempt}" + (f" of {most}" if most > 0 else "")
    rows = [
        ("job", notice.job),
        ("about", job.description),
        ("owner", job.owner),
        ("run", notice.run),
        ("host", _ran_on(facts) or facts.host),
        ("namespace", "" if facts.namespace == "default" else facts.namespace),
        ("state", word_of(notice)),
        ("reason", notice.reason),
        ("exit code", "" if notice.exit_code is None else str(notice.exit_code)),
        ("signal", "" if notice.signal is None else str(notice.signal)),
        ("error", " ".join(notice.error.split())),
        ("attempt", attempt),
        ("due", _moment(notice.due, facts)),
    ]
    if run is not None:
        rows += [
            ("trigger", run.request.trigger),
            ("scheduled", _moment(run.request.scheduled_at, facts)),
            ("submitted", _moment(run.submitted_at, facts)),
            ("started", _moment(run.started_at, facts)),
            ("finished", _moment(run.finished_at, facts)),
            ("duration", "" if run.duration is None else f"{run.duration:.3f} s"),
        ]
    return rows


def _moment(value: float | None, facts: Facts) -> str:
    if value is None:
        return ""
    moment = datetime.fromtimestamp(value, UTC).astimezone(facts.zone)
    return f"{moment:%Y-%m-%d %H:%M:%S %z} ({facts.zone.key})"
