"""The checks of ``jobctl doctor`` about notices: whether mail can go out, and what waits or was lost."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.config.hosts import SENDMAIL
from jobctl.model.units import format_duration
from jobctl.store import outbox, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.open import Session
    from jobctl.model.config import Config

PATIENCE = 3.0
"""Seconds that a mail server has for answering."""
LONG = 60.0
"""Seconds that a notice may wait without a word."""
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


def mail_check(config: Config) -> Iterator[Check]:
    """Say how this host mails, when a job asks for mails, and whether that can be."""
    if not any(job.mail_to and job.mail_on != "never" for job in config.jobs.values()):
        return
    mail, program = config.mail, config.mail.sendmail or SENDMAIL
    if mail.smtp is None and (mail.sendmail is not None or os.access(program, os.X_OK)):
        if os.access(program, os.X_OK):
            yield Check(name="mail", status=OK, detail=f"goes through {program}")
        else:
            yield Check(
                name="mail", status=ERROR, detail=f"there is no program {program}",
                remedy="install it, or name a server with smtp in [mail]",
            )  # fmt: skip
        return
    parts = urlsplit(mail.smtp or "smtp://localhost")
    user = parts.username is not None and parts.scheme == "smtp"
    host = parts.hostname or "localhost"
    port = parts.port or (587 if user else _PORTS[parts.scheme])
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        yield Check(
            name="mail", status=ERROR, detail=f"{host}:{port} does not answer: {error.strerror or error}",
            remedy="mails wait for a day: start the server, or name another with smtp in [mail]",
        )  # fmt: skip
        return
    yield Check(name="mail", status=OK, detail=f"goes to {host}:{port}")


def outbox_check(session: Session) -> Iterator[Check]:
    """Say what waits to be told, and what never was."""
    keys = session.keys
    sids = session.run(queries.supervisors(keys))
    lists = [keys.notices, *(keys.outbox(sid) for sid in sids)]
    waiting = sum(session.run_many([outbox.length(one) for one in lists]))
    oldest = [raw for raw in session.run_many([outbox.oldest(one) for one in lists]) if raw]
    counters = session.run(queries.counters(keys))
    lost, untold = (int(counters.get(name, "0") or 0) for name in ("undelivered", "untold"))
    age = max((session.run(queries.now(keys)) - _time(raw) for raw in oldest), default=0.0)
    if waiting and age > LONG:
        yield Check(
            name="notices", status=WARNING,
            detail=f"{waiting} wait to be delivered, the oldest for {format_duration(round(age))}",
            remedy="the daemons' logs say what is in the way; without a daemon nobody delivers",
        )  # fmt: skip
    if lost or untold:
        yield Check(
            name="notices", status=WARNING,
            detail=f"{lost} were given up, and {untold} could not be written down",
            remedy="the daemons' logs say which and why; jobctl list --state failed,expired shows what failed",
        )  # fmt: skip
    elif age <= LONG:
        yield Check(name="notices", status=OK, detail=f"{waiting} wait, none was given up")


def _time(raw: bytes) -> float:
    try:
        return float(json.loads(raw)["t"]) / 1000
    except (ValueError, KeyError, TypeError):
        return 0.0
