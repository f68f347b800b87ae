"""Keys about notices, and hooks that would go round in a circle."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.config.validate import Checked

TWO = '[jobs.a]\ncommand = "true"\n{a}\n[jobs.b]\ncommand = "true"\n{b}\n'


@pytest.mark.parametrize(
    ("a", "b", "way"),
    [
        ('on_failure = "a"', "", "a → a"),
        ('on_failure = "b"', 'on_success = "a"', "a → b → a"),
        ('on_retry = ["b"]', 'on_failure = ["b"]', "b → b"),
    ],
)
def test_hooks_that_go_round_in_a_circle_are_refused_once(
    check: Callable[..., Checked], a: str, b: str, way: str
) -> None:
    (problem,) = check(TWO.format(a=a, b=b)).problems
    assert problem.code == "circle"
    assert problem.message.endswith(way)


def test_hooks_in_a_row_are_fine(check: Callable[..., Checked]) -> None:
    text = TWO.format(a='on_failure = "b"\non_success = "b"', b="")
    assert check(text).problems == ()


def test_hook_of_all_jobs_has_none_of_theirs(check: Callable[..., Checked]) -> None:
    text = '[defaults]\non_failure = "b"\non_success = "b"\n' + TWO.format(a="", b="")
    jobs = check(text).require().jobs
    assert (jobs["a"].on_failure, jobs["a"].on_success) == (("b",), ("b",))
    assert (jobs["b"].on_failure, jobs["b"].on_success) == ((), ())


@pytest.mark.parametrize(
    "address", ["-oX/tmp/x", "a b", "a,b", "a@", "@b", "a\\nBcc: c", "<a@b>", ""]
)
def test_what_is_no_address_is_refused(check: Callable[..., Checked], address: str) -> None:
    checked = check(f'[jobs.a]\ncommand = "true"\nmail_to = "{address}"\n')
    assert [problem.key for problem in checked.problems] == ["jobs.a.mail_to"]


@pytest.mark.parametrize("address", ["root", "a.b+c@x.example", "ü@x.example"])
def test_addresses_and_local_names_are_accepted(
    check: Callable[..., Checked], address: str
) -> None:
    checked = check(f'[jobs.a]\ncommand = "true"\nmail_to = "{address}"\n')
    assert checked.require().jobs["a"].mail_to == (address,)


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://x", "smtp://", "smtp://h:x", "smtps://a b"]
)
def test_what_is_no_mail_server_is_refused(check: Callable[..., Checked], url: str) -> None:
    (problem,) = check(f'[mail]\nsmtp = "{url}"\n').problems
    assert problem.key == "mail.smtp"


def test_password_in_the_address_of_a_server_is_in_no_text(check: Callable[..., Checked]) -> None:
    checked = check('[mail]\nsmtp = "http://u:hunter2@h"\nsender = "x y"\n')
    assert len(checked.problems) == 2
    assert "hunter2" not in repr(checked.problems)


def test_mail_table_is_kept(check: Callable[..., Checked]) -> None:
    mail = (
        check('[mail]\nsmtp = "smtps://u@h:1"\nsender = "a@b"\npassword_file = "pw"\n')
        .require()
        .mail
    )
    assert (mail.smtp, mail.sender) == ("smtps://u@h:1", "a@b")
    assert mail.password_file is not None
    assert mail.password_file.startswith("/")


def test_mails_that_nobody_gets_are_warned_of(check: Callable[..., Checked]) -> None:
    (problem,) = check('[jobs.a]\ncommand = "true"\nmail_on = "always"\n').problems
    assert (problem.code, problem.severity) == ("no-effect", "warning")


def test_what_is_not_about_jobs_is_handed_over_without_them(check: Callable[..., Checked]) -> None:
    text = (
        '[jobctl]\nname = "x"\n[security]\nsign = "none"\n[mail]\nsender = "a@b"\n'
        "[pools.p]\nslots = 1\n[queues.q]\nmax_length = 1\n[limits.l]\nslots = 1\n"
        '[jobs.a]\ncommand = "true"\nqueue = "z"\n'
    )
    whole = check(text).require()
    rest = whole.without_jobs()
    assert rest.jobs == {}
    for field in fields(whole):
        if field.name != "jobs":
            assert getattr(whole, field.name), f"the test has nothing in {field.name}"
            assert getattr(rest, field.name) == getattr(whole, field.name)
