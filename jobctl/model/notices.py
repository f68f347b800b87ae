"""Who is told of what: the word a run carries, the notices that come of it, what each asks for.

A run of a job that wants notices carries a word such as ``dkxe,m3600000,l300000``: letters of
events, then settings, each a comma, a letter and a number. ``store/lua/notices.lua`` reads it and
writes a notice in the same step that moves the run, so none gets lost with a supervisor.
"""

from __future__ import annotations

import json

from jobctl.model.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.job import JobDef

START, RETRY, LATE, HELD = "r", "d", "l", "h"
"""Events that are no final state: the first start, an attempt that is followed by another, a run
that did not start in time, and failures that were held back."""
MISSED, PAUSED = "m", "p"
"""A scheduled instant without a run; a job whose schedules were switched off."""
FAILURES = "xe"
"""Final states in which a run did not do its work."""
DEPTH_MOST = 5
"""Hooks above each other: the run of a hook that has so many above it has no hooks."""
MAIL_ON = {"failure": "", "output": "kxev", "always": "kxev", "never": ""}
"""The ends that a mail may be about, besides failures that are mailed once in a while."""
PINGS = "rkxes"


def notice_word(job: JobDef, *, depth: int = 0) -> str:
    """Return what the runs of ``job`` carry; empty when nobody wants to know anything.

    ``depth`` is how many runs are above one that a hook makes.
    """
    letters: set[str] = set()
    settings: list[tuple[str, int]] = []
    if depth < DEPTH_MOST:
        letters.update(FAILURES if job.on_failure else "")
        letters.update("k" if job.on_success else "")
        letters.update(RETRY if job.on_retry else "")
    if job.mail_to:
        letters.update(MAIL_ON[job.mail_on])
        if job.mail_on == "failure":
            settings.append(("m", _ms(job.mail_every)))
    if job.ping_url is not None:
        letters.update(PINGS)
    if job.late_after is not None:
        settings.append(("l", _ms(job.late_after)))
    if job.pause_after_failures is not None:
        settings.append(("p", job.pause_after_failures))
    if not letters and not settings:
        return ""
    if depth:
        settings.append(("h", depth))
    word = "".join(letter for letter in "rdkxevs" if letter in letters)
    return word + "".join(f",{letter}{number}" for letter, number in settings)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


@record(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that somebody may want to know. Times are epoch seconds."""

    raw: bytes
    """As the store holds it."""
    number: int
    """Unique in the namespace; later notices have higher ones."""
    event: str
    """A final letter, or one of the words above."""
    run: str
    job: str
    attempt: int
    at: float
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    depth: int = 0
    """Hooks above the run."""
    mail: bool = False
    """It is this one's turn to be mailed, of failures that are not all mailed."""
    failures: int = 0
    """Failed runs of the job in a row, this one included; before a success, those it ended."""
    since: float | None = None
    """When the first of them failed."""
    held: int = 0
    """Failures, or late runs, since the last mail that were not mailed."""
    recovered: bool = False
    """The run succeeded after failures."""
    due: float | None = None
    """When a late or missed run should have started."""
    waits_for: str = ""
    """The limit that a late run waits for."""
    state: str = ""
    """Letter of a late run's state."""


def parse_notice(raw: bytes) -> Notice:
    """Return what a notice says; raises ``ValueError`` for what is none."""
    body = json.loads(raw.decode("utf-8", "replace"))
    try:
        return Notice(
            raw=raw,
            number=int(body["no"]),
            event=str(body["ev"]),
            run=str(body["id"]),
            job=str(body["j"]),
            attempt=int(body.get("at") or 0),
            at=float(body["t"]) / 1000,
            reason=str(body.get("rs") or ""),
            exit_code=_whole(body.get("rc")),
            signal=_whole(body.get("sg")),
            error=str(body.get("er") or ""),
            depth=int(body.get("h") or 0),
            mail=bool(body.get("m")),
            failures=int(body.get("n") or 0),
            since=_seconds(body.get("since")),
            held=int(body.get("q") or 0),
            recovered=bool(body.get("rec")),
            due=_seconds(body.get("due")),
            waits_for=str(body.get("pl") or ""),
            state=str(body.get("s") or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no notice: {error!r}") from error


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))


def _seconds(value: object) -> float | None:
    return None if value is None else float(str(value)) / 1000


def hooks_of(notice: Notice, job: JobDef) -> tuple[str, ...]:
    """Return the jobs that a notice asks for."""
    if notice.depth >= DEPTH_MOST:
        return ()
    if notice.event in FAILURES:
        return job.on_failure
    return {"k": job.on_success, RETRY: job.on_retry}.get(notice.event, ())


def may_mail(notice: Notice, job: JobDef) -> bool:
    """Return whether a mail is to be written of a notice.

    With ``mail_on = "output"`` it is only if there was output, or the run failed.
    """
    if not job.mail_to or job.mail_on == "never":
        return False
    if notice.event in (LATE, MISSED, PAUSED):
        return True
    if job.mail_on == "failure":
        return notice.mail
    return notice.event in MAIL_ON[job.mail_on]


def ping_word(notice: Notice) -> str | None:
    """Return what is put behind a ping URL, empty for success; ``None``: no ping.

    A run that was skipped because there was nothing to do is well; one that was skipped because
    an older one goes on says nothing.
    """
    event = notice.event
    if event == START:
        return "/start"
    if event == "k":
        return ""
    if event == "s":
        return "" if notice.reason in ("code", "condition") else None
    if event in FAILURES:
        plain = notice.reason == "exit" and notice.exit_code is not None
        return f"/{notice.exit_code}" if plain and 0 < (notice.exit_code or 0) < 256 else "/fail"  # noqa: PLR2004 (what an exit code can be)
    return None
