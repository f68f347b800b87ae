"""Handing mails over, to a real server on the loopback and to real programs."""

from __future__ import annotations

import ssl
from email.message import EmailMessage
from typing import TYPE_CHECKING

import pytest

from jobctl.engine import mailing
from jobctl.engine.delivery import DownError, RefusedError, UndeliveredError
from jobctl.model.job import MailDef
from tests.listeners import MailServer, free_port

if TYPE_CHECKING:
    from pathlib import Path


def a_mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "hello"
    message["From"] = "jobctl@test.example"
    message["To"] = "a@test.example"
    message.set_content(".\n.dots\n")
    return message


def send(mail: MailDef, *to: str) -> list[str]:
    return mailing.send_to_server(
        mailing.route(mail),
        a_mail(),
        sender="jobctl@test.example",
        to=list(to or ("a@test.example",)),
    )


def offering_tls(certificates: Path, **options: object) -> MailServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    return MailServer(tls=context, **options)  # type: ignore[arg-type]


def test_mail_arrives_as_it_was_written() -> None:
    with MailServer() as post:
        assert send(MailDef(smtp=post.url)) == []
    (mail,) = post.mails
    assert (mail.sender, mail.to) == ("jobctl@test.example", ["a@test.example"])
    assert mail.text == ".\n.dots\n"
    assert not mail.encrypted


def test_refusal_for_good_is_not_tried_again() -> None:
    with MailServer(answer="550 no such user") as post, pytest.raises(RefusedError) as caught:
        send(MailDef(smtp=post.url))
    assert "no such user" in str(caught.value)


def test_refusal_for_now_is_tried_again() -> None:
    with MailServer(answer="451 come back") as post, pytest.raises(UndeliveredError) as caught:
        send(MailDef(smtp=post.url))
    assert not isinstance(caught.value, RefusedError)


def test_only_those_who_did_not_get_it_are_left(caplog: pytest.LogCaptureFixture) -> None:
    answers = {"b@x.example": "451 later", "c@x.example": "550 never"}
    with MailServer(answers=answers) as post:
        left = send(MailDef(smtp=post.url), "a@x.example", "b@x.example", "c@x.example")
    assert left == ["b@x.example"]
    assert post.mails[0].to == ["a@x.example"]
    assert "c@x.example" in caplog.text


def test_server_that_is_not_there_is_down() -> None:
    with pytest.raises(DownError):
        send(MailDef(smtp=f"smtp://127.0.0.1:{free_port()}"))


def test_server_that_hangs_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "TIMEOUT", 0.2)
    with MailServer() as post:
        post.hangs.set()
        with pytest.raises(DownError):
            send(MailDef(smtp=post.url))


def test_offered_encryption_is_used_even_if_nobody_knows_the_certificate(
    certificates: Path,
) -> None:
    with offering_tls(certificates) as post:
        send(MailDef(smtp=post.url))
    assert post.mails[0].encrypted


def test_user_logs_in_over_a_checked_connection(certificates: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    with offering_tls(certificates, password="s3cret") as post:
        mail = MailDef(
            smtp=f"smtp+tls://me%40x@localhost:{post.port}",
            password_file=str(secret),
            ca_file=str(certificates / "ca.pem"),
        )
        send(mail)
    assert (post.mails[0].user, post.mails[0].encrypted) == ("me@x", True)


def test_password_is_not_sent_to_a_server_that_nobody_vouches_for(certificates: Path) -> None:
    with (
        offering_tls(certificates, password="x") as post,
        pytest.raises(UndeliveredError, match="certificate"),
    ):
        send(MailDef(smtp=f"smtp://me:x@localhost:{post.port}"))
    assert post.mails == []


def test_encryption_that_is_asked_for_is_not_done_without() -> None:
    with MailServer() as post, pytest.raises(RefusedError, match="no encryption"):
        send(MailDef(smtp=f"smtp+tls://127.0.0.1:{post.port}"))
    assert post.mails == []


def test_wrong_password_says_what_to_look_at() -> None:
    with (
        MailServer(password="right") as post,
        pytest.raises(UndeliveredError, match="password_file"),
    ):
        send(MailDef(smtp=f"smtp://me:wrong@127.0.0.1:{post.port}"))


def test_password_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    with pytest.raises(UndeliveredError, match="chmod 600"):
        mailing.route(MailDef(smtp="smtp://me@localhost", password_file=str(secret)))


@pytest.mark.parametrize(
    ("smtp", "port"),
    [
        ("smtp://h", 25),
        ("smtp://me@h", 587),
        ("smtp+tls://h", 587),
        ("smtps://h", 465),
        ("smtps://h:1", 1),
    ],
)
def test_ports_follow_from_the_scheme(smtp: str, port: int) -> None:
    assert mailing.route(MailDef(smtp=smtp)).port == port


def a_program(tmp_path: Path, text: str) -> MailDef:
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return MailDef(sendmail=str(program))


def through(mail: MailDef, *to: str) -> None:
    way = mailing.route(mail)
    process = mailing.start_program(way, sender="me@x.example", to=list(to))
    mailing.feed_program(way, process, a_mail())


def test_program_gets_addresses_and_mail(tmp_path: Path) -> None:
    mail = a_program(tmp_path, f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/mail')
    through(mail, "a", "b@x.example")
    assert (tmp_path / "words").read_text() == "-i -f me@x.example -- a b@x.example\n"
    sent = (tmp_path / "mail").read_bytes()
    assert b"Subject: hello\n" in sent
    assert b"\r" not in sent


def test_program_that_fails_is_tried_again_unless_it_says_never(tmp_path: Path) -> None:
    with pytest.raises(UndeliveredError, match="ended with 75: busy") as caught:
        through(a_program(tmp_path, "cat >/dev/null; echo busy >&2; exit 75"), "a")
    assert not isinstance(caught.value, RefusedError)
    with pytest.raises(RefusedError):
        through(a_program(tmp_path, "exit 67"), "a")


def test_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "PROGRAM_TIMEOUT", 0.2)
    with pytest.raises(DownError, match="did not end"):
        through(a_program(tmp_path, "exec sleep 100"), "a")


def test_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    way = mailing.route(MailDef(sendmail=str(tmp_path / "none")))
    with pytest.raises(UndeliveredError, match="cannot be started"):
        mailing.start_program(way, sender=None, to=["a"])
