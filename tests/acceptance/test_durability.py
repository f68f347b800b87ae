"""``durability = "replicated"`` against a real primary with a real replica."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jobctl.store.keys import Keys
from tests.acceptance.host import Host
from tests.servers import HOST, Server, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pair:
    """A primary, its replica, and a host that wants both to have what it submits."""

    def __init__(self, binary: Path) -> None:
        self.primary = Server(binary).start()
        self.replica = Server(binary, "--replicaof", f"{HOST} {self.primary.port}").start()
        wait_for(
            lambda: self.replica.info("replication")["master_link_status"] == "up", "a replica"
        )
        self.host = Host(redis=f"redis://{self.primary.place}")
        self.host.write(
            "[jobs.quick]\ncommand = 'true'\n",
            settings='durability = "replicated"\ndurability_timeout = "300ms"\n',
        )

    def close(self) -> None:
        self.host.close()
        self.replica.close()
        self.primary.close()


@pytest.fixture
def pair(server_binary: Path) -> Iterator[Pair]:
    made = Pair(server_binary)
    yield made
    made.close()


def test_submit_returns_once_a_replica_has_the_run(pair: Pair) -> None:
    # Also while the primary does not know the script yet, which makes the submit go twice.
    for _ in range(2):
        run_id = pair.host.submit("quick")
        assert pair.replica.raw("EXISTS", Keys("default").run(run_id)) == 1


def test_run_that_no_replica_confirms_exits_75_with_its_id(pair: Pair) -> None:
    pair.replica.pause()
    done = pair.host.call("submit", "quick", "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["answer"]) == (75, "not_replicated")
    assert "accepted by the primary, not yet replicated: 0 of 1 replicas" in done.stderr
    assert f"--id {answer['id']}" in done.stderr
    assert pair.primary.raw("EXISTS", Keys("default").run(answer["id"])) == 1

    # Repeating it is no way around: the primary has it already, the replica still not.
    again = pair.host.call("submit", "quick", "--id", answer["id"])
    assert again.returncode == 75, again.stderr

    pair.replica.go_on()
    assert pair.host.run("submit", "quick", "--id", answer["id"]).strip() == answer["id"]
    assert pair.replica.raw("EXISTS", Keys("default").run(answer["id"])) == 1


def test_many_runs_that_no_replica_confirms_are_all_named(pair: Pair) -> None:
    pair.replica.pause()
    lines = "\n".join(json.dumps({"job": "quick"}) for _ in range(3))
    done = pair.host.call("submit", "--from-ndjson", "-", input=lines)
    assert done.returncode == 75, done.stderr
    assert len(done.stdout.split()) == 3
    assert "3 runs are accepted by the primary, not yet replicated" in done.stderr


def test_without_the_setting_nobody_waits_for_replicas(pair: Pair) -> None:
    pair.replica.pause()
    pair.host.write("[jobs.quick]\ncommand = 'true'\n")
    assert pair.host.submit("quick")
