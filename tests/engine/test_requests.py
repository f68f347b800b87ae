"""What was asked for is read once, and never taken for what somebody else asked for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jobctl.engine.requests import KNOWN_MOST, Requests
from jobctl.model.run import Request
from jobctl.store.codec import BadPayloadError, encode_envelope
from jobctl.store.transitions import Claim

SEAL = ',"z":"key.1..2.abc"}'


def claim(request: Request, *, envelope: str | None = None, seal: str = SEAL) -> Claim:
    text = envelope or encode_envelope(request)[:-1] + seal
    return Claim(
        request.id, 1, 0, 0, None, request.queue, str(request.priority), request.job, 0.0,
        str(request.max_attempts), text.encode(), None,
    )  # fmt: skip


def asked(run_id: str, **more: object) -> Request:
    return replace(Request(id=run_id, job="job", submitter="me@here"), **more)


def test_requests_that_say_the_same_differ_in_their_ids_alone() -> None:
    requests = Requests()
    first = requests.read(claim(asked("a1")), sealed=True)
    second = requests.read(claim(asked("b2"), seal=',"z":"key.3..4.def"}'), sealed=True)

    assert first == asked("a1")
    assert second == asked("b2")
    assert type(second) is Request


@pytest.mark.parametrize(
    "more",
    [
        {"job": "other"}, {"queue": "other"}, {"priority": 2}, {"max_attempts": 3},
        {"timeout": 5.0}, {"trigger": "schedule", "scheduled_at": 7.0}, {"submitter": "you"},
        {"args": (1,)}, {"kwargs": {"z": "key.1..2.abc"}}, {"tags": {"a": "b"}},
    ],
)  # fmt: skip
def test_another_request_is_never_taken_for_a_known_one(more: dict[str, object]) -> None:
    requests = Requests()
    for run_id in ("a1", "b2", "c3"):
        requests.read(claim(asked(run_id)), sealed=True)
        other = asked(run_id + "x", **more)
        assert requests.read(claim(other), sealed=True) == other


def test_arguments_are_not_shared_between_runs() -> None:
    requests = Requests()
    one, other = (
        requests.read(claim(asked(run_id, kwargs={"a": [1]})), sealed=True)
        for run_id in ("a1", "b2")
    )
    one.kwargs["a"].append(2)  # type: ignore[attr-defined]  # a list
    assert other.kwargs == {"a": [1]}


def test_what_follows_the_mark_of_a_seal_counts_where_nothing_is_signed() -> None:
    requests = Requests()
    plain = encode_envelope(asked("a1"))
    requests.read(claim(asked("a1"), envelope=plain), sealed=False)
    requests.read(claim(asked("b2")), sealed=False)
    more = plain[:-1] + ',"z":"q","a":[1]}'

    assert requests.read(claim(asked("c3"), envelope=more), sealed=False).args == (1,)


def test_an_id_that_can_be_no_file_is_refused_whatever_is_known() -> None:
    requests = Requests()
    requests.read(claim(asked("a1")), sealed=True)
    with pytest.raises(BadPayloadError, match="name of a file"):
        requests.read(claim(asked("../a1")), sealed=True)


def test_only_so_many_requests_are_remembered() -> None:
    requests = Requests()
    for n in range(3 * KNOWN_MOST):
        requests.read(claim(asked("a1", submitter=f"somebody{n}")), sealed=True)
    assert len(requests._known) <= KNOWN_MOST
    long = asked("a1", submitter="x" * 2000)
    assert requests.read(claim(long), sealed=True) == long
    assert all(len(key[0]) < len(json.dumps("x" * 2000)) for key in requests._known)
