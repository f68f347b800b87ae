"""Handing mails over: to a mail server, or to a program such as ``sendmail``.

Both block and are meant for a thread, but for the making of a process, which is for the loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import smtplib
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jobctl.config.hosts import SENDMAIL
from jobctl.engine.delivery import DownError, RefusedError, UndeliveredError, quoted

if TYPE_CHECKING:
    from email.message import EmailMessage

    from jobctl.model.job import MailDef

log = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds for each step of a talk with a mail server."""
PROGRAM_TIMEOUT = 60.0
PASSWORD_MOST = 4096
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FOR_GOOD = (64, 65, 67, 68)
"""Exit codes of sendmail that no repetition changes: usage, data, no such user, no such host."""
_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class Route:
    """Where mails go: a server, or a program when ``host`` is empty."""

    program: str = ""
    scheme: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    ca_file: str | None = None

    @property
    def place(self) -> str:
        """What it is called in messages."""
        return self.program or f"{self.scheme}://{self.host}:{self.port}"


def route(mail: MailDef) -> Route:
    """Return the way for mails on this host; raises ``UndeliveredError`` for a password that cannot be read."""
    program = mail.sendmail or SENDMAIL
    if mail.smtp is None and (mail.sendmail is not None or os.access(program, os.X_OK)):
        return Route(program=program)
    parts = urlsplit(mail.smtp or "smtp://localhost")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if mail.password_file is not None:
        password = _password(mail.password_file)
    return Route(
        scheme=parts.scheme,
        host=parts.hostname or "localhost",
        port=parts.port or (587 if user and parts.scheme == "smtp" else _PORTS[parts.scheme]),
        user=user,
        password=password,
        ca_file=mail.ca_file,
    )


def _password(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (a text)
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise UndeliveredError(
                    f"password_file {path} can be read by others; chmod 600 {path}"
                )
            return file.read(PASSWORD_MOST).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UndeliveredError(f"password_file {path} cannot be read: {why}") from None


def send_to_server(way: Route, message: EmailMessage, *, sender: str, to: list[str]) -> list[str]:
    """Send to a server; return who it did not take for now.

    Raises :class:`UndeliveredError` when nobody got it. Who was refused for good while others were
    not is only warned of.
    """
    try:
        with _connected(way) as client:
            refused = client.send_message(message, from_addr=sender, to_addrs=to)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
        said = "; ".join(f"{who}: {code} {quoted(why)}" for who, (code, why) in refused.items())
        if all(code >= 500 for code, _ in refused.values()):  # noqa: PLR2004 (SMTP: for good)
            raise RefusedError(f"{way.place} takes no mail for {said}") from None
        if len(refused) == len(to):
            raise UndeliveredError(f"{way.place} takes no mail now for {said}") from None
    except smtplib.SMTPAuthenticationError as error:
        raise UndeliveredError(
            f"{way.place} does not let in {way.user}: {error.smtp_code} {quoted(error.smtp_error)}; "
            "look at smtp and password_file in [mail]"
        ) from None
    except smtplib.SMTPResponseException as error:
        said = f"{way.place} answered {error.smtp_code} {quoted(error.smtp_error)}"
        if error.smtp_code >= 500:  # noqa: PLR2004 (SMTP: for good)
            raise RefusedError(said) from None
        raise UndeliveredError(said) from None
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise DownError(f"{way.place} cannot be reached: {quoted(error)}") from None
    for who, (code, why) in refused.items():
        log.warning("%s takes no mail for %s: %d %s", way.place, who, code, quoted(why))
    return [who for who, (code, _) in refused.items() if code < 500]  # noqa: PLR2004


@contextlib.contextmanager
def _connected(way: Route):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a generator of a client)
    """Connect, encrypted as the scheme says, and log in."""
    strict = way.scheme != "smtp" or bool(way.user)
    context = ssl.create_default_context(cafile=way.ca_file)
    if not strict:
        # Encryption that is only offered protects from listeners, not from who stands in between.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    client: smtplib.SMTP
    if way.scheme == "smtps":
        client = smtplib.SMTP_SSL(way.host, way.port, timeout=TIMEOUT, context=context)
    else:
        client = smtplib.SMTP(way.host, way.port, timeout=TIMEOUT)
    with client:
        client.ehlo_or_helo_if_needed()
        if way.scheme != "smtps" and client.has_extn("starttls"):
            client.starttls(context=context)
            client.ehlo()
        elif way.scheme == "smtp+tls" or (
            way.user and way.scheme != "smtps" and way.host not in _LOCAL
        ):
            raise RefusedError(
                f"{way.place} offers no encryption, and "
                + (
                    "the password is not sent without; "
                    if way.user
                    else "smtp+tls:// asks for it; "
                )
                + "look at smtp in [mail]"
            )
        if way.user:
            client.login(way.user, way.password)
        yield client


def start_program(way: Route, *, sender: str | None, to: list[str]) -> subprocess.Popen[bytes]:
    """Start the program that takes a mail; raises :class:`UndeliveredError`. Not for threads."""
    words = [way.program, "-i", *(("-f", sender) if sender else ()), "--", *to]
    try:
        return subprocess.Popen(  # noqa: S603 (the administrator named it, addresses are checked)
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
    except OSError as error:
        raise UndeliveredError(f"{way.program} cannot be started: {error.strerror}") from None


def feed_program(way: Route, process: subprocess.Popen[bytes], message: EmailMessage) -> None:
    """Give a mail to a program that was started, and wait for it; raises :class:`UndeliveredError`."""
    # Such programs want the line ends of the system.
    data = message.as_bytes(policy=message.policy.clone(linesep="\n"))
    try:
        _, said = process.communicate(data, timeout=PROGRAM_TIMEOUT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise DownError(f"{way.program} did not end within {PROGRAM_TIMEOUT:g} s") from None
    if process.returncode:
        what = f"{way.program} ended with {process.returncode}: {quoted(said) or 'it said nothing'}"
        raise (RefusedError if process.returncode in _FOR_GOOD else UndeliveredError)(what)
