"""Which notices a job's runs ask for, and what is done about each."""

from __future__ import annotations

import json

import pytest

from jobctl.model.job import JobDef
from jobctl.model.notices import (
    DEPTH_MOST,
    Notice,
    hooks_of,
    may_mail,
    notice_word,
    parse_notice,
    ping_word,
)


def a_notice(event: str, **facts: object) -> Notice:
    return Notice(raw=b"", number=1, event=event, run="r", job="j", attempt=1, at=0.0, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({}, ""),
        ({"on_failure": ("x",)}, "xe"),
        ({"on_success": ("x",)}, "k"),
        ({"on_retry": ("x",)}, "d"),
        ({"mail_to": ("a",)}, ",m3600000"),
        ({"mail_to": ("a",), "mail_every": 0.0}, ",m0"),
        ({"mail_to": ("a",), "mail_on": "output"}, "kxev"),
        ({"mail_to": ("a",), "mail_on": "never"}, ""),
        ({"mail_on": "always"}, ""),
        ({"ping_url": "https://h"}, "rkxes"),
        ({"late_after": 1.5}, ",l1500"),
        ({"pause_after_failures": 3}, ",p3"),
        ({"mail_to": ("a",), "on_retry": ("x",), "late_after": 1.0}, "d,m3600000,l1000"),
    ],
)
def test_run_carries_what_its_job_asks_for(keys: dict[str, object], word: str) -> None:
    job = JobDef(name="j", **keys)  # type: ignore[arg-type]
    assert "".join(sorted(notice_word(job).partition(",")[0])) == "".join(
        sorted(word.partition(",")[0])
    )
    assert notice_word(job).partition(",")[2] == word.partition(",")[2]


def test_hooks_end_where_too_many_are_above_each_other() -> None:
    job = JobDef(name="j", on_failure=("x",), ping_url="https://h")
    assert notice_word(job, depth=DEPTH_MOST - 1) == f"rkxes,h{DEPTH_MOST - 1}"
    assert hooks_of(a_notice("x", depth=DEPTH_MOST - 1), job) == ("x",)
    assert hooks_of(a_notice("x", depth=DEPTH_MOST), job) == ()
    assert notice_word(JobDef(name="j", on_failure=("x",)), depth=DEPTH_MOST) == ""


@pytest.mark.parametrize(
    ("event", "hooks"),
    [("x", "f"), ("e", "f"), ("k", "s"), ("d", "r"), ("v", ""), ("s", ""), ("l", "")],
)
def test_each_event_runs_its_own_hooks(event: str, hooks: str) -> None:
    job = JobDef(name="j", on_failure=("f",), on_success=("s",), on_retry=("r",))
    assert "".join(hooks_of(a_notice(event), job)) == hooks


@pytest.mark.parametrize(
    ("mail_on", "events"),
    [("failure", "lpm"), ("output", "kxevlpm"), ("always", "kxevlpm"), ("never", "")],
)
def test_mails_are_written_of_what_mail_on_says(mail_on: str, events: str) -> None:
    job = JobDef(name="j", mail_to=("a",), mail_on=mail_on)
    assert {event for event in "rdkxevslpm" if may_mail(a_notice(event), job)} == set(events)
    assert not any(may_mail(a_notice(event), JobDef(name="j")) for event in "kxl")


def test_failure_whose_turn_it_is_is_mailed() -> None:
    assert may_mail(a_notice("x", mail=True), JobDef(name="j", mail_to=("a",)))


@pytest.mark.parametrize(
    ("notice", "word"),
    [
        (a_notice("r"), "/start"),
        (a_notice("k"), ""),
        (a_notice("x", reason="exit", exit_code=3), "/3"),
        (a_notice("x", reason="timeout", exit_code=143), "/fail"),
        (a_notice("x", reason="exit", exit_code=0), "/fail"),
        (a_notice("x", reason="lost"), "/fail"),
        (a_notice("e", reason="deadline"), "/fail"),
        (a_notice("s", reason="condition"), ""),
        (a_notice("s", reason="code"), ""),
        (a_notice("s", reason="overlap"), None),
        (a_notice("v"), None),
        (a_notice("d"), None),
    ],
)
def test_ping_says_how_it_went(notice: Notice, word: str | None) -> None:
    assert ping_word(notice) == word


@pytest.mark.parametrize("raw", [b"", b"[]", b"3", b"{}", b'{"no":"x"}', b"\xff", b'{"no":{}}'])
def test_what_is_no_notice_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (ours and those of json alike)
        parse_notice(raw)


def test_text_that_is_no_utf8_is_read_as_far_as_it_goes() -> None:
    body = {"no": 1, "ev": "x", "id": "r", "j": "j", "t": 1000, "er": "?"}
    notice = parse_notice(json.dumps(body).encode().replace(b'"?"', b'"a\xff"'))
    assert (notice.error, notice.at) == ("a\ufffd", 1.0)
