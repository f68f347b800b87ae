from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_world import World, new_run

from jobctl.model.run import Outcome, OutcomeKind, Reason, Request, RunState, Usage
from jobctl.store import queries, transitions
from jobctl.store.attempts import encode_attempt
from jobctl.store.codec import (
    BadPayloadError,
    decode_attempt,
    decode_request,
    encode_envelope,
    host_of,
)


def there_and_back(request: Request) -> Request:
    return decode_request(
        run_id=request.id,
        job=request.job,
        queue=request.queue,
        priority=str(request.priority),
        max_attempts=str(request.max_attempts),
        envelope=encode_envelope(request).encode(),
    )


plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(
    args=st.lists(values, max_size=4).map(tuple),
    kwargs=st.dictionaries(st.text(), values, max_size=4),
    tags=st.dictionaries(st.text(), st.text(), max_size=3),
)
def test_request_survives_the_envelope(
    args: tuple[object, ...], kwargs: dict[str, object], tags: dict[str, str]
) -> None:
    request = Request(id="x", job="j", args=args, kwargs=kwargs, tags=tags)
    assert there_and_back(request) == request


def test_all_of_a_request_survives() -> None:
    request = Request(
        id="x",
        job="j",
        args=(1, "ü"),
        queue="q",
        priority=0,
        max_attempts=-1,
        timeout=1.5,
        trigger="schedule",
        scheduled_at=1_790_000_000.125,
        submitter="u@h",
        retry_of="y",
    )
    assert there_and_back(request) == request


def test_argument_that_is_no_utf8_survives() -> None:
    request = Request(id="x", job="j", args=("caf\udce9", "日本"))
    assert there_and_back(request) == request


def test_newer_envelope_is_refused_with_the_remedy() -> None:
    with pytest.raises(BadPayloadError, match=r"version 2.*upgrade this host"):
        decode_request(
            run_id="x", job="j", queue="q", priority="5", max_attempts="1", envelope=b'{"v":2}'
        )


def test_unknown_keys_of_an_envelope_are_ignored() -> None:
    request = decode_request(
        run_id="x", job="j", queue="q", priority="5", max_attempts="1", envelope=b'{"v":1,"new":1}'
    )
    assert request.trigger == "manual"


def test_attempt_survives() -> None:
    outcome = Outcome(
        kind=OutcomeKind.FAILED,
        reason=Reason.EXIT,
        exit_code=3,
        error="it broke: ü",
        pid=77,
        started_at=1000.5,
        finished_at=1002.25,
        duration=1.75,
        usage=Usage(user=0.5, system=0.25, max_rss=4096, read_blocks=1, write_blocks=2),
        log_bytes=10,
        log_truncated=True,
    )
    entry = encode_attempt(number=2, outcome=outcome, verdict="d", host="h1", pool="h1~a/p.1")
    record = decode_attempt(entry)
    assert (record.number, record.outcome, record.reason) == (2, "failed", "exit")
    assert (record.exit_code, record.error, record.host, record.pid) == (3, "it broke: ü", "h1", 77)
    assert (record.started_at, record.finished_at, record.duration) == (1000.5, 1002.25, 1.75)
    assert record.usage == outcome.usage
    assert (record.log_bytes, record.log_truncated) == (10, True)


def test_succeeded_attempt_has_exit_code_zero() -> None:
    outcome = Outcome(kind=OutcomeKind.SUCCEEDED, exit_code=0)
    entry = encode_attempt(number=1, outcome=outcome, verdict="k", host="h", pool="p")
    assert decode_attempt(entry).exit_code == 0


def test_attempt_keeps_what_its_error_and_its_places_are_called() -> None:
    outcome = Outcome(kind=OutcomeKind.FAILED, error='quoted "x"\n\udcff', duration=0.00001)
    for host in ('a"b', "ü", "a"):
        entry = encode_attempt(number=1, outcome=outcome, verdict="x", host=host, pool='p"')
        entry.encode()
        record = decode_attempt(entry)
        assert (record.host, record.error) == (host, outcome.error)
        assert (record.duration, record.started_at, record.log_truncated) == (0.0, None, False)


def test_host_is_the_first_part_of_an_owner() -> None:
    assert host_of("web-1~k3/default.2") == "web-1"
    assert host_of(None) is None


def read(world: World, run_id: str) -> Any:
    return world.run(queries.run(world.keys, run_id))


def test_run_is_read_in_every_state(world: World) -> None:
    run_id = world.submit(max_attempts=3, priority=8, limits="l:db", expires_in=60, tags={"a": "b"})
    run = read(world, run_id)
    assert (run.state, run.attempt, run.epoch, run.owner) == (RunState.QUEUED, 0, 0, None)
    assert run.limits == ("l:db",)
    assert run.request.tags == {"a": "b"}
    assert abs(run.expires_at - run.submitted_at - 60) < 0.01
    world.claim()
    run = read(world, run_id)
    assert (run.state, run.letter, run.host) == (RunState.RUNNING, "c", "h1")
    assert run.started_at is None
    assert run.claimed_at is not None
    world.start(run_id)
    run = read(world, run_id)
    assert (run.state, run.attempt, run.pid) == (RunState.RUNNING, 1, 4242)
    assert run.started_at == 1_700_000_000.0
    world.settle(run_id, "d", reason="exit", delay=60, fields=("rc", "3", "du", "1.5"))
    run = read(world, run_id)
    assert (run.state, run.reason, run.exit_code, run.duration) == (
        RunState.RETRYING,
        "exit",
        3,
        1.5,
    )
    world.revoke(run_id)
    run = read(world, run_id)
    assert (run.state, run.reason) == (RunState.REVOKED, "user")
    assert run.state.final
    assert run.finished_at is not None


def test_unknown_run_reads_as_none(world: World) -> None:
    assert read(world, "aaaaaaaaaaaaaaaa") is None
    assert not world.run(queries.exists(world.keys, "aaaaaaaaaaaaaaaa"))


def test_ids_are_found_by_their_prefix(world: World) -> None:
    runs = [new_run(f"abcd{i}aaaaaaaaaaa") for i in (2, 3)]
    world.run(transitions.submit(world.keys, [*runs, new_run("zbcd2aaaaaaaaaaa")]))
    found, cursor = [], "0"
    while True:
        cursor, more = world.run(queries.scan_runs(world.keys, "abcd", cursor))
        found += more
        if cursor == "0":
            break
    assert sorted(found) == [run.request.id for run in runs]


def nested(depth: int) -> object:
    value: object = 1
    for index in range(depth):
        value = [value] if index % 2 else {"k": value}
    return value


@pytest.mark.parametrize(("depth", "fine"), [(97, True), (200, False), (900, False)])
def test_values_too_deep_within_each_other_are_refused(depth: int, fine: object) -> None:
    request = Request(
        id="abcdefgh234567ab", job="j", args=(nested(depth),), kwargs={"x": "[" * 300}
    )
    if fine:
        assert there_and_back(request) == request
    else:
        with pytest.raises(BadPayloadError, match="within each other"):
            there_and_back(request)


def test_an_envelope_beyond_all_measure_is_refused_unread() -> None:
    with pytest.raises(BadPayloadError, match="bytes"):
        decode_request(
            run_id="a", job="j", queue="q", priority="5", max_attempts="1",
            envelope=b" " * (64 * 1024 * 1024 + 1),
        )  # fmt: skip
