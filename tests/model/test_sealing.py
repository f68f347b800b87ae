"""Signatures of runs and orders."""

from __future__ import annotations

import hashlib
import hmac
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobctl.model.admission import Admission, NewRun
from jobctl.model.run import Request
from jobctl.model.sealing import Key, Ring, SealError, UnknownKeyError
from jobctl.store.codec import decode_request, encode_envelope

NOW = 1_900_000_000.0
KEY = Key("k1", b"\x01" * 32)
RUN_ID = "abcdefgh234567ab"


def a_ring(*keys: Key, namespace: str = "ns", required: bool = True) -> Ring:
    keys = keys or (KEY,)
    return Ring(keys, namespace=namespace, signer=keys[-1], valid_for=86_400.0, required=required)


def a_run(run_id: str = RUN_ID, **options: object) -> NewRun:
    overlap = str(options.pop("overlap", ""))
    times = {name: options.pop(name) for name in ("start_at", "expires_in") if name in options}
    request = Request(id=run_id, job="job", **options)  # type: ignore[arg-type]
    return NewRun(request=request, admission=Admission(overlap=overlap), **times)  # type: ignore[arg-type]


def sealed(run: NewRun, ring: Ring | None = None) -> bytes:
    return (ring or a_ring()).seal(run, encode_envelope(run.request), now=NOW).encode()


def check(ring: Ring, envelope: bytes, **changed: str) -> object:
    facts = {"run_id": RUN_ID, "job": "job", "queue": "default", "priority": "5", "attempts": "1"}
    return ring.check(envelope, **(facts | changed))


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300))
def test_the_mac_is_hmac_sha256(secret: bytes, message: bytes) -> None:
    assert Key("k", secret).mac(message) == hmac.new(secret, message, hashlib.sha256).hexdigest()


def test_what_was_sealed_is_accepted_and_reads_as_before() -> None:
    run = a_run(args=("ü", 1), kwargs={"z": "x", "y": [1]}, tags={"a": "b"})
    envelope = sealed(run)

    assert check(a_ring(), envelope).until == NOW + 86_400 + 1  # type: ignore[attr-defined]
    read = decode_request(
        run_id=RUN_ID, job="job", queue="default", priority="5", max_attempts="1", envelope=envelope
    )
    assert read == run.request


@pytest.mark.parametrize(
    "changed",
    [
        {"run_id": "bbcdefgh234567ab"},
        {"job": "other"},
        {"queue": "root"},
        {"priority": "9"},
        {"attempts": "-1"},
    ],
)
def test_a_changed_field_of_the_record_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(SealError, match="does not fit"):
        check(a_ring(), sealed(a_run()), **changed)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_of_the_envelope_is_refused(place: int, change: int) -> None:
    envelope = bytearray(sealed(a_run(args=("one", "two"))))
    envelope[place % len(envelope)] ^= change

    with pytest.raises(SealError):
        check(a_ring(), bytes(envelope))


def test_another_namespace_and_another_secret_are_refused() -> None:
    envelope = sealed(a_run())

    for ring in (a_ring(namespace="other"), a_ring(Key("k1", b"\x02" * 32))):
        with pytest.raises(SealError, match="does not fit"):
            check(ring, envelope)


def test_a_key_that_was_retired_is_refused_by_name() -> None:
    with pytest.raises(UnknownKeyError, match="'k1'"):
        check(a_ring(Key("k2", b"\x02" * 32)), sealed(a_run()))


def test_an_older_key_is_accepted_while_a_newer_one_signs() -> None:
    newer = Key("k2", b"\x02" * 32)
    both = a_ring(KEY, newer)

    assert check(both, sealed(a_run())).key == "k1"  # type: ignore[attr-defined]
    assert check(both, sealed(a_run(), both)).key == "k2"  # type: ignore[attr-defined]


@pytest.mark.parametrize("envelope", [b"", b"{}", b'{"v":1,"k":{"a":1,"z":"a.b.c.d.e"}}', b"\xff"])
def test_what_is_not_signed_is_refused_only_where_it_must_be(envelope: bytes) -> None:
    assert check(a_ring(required=False), envelope) is None
    with pytest.raises(SealError, match="not signed"):
        check(a_ring(), envelope)


def test_expiry_and_due_time_are_signed() -> None:
    found = check(a_ring(), sealed(a_run(start_at=NOW + 60, expires_in=90.0)))

    assert (found.not_before, found.until) == (NOW + 60, NOW + 91)  # type: ignore[attr-defined]


def test_an_order_is_for_one_target_and_one_word() -> None:
    ring = a_ring()
    order = ring.order("stop", "h~1", now=NOW)

    word, time, nonce = ring.check_order(order, "h~1")
    assert (word, time) == ("stop", NOW)
    assert nonce not in ring.order("stop", "h~1", now=NOW)
    for text, target in (
        (order, "h~2"), (order.replace("stop", "drain"), "h~1"), ("stop", "h~1"), (order[:-1], "h~1"),
    ):  # fmt: skip
        with pytest.raises(SealError):
            ring.check_order(text, target)


def test_a_run_that_replaces_others_carries_the_proof() -> None:
    ring = a_ring()
    envelope = sealed(a_run(overlap="r")).decode()
    proof = envelope.partition('"y":"')[2].partition('"')[0]

    assert ring.check_proof(proof, "job") == (RUN_ID, NOW)
    with pytest.raises(SealError):
        ring.check_proof(proof, "other")
    assert check(ring, envelope.encode())


def test_a_line_break_in_a_fact_cannot_shift_the_others() -> None:
    with pytest.raises(SealError, match="line break"):
        check(a_ring(), sealed(a_run()), job="job\ndefault")


def test_a_key_is_printed_without_its_secret() -> None:
    assert "01" not in repr(KEY)


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300))
def test_macs_are_the_same_with_and_without_openssl(secret: bytes, message: bytes) -> None:
    with_it = Key("k", secret)
    openssl = sys.modules.pop("_hashlib")
    try:
        without = Key("k", secret)
    finally:
        sys.modules["_hashlib"] = openssl

    assert with_it.mac(message) == without.mac(message)
    assert without.mac(message) == hmac.new(secret, message, "sha256").hexdigest()
