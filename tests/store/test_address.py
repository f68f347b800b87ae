from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jobctl.errors import ConfigError
from jobctl.store.address import Address, masked, socket_path
from jobctl.store.group_address import GroupAddress


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", Address(host="localhost")),
        ("redis://", Address(host="localhost")),
        ("redis://db", Address(host="db")),
        ("REDIS://db/3", Address(host="db", db=3)),
        ("redis://db?db=3", Address(host="db", db=3)),
        ("redis://10.0.0.1:7000", Address(host="10.0.0.1", port=7000)),
        ("redis://[::1]:7000/1", Address(host="::1", port=7000, db=1)),
        ("redis://:p%40ss%2F@db", Address(host="db", password="p@ss/")),
        ("redis://me:secret@db", Address(host="db", username="me", password="secret")),
        ("redis://db?password=s%26t", Address(host="db", password="s&t")),
        ("rediss://db", Address(host="db", tls=True)),
        ("rediss://db?ssl_cert_reqs=none", Address(host="db", tls=True, verify=False)),
        (
            "rediss://db?ssl_ca_certs=/a%20b/ca.pem&ssl_certfile=c&ssl_keyfile=k",
            Address(host="db", tls=True, ca_certs="/a b/ca.pem", certfile="c", keyfile="k"),
        ),
        ("unix:///run/a%20b/s.sock", Address(path="/run/a b/s.sock")),
        ("unix:///run/s?db=2", Address(path="/run/s", db=2)),
        ("unix://me:pw@/run/s", Address(path="/run/s", username="me", password="pw")),
        ("unix:///run/s?password=pw", Address(path="/run/s", password="pw")),
        (
            "redis+sentinel://a,b:26380,[::1]:1/main/2",
            GroupAddress(
                group="sentinel",
                servers=(("a", 26379), ("b", 26380), ("::1", 1)),
                service="main",
                db=2,
            ),
        ),
        (
            "rediss+sentinel://me:p%40ss@a/main?sentinel_username=s&sentinel_password=t&ssl_ca_certs=c",
            GroupAddress(
                group="sentinel",
                servers=(("a", 26379),),
                service="main",
                username="me",
                password="p@ss",
                sentinel_username="s",
                sentinel_password="t",
                tls=True,
                ca_certs="c",
            ),
        ),
        (
            "redis+cluster://:pw@a,b:7001",
            GroupAddress(group="cluster", servers=(("a", 6379), ("b", 7001)), password="pw"),
        ),
        ("redis+cluster://a/0", GroupAddress(group="cluster", servers=(("a", 6379),))),
    ],
)
def test_url_becomes_an_address(url: str, expected: Address) -> None:
    assert Address.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "not a store address"),
        ("localhost:6379", "redis://host:6379/0"),
        ("http://db", "not a store address"),
        ("redis+sentinel://a,b", "the service that the sentinels watch is missing"),
        ("redis+sentinel://a,,b/main", "a server has no name"),
        ("redis+sentinel://a,a:26379/main", "named twice"),
        ("redis+sentinel://a/main/x", "'x' is not a database number"),
        ("redis+sentinel://a:x/main", "not a port number"),
        ("redis+sentinel://a/main?ssl_ca_certs=x", "unknown option 'ssl_ca_certs'"),
        ("redis+cluster://a?sentinel_password=x", "unknown option 'sentinel_password'"),
        ("redis+cluster://a/1", "no databases"),
        ("redis+cluster://", "a server has no name"),
        ("redis+ring://a", "not a store address"),
        ("redis://db/main", "'main' is not a database number"),
        ("redis://db:x", "not a port number"),
        ("redis://db:99999", "not a port number"),
        ("redis://db?tiemout=3", "unknown option 'tiemout'"),
        ("redis://db?ssl_ca_certs=x", "unknown option 'ssl_ca_certs'"),
        ("rediss://db?ssl_cert_reqs=maybe", "'required' or 'none'"),
        ("unix://run/s", "unix:///path"),
        ("unix://", "unix:///path"),
    ],
)
def test_bad_url_is_refused_with_the_remedy(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(url)
    assert words in str(caught.value)
    assert "redis = " in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@db:7000/1",
        "redis://:hunter2@db",
        "redis://db?password=hunter2",
        "unix:///run/s?password=hunter2",
        "unix://me:hunter2@/run/s",
        "redis+cluster://me:hunter2@a,b",
        "redis+sentinel://me:hunter2@a,b/main?sentinel_password=hunter2",
    ],
)
def test_printed_address_hides_the_password(url: str) -> None:
    address = Address.parse(url)
    assert "hunter2" not in str(address) + repr(address) + f"{address}"
    assert "***" in str(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@db",
        "redis://me:hun/ter2@db",
        "redis://me:hun?ter2@db",
        "redis://me:hun@ter2@db:x",
        "redis://me:hun#ter2@db",
        "redis://hunter2@db:x",
        "redis://db:x?password=hunter2",
        "me:hunter2@db",
        "redis+sentinel://a?sentinel_password=hunter2",
    ],
)
def test_refused_url_hides_the_password(url: str) -> None:
    assert "ter2" not in masked(url)
    with pytest.raises(ConfigError) as caught:
        Address.parse(url)
    assert "ter2" not in str(caught.value)


def test_address_does_not_change() -> None:
    address = Address(host="db")
    with pytest.raises(AttributeError):
        address.host = "other"
    with pytest.raises(AttributeError):
        del address.host
    assert len({address, Address(host="db"), Address(host="db", db=1)}) == 2


@pytest.mark.parametrize(
    "url",
    ["redis://me:pw@db:7000/1", "redis+sentinel://:pw@a,b/main/2", "redis+cluster://a,b"],
)
def test_address_survives_a_journey_as_json(url: str) -> None:
    address = Address.parse(url).serving("shop")
    assert Address.from_facts(json.loads(json.dumps(address.facts()))) == address


@pytest.mark.parametrize(("namespace", "slot"), [("x", 16287), ("123456789", 12739)])
def test_namespace_has_the_slot_that_servers_compute(namespace: str, slot: int) -> None:
    assert Address.parse("redis+cluster://a").serving(namespace).slot == slot


def test_embedded_address_is_below_the_state_directory() -> None:
    assert Address.of_embedded("/var/lib/jobctl").path == socket_path("/var/lib/jobctl")
    assert socket_path("/var/lib/jobctl") == "/var/lib/jobctl/store/valkey.sock"


def test_executor_is_cheap_to_import() -> None:
    code = (
        "import sys, jobctl.store.blocking, jobctl.store.address, jobctl.store.calls;"
        "dear = {'typing', 'dataclasses', 'socket', 'ssl', 'asyncio', 're', 'json', 'hashlib',"
        "'urllib', 'pathlib', 'logging', 'redis'} & set(sys.modules);"
        "print(sorted(dear))"
    )
    answer = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
