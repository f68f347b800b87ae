"""Both executors over TLS; the bundled server has none, so a proxy speaks it."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError, JobctlError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

PING = Call(("PING",), lambda reply: reply)
PATIENCE = 30.0
"""Seconds: where others leave a test little time, a handshake may take longer than a daemon waits."""


def ping_blocking(address: Address, patience: float = PATIENCE) -> object:
    with BlockingStore(address, connect_timeout=patience) as store:
        assert store.run(PING) == b"PONG"
        return store.run(PING)


def ping_async(address: Address, patience: float = PATIENCE) -> object:
    async def story() -> object:
        async with AsyncStore(address, connect_timeout=patience) as store:
            assert await store.run_many([PING] * 5) == [b"PONG"] * 5
            return await store.run(PING)

    return asyncio.run(story())


def ping_async_as_a_daemon(address: Address, patience: float = PATIENCE) -> object:
    """Ping in a process that began without ``ssl``, and after a connection without TLS."""
    return _in_process(
        f"""
from jobctl.store import no_tls
no_tls.import_asyncio()
assert "asyncio" in sys.modules and "ssl" not in sys.modules
from test_tls import ping_async
from jobctl.errors import UnreachableError
try:
    ping_async(Address(host="localhost", port=1))
except UnreachableError:
    pass
assert "ssl" not in sys.modules
answer = attempt(lambda: ping_async(Address.from_facts({address.facts()!r}), {patience}))
"""
    )


def _in_process(code: str) -> object:
    """Run code in an interpreter of its own; return its ``answer``, or raise what it raised."""
    begin = f"""
import pickle, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from jobctl.store.address import Address
def attempt(what):
    try:
        return what()
    except Exception as error:
        return error
"""
    end = "sys.stdout.buffer.write(pickle.dumps(answer))"
    command = [sys.executable, "-c", begin + code + end]
    answer = pickle.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture(
    params=[ping_blocking, ping_async, ping_async_as_a_daemon],
    ids=["blocking", "async", "as a daemon"],
)
def ping(request: pytest.FixtureRequest) -> Callable[..., object]:
    return request.param  # type: ignore[no-any-return]


def test_trusted_server_is_used(ping, tls_proxy, certificates: Path) -> None:
    url = f"rediss://localhost:{tls_proxy.port}?ssl_ca_certs={certificates}/ca.pem"
    assert ping(Address.parse(url)) == b"PONG"


def test_unknown_authority_is_refused(ping, tls_proxy) -> None:
    with pytest.raises(UnreachableError, match="TLS failed") as caught:
        ping(Address.parse(f"rediss://:hunter2@localhost:{tls_proxy.port}"))
    assert "hunter2" not in str(caught.value)


def test_certificate_for_another_host_is_refused(ping, tls_proxy, certificates: Path) -> None:
    url = f"rediss://127.0.0.1:{tls_proxy.port}?ssl_ca_certs={certificates}/ca.pem"
    with pytest.raises(UnreachableError, match=r"(?i)TLS failed.*not valid for '127.0.0.1'"):
        ping(Address.parse(url))


def test_verification_can_be_switched_off(ping, tls_proxy) -> None:
    url = f"rediss://127.0.0.1:{tls_proxy.port}?ssl_cert_reqs=none"
    assert ping(Address.parse(url)) == b"PONG"


def test_client_certificate_is_shown(ping, tls_proxy, certificates: Path) -> None:
    tls_proxy._context.load_verify_locations(certificates / "ca.pem")
    tls_proxy._context.verify_mode = 2  # required
    url = f"rediss://localhost:{tls_proxy.port}?ssl_ca_certs={certificates}/ca.pem"
    pair = f"&ssl_certfile={certificates}/server.pem&ssl_keyfile={certificates}/server.key"
    assert ping(Address.parse(url + pair)) == b"PONG"
    with pytest.raises(JobctlError):
        ping(Address.parse(url))


def test_missing_certificate_file_is_a_wrong_address(ping, tls_proxy, tmp_path: Path) -> None:
    url = f"rediss://localhost:{tls_proxy.port}?ssl_ca_certs={tmp_path}/none.pem"
    with pytest.raises(ConfigError, match=r"none\.pem"):
        ping(Address.parse(url))


def test_server_without_tls_is_unreachable(ping, proxy) -> None:
    with pytest.raises(UnreachableError):
        ping(Address(host="127.0.0.1", port=proxy.port, tls=True), 1.0)


def test_idle_connection_is_kept(tls_proxy, certificates: Path) -> None:
    address = Address(
        host="localhost", port=tls_proxy.port, tls=True, ca_certs=f"{certificates}/ca.pem"
    )
    with BlockingStore(address) as store:
        assert store.run(PING) == b"PONG"
        before = tls_proxy.connections
        assert store.run(PING) == b"PONG"
        assert tls_proxy.connections == before
