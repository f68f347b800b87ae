"""Stories of disks without room, on small file systems of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import JobctlError
from jobctl.store.address import SOCKET_NAME, Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from tests.acceptance.host import Host, wait_until
from tests.acceptance.trouble import Server, fill, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

JOBS = """
[jobs.quick]
command = 'echo quick'
[jobs.held]
command = 'while test ! -e {scratch}/go; do sleep 0.05; done; echo $JOBCTL_RUN_ID >> {scratch}/done'
[jobs.loud]
command = 'head -c 8000000 /dev/zero'
"""


@pytest.fixture
def host() -> Iterator[Host]:
    """A host whose state is on a file system of 6 MiB, and whose jobs work elsewhere."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    host = Host()
    with small_disk(host.state, megabytes=6):
        yield host
        host.close()
    shutil.rmtree(host.directory, ignore_errors=True)


def test_an_embedded_store_on_a_small_disk_loses_nothing_and_recovers(host: Host) -> None:
    host.write(JOBS.format(scratch=host.directory))
    host.start()
    waiting = [host.submit("quick", "--in", "1h") for _ in range(20)]
    run_id = host.submit("held")
    host.wait_state(run_id, "running")
    ballast = fill(host.state)

    refused = host.call("submit", "quick")
    assert refused.returncode == 75
    assert "disk nearly full" in refused.stderr
    (host.directory / "go").touch()
    wait_until(lambda: host.lines("done") == [run_id], what="the job's end")
    place = Address(path=str(host.state / "store" / SOCKET_NAME))
    # Its last page has room for a while.
    with BlockingStore(place) as store, pytest.raises(JobctlError):
        store.run(Call(("SET", "big", "x" * 10_000), bool))
    wait_until(lambda: "the store server ended" in host.log, what="the server gives up")
    assert host.daemons[-1].poll() is None
    ballast.unlink()

    wait_until(lambda: host.call("inspect", run_id).returncode == 0, what="the store is back")
    assert host.wait_state(run_id)["state"] == "succeeded"
    assert host.lines("done") == [run_id]
    assert {host.inspect(one)["state"] for one in waiting} == {"scheduled"}
    assert host.run("submit", "quick", "--wait")


def test_no_room_for_logs_fails_the_job_and_not_the_supervisor(
    host: Host, server_binary: Path
) -> None:
    server = Server(server_binary, directory=Path(tempfile.mkdtemp(prefix="jct")))
    server.start()
    try:
        host.redis = server.url
        host.write(JOBS.format(scratch=host.directory))
        host.start()
        loud = host.submit("loud")
        assert host.wait_state(loud)["state"] == "failed"
        ballast = fill(host.state)
        blocked = host.submit("quick")
        ended = host.wait_state(blocked)
        assert ended["state"] in ("failed", "succeeded")
        assert host.daemons[-1].poll() is None
        ballast.unlink()
        for log in (host.state / "logs" / "loud").glob("*"):
            log.unlink()

        assert host.run("submit", "quick", "--wait")
        assert host.run("logs", "quick") == "quick\n"
        assert host.stop() == 0
    finally:
        server.close()
