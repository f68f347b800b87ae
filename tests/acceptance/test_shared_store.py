"""Stories of two hosts on one Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.host import Host, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.store.embedded import EmbeddedStore


@pytest.fixture
def hosts(server: EmbeddedStore) -> Iterator[tuple[Host, Host]]:
    """Two hosts that share a namespace on the session's server."""
    a, b = Host(name="host-a"), Host(name="host-b")
    for host in (a, b):
        host.redis = f"unix://{server.address.path}"
        host.write(
            "[pools.default]\nslots = 2\n"
            f"[jobs.talk]\ncommand = 'echo one; until test -e {host.directory}/go; do sleep 0.05; done; echo two'\n"
            "[jobs.quick]\ncommand = 'echo quick'\n"
            "[jobs.strict]\nstrict_single = true\ncommand = 'sleep 60'\n"
            "[jobs.where]\ncommand = 'sleep 0.3; echo here'\n",
            settings=f"namespace = 'ns-{a.directory.name}'",
        )
    yield a, b
    for host in (a, b):
        for daemon in host.daemons:
            host.stop(daemon)
        host.close()


def test_output_can_be_read_from_the_other_host(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.start()

    run_id = b.submit("talk")
    wait_until(lambda: b.run("logs", run_id) == "one\n", what="shipped while it runs")
    (a.directory / "go").touch()
    b.run("wait", run_id)

    assert b.run("logs", run_id) == "one\ntwo\n"
    assert b.run("submit", "quick", "--wait")
    assert b.run("logs", "quick") == "quick\n"


def test_following_from_the_other_host_ends_with_the_run(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.start()

    run_id = b.submit("talk")
    with ThreadPoolExecutor() as others:
        following = others.submit(b.run, "logs", "-f", run_id)
        wait_until(lambda: b.run("logs", run_id) == "one\n", what="shipped while it runs")
        (a.directory / "go").touch()
        assert following.result() == "one\ntwo\n"


def test_work_is_shared_by_all_hosts(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.start()
    b.start()

    runs = [a.submit("where") for _ in range(12)]
    ended = [a.wait_state(run_id) for run_id in runs]

    assert {run["host"] for run in ended} == {"host-a", "host-b"}
    assert {run["state"] for run in ended} == {"succeeded"}


def test_a_run_on_the_other_host_can_be_revoked(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    a.start()
    run_id = b.submit("talk")
    b.wait_state(run_id, "running")

    b.run("revoke", run_id)

    assert b.wait_state(run_id)["state"] == "revoked"


def test_submitting_without_any_supervisor_keeps_the_run(hosts: tuple[Host, Host]) -> None:
    a, b = hosts

    run_id = b.submit("quick")
    assert b.inspect(run_id)["state"] == "queued"
    a.start()

    assert b.wait_state(run_id)["state"] == "succeeded"


@pytest.mark.slow
def test_a_host_without_a_lease_does_not_begin_again_what_it_had_to_kill(
    hosts: tuple[Host, Host],
) -> None:
    """The supervisor stands still, its pool does not: three quick losses would end the run."""
    a, _ = hosts
    daemon = a.start()
    run_id = a.submit("strict")
    a.wait_state(run_id, "running")
    psutil.Process(daemon.pid).suspend()

    wait_until(lambda: f"run {run_id} is killed" in a.log, what="it is killed in time")
    wait_until(lambda: a.inspect(run_id)["state"] == "queued", what="it waits")
    psutil.Process(daemon.pid).resume()

    wait_until(lambda: a.inspect(run_id)["attempt"] == 2, what="it runs again")
    a.run("revoke", run_id)
    assert a.wait_state(run_id)["attempt"] == 2
    assert a.log.count(f"run {run_id} is killed") == 1


@pytest.mark.slow
def test_a_strict_run_that_was_killed_for_the_lease_is_lost_and_not_failed(
    hosts: tuple[Host, Host],
) -> None:
    a, _ = hosts
    daemon = a.start()
    run_id = a.submit("strict")
    pid = a.wait_pid(run_id)
    pools = [p for p in a.processes() if "jobctl.engine.pool_main" in p.cmdline()]
    for process in (psutil.Process(daemon.pid), *pools):
        process.kill()
    daemon.wait()

    wait_until(lambda: not psutil.pid_exists(pid), what="its keeper kills it")
    a.start()
    wait_until(lambda: a.inspect(run_id)["attempt"] == 2, what="it runs again")
    first = a.inspect(run_id)["attempts"][0]
    assert (first["outcome"], first["reason"]) == ("lost", "lost")
    a.run("revoke", run_id)
    a.wait_state(run_id)
