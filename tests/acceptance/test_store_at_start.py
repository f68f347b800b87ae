"""Stories of a store that is not there yet, not fit, or too new, when a daemon starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store.keys import Keys
from tests.acceptance.host import Host, wait_until
from tests.acceptance.trouble import Manager, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = Keys("default")


@pytest.fixture
def server(server_binary: Path) -> Iterator[Server]:
    server = Server(server_binary)
    yield server
    server.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    manager = Manager()
    yield manager
    manager.close()


@pytest.fixture
def host(server: Server, manager: Manager) -> Iterator[Host]:
    host = Host(redis=server.url)
    host.extra |= {"NOTIFY_SOCKET": manager.address, "JOBCTL_STORE_WAIT": "0"}
    host.write("[jobs.quick]\ncommand = 'echo quick'\n")
    yield host
    host.close()


def ready(host: Host) -> bool:
    return " is ready " in host.log


def test_a_daemon_and_a_command_wait_for_a_store_that_starts_later(
    host: Host, server: Server, manager: Manager
) -> None:
    host.start(ready=False)
    manager.wait_status("starting; waiting for the store: not reachable")
    assert host.call("submit", "quick").returncode == 69
    server.start("--min-replicas-to-write", "1")
    manager.wait_status("starting; the store refuses writes: NOREPLICAS")
    refused = host.call("submit", "quick")
    assert refused.returncode == 75
    assert "READY=1" not in manager.lines
    server.raw("CONFIG", "SET", "min-replicas-to-write", "0")

    wait_until(lambda: ready(host), what="the daemon ready")
    assert host.run("submit", "quick", "--wait")
    assert host.log.count("waiting for it") <= 4


def test_a_store_that_evicts_is_refused_with_the_reason(host: Host, server: Server) -> None:
    server.start("--maxmemory-policy", "allkeys-lru")
    daemon = host.start(ready=False)

    assert daemon.wait(30) == 78
    assert "maxmemory-policy is allkeys-lru, so a full store throws runs away" in host.log
    assert server.raw("DBSIZE") == 0


@pytest.mark.parametrize("blocked", ["config", "info"])
def test_the_eviction_policy_is_found_where_one_way_is_blocked(
    host: Host, server: Server, blocked: str
) -> None:
    server.start("--maxmemory-policy", "allkeys-lru")
    server.raw("ACL", "SETUSER", "default", f"-{blocked}")
    daemon = host.start(ready=False)

    assert daemon.wait(30) == 78


def test_a_store_that_does_not_tell_its_policy_is_warned_of(host: Host, server: Server) -> None:
    server.start()
    server.raw("ACL", "SETUSER", "default", "-config", "-info")
    host.start()

    assert "the store does not tell its maxmemory-policy" in host.log
    assert host.run("submit", "quick", "--wait")


def test_a_namespace_laid_out_by_a_newer_jobctl_is_left_alone(host: Host, server: Server) -> None:
    server.start()
    server.raw("SET", KEYS.schema, "2")
    daemon = host.start(ready=False)
    assert daemon.wait(30) == 78
    assert "laid out by a newer jobctl" in host.log
    refused = host.call("submit", "quick")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "upgrade this host" in refused.stderr
    assert host.call("pause", "--job", "quick").returncode != 0
    assert server.raw("KEYS", "*") == [KEYS.schema.encode()]


def test_a_running_daemon_goes_on_when_another_host_upgrades_the_layout(
    host: Host, server: Server
) -> None:
    host.write("[jobs.held]\ncommand = 'while test ! -e go; do sleep 0.05; done'\n[defaults]\n"
               f"cwd = '{host.directory}'\n")  # fmt: skip
    server.start()
    host.start()
    assert server.raw("GET", KEYS.schema) == b"1"
    run_id = host.submit("held")
    host.wait_state(run_id, "running")
    server.raw("SET", KEYS.schema, "2")
    wait_until(lambda: "laid out by a newer jobctl" in host.log, what="a complaint")
    (host.directory / "go").touch()
    server.raw("SET", KEYS.schema, "1")

    assert host.wait_state(run_id)["state"] == "succeeded"
