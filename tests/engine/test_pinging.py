"""Calls to ping URLs, to a real server on the loopback."""

from __future__ import annotations

import pytest

from jobctl.engine import pinging
from jobctl.engine.delivery import DownError, RefusedError, UndeliveredError
from tests.listeners import WebServer, free_port


@pytest.mark.parametrize(
    ("url", "word", "path"),
    [
        ("https://h/a", "/start", "https://h/a/start?"),
        ("https://h/a/", "", "https://h/a?"),
        ("https://h/a?create=1", "/3", "https://h/a/3?create=1&"),
        ("http://u:p@h:8/", "/fail", "http://u:p@h:8/fail?"),
    ],
)
def test_word_goes_behind_the_path_and_the_run_into_the_query(
    url: str, word: str, path: str
) -> None:
    made = pinging.ping_url(url, word, "abc")
    assert made.startswith(path + "rid=")
    assert made == pinging.ping_url(url, word, "abc")
    assert made != pinging.ping_url(url, word, "abd")


def test_place_has_no_credentials() -> None:
    assert pinging.place_of("https://u:p@h:8/secret") == "https://h:8"


def test_end_of_the_output_goes_along_as_far_as_the_server_takes_it() -> None:
    limits = pinging.Limits()
    output = b"x" * 20_000 + b"end"
    with WebServer(headers={"Ping-Body-Limit": "100"}) as web:
        for _ in range(2):
            pinging.ping(web.url, output, limits)
    first, second = web.calls
    assert first.body == output[-10_000:]
    assert second.body == output[-100:]
    assert second.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_limit_that_makes_no_sense_is_not_believed() -> None:
    limits = pinging.Limits()
    for said in (None, "", "-1", "many", "²"):
        limits.learn("p", said)
    assert limits.of("p") == pinging.BODY_MOST
    limits.learn("p", "9" * 30)
    assert limits.of("p") == pinging.LIMIT_MOST


@pytest.mark.parametrize(
    ("status", "for_good"), [(404, True), (410, True), (429, False), (503, False)]
)
def test_refusal_is_for_good_only_when_it_is_our_fault(status: int, *, for_good: bool) -> None:
    with WebServer(status=status) as web, pytest.raises(UndeliveredError) as caught:
        pinging.ping(web.url + "/secret", b"", pinging.Limits())
    assert isinstance(caught.value, RefusedError) == for_good
    assert "secret" not in str(caught.value)


def test_server_that_is_not_there_is_down() -> None:
    with pytest.raises(DownError) as caught:
        pinging.ping(f"http://127.0.0.1:{free_port()}/secret", b"", pinging.Limits())
    assert "secret" not in str(caught.value)


def test_server_that_hangs_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinging, "TIMEOUT", 0.2)
    with WebServer() as web:
        web.hangs.set()
        with pytest.raises(DownError):
            pinging.ping(web.url, b"", pinging.Limits())


def test_redirect_is_followed_on_the_web_and_nowhere_else() -> None:
    with WebServer() as goal, WebServer(status=302, location=f"{goal.url}/there") as web:
        pinging.ping(web.url, b"", pinging.Limits())
        assert goal.paths == ["/there"]
        web.location = "file:///etc/passwd"
        with pytest.raises(UndeliveredError):
            pinging.ping(web.url, b"", pinging.Limits())
