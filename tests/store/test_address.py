from __future__ import annotations

import subprocess
import sys

import pytest

from jobctl.errors import ConfigError
from jobctl.store.address import Address, masked, socket_path


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
        ("redis+sentinel://a,b/main", "does not support sentinel"),
        ("redis+cluster://a", "does not support cluster"),
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
