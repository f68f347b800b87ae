"""Stories about ``jobctl doctor --verify``: a store in use, damaged ones, and processes without a claim."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

KEYS = Keys("default")
JOBS = """
[pools.default]
slots = 2
[jobs.nap]
command = "sleep 600"
stop_timeout = "1s"
[jobs.quick]
command = "true"
retries = 1
[jobs.bad]
command = "exit 3"
retries = 1
retry_delay = "100ms"
limits = ["db"]
[limits.db]
slots = 1
"""


def raw(host: Host, *words: str | int) -> Any:
    with BlockingStore(Address.of_embedded(host.state)) as store:
        return store.run(Call(words, lambda reply: reply))


def verified(host: Host, *, code: int) -> dict[str, Any]:
    return dict(json.loads(host.run("doctor", "--verify", "--json", code=code)))


def test_store_in_use_holds_no_contradiction(host: Host) -> None:
    host.write(JOBS)
    host.start()
    host.run(
        "submit", "--from-ndjson", "-", "quick", input='{"job": "quick"}\n{"job": "bad"}\n' * 200
    )
    document = verified(host, code=0)

    assert document["findings"] == []
    assert document["runs_read"] == 400
    assert document["keys_read"] > 400
    assert document["checks"][-1]["name"] == "contents"


def test_contradiction_is_one_line_with_key_and_remedy(host: Host) -> None:
    host.write(JOBS)
    host.start()
    napping = host.submit("nap")
    host.wait_state(napping, "running")
    later = host.submit("quick", "--in", "1h")
    raw(host, "ZREM", KEYS.due, later)
    raw(host, "SADD", KEYS.holders("l:db"), "nobodynobodynobo")
    done = host.call("doctor", "--verify")

    assert done.returncode == 1
    assert "2 contradictions" in done.stdout
    assert (
        f"container: r:{later}: run {later} in state d is in {{}}, must be once in due"
        in done.stdout
    )
    assert (
        "holder: c:l:db: limit l:db is held by nobodynobodynobo, which does not run" in done.stdout
    )
    assert done.stdout.count("-> jobctl doctor --repair") == 2
    found = verified(host, code=1)["findings"]
    assert [(one["kind"], one["invariant"], one["run"]) for one in found] == [
        ("container", "I1", later),
        ("holder", "I2", "nobodynobodynobo"),
    ]


def test_process_whose_claim_the_store_does_not_have_is_named(host: Host) -> None:
    host.write(JOBS)
    daemon = host.start()
    napping = host.submit("nap")
    pid = host.wait_state(napping, "running")["pid"]
    wait_until(lambda: host.inspect(napping)["started_at"], what="the start mark")
    assert verified(host, code=0)["findings"] == []
    # The daemon would notice, and stop the process.
    os.kill(daemon.pid, 19)
    try:
        raw(host, "HINCRBY", KEYS.run(napping), "ep", 1)
        (found,) = verified(host, code=1)["findings"]
    finally:
        raw(host, "HINCRBY", KEYS.run(napping), "ep", -1)
        os.kill(daemon.pid, 18)

    assert (found["kind"], found["invariant"], found["run"]) == ("process", "I7", napping)
    assert found["key"] == f"pid {pid}"
    assert not found["repairable"]


def test_contents_of_a_store_that_is_away_are_an_error_of_their_own(host: Host) -> None:
    host.write(JOBS)
    document = verified(host, code=1)

    assert document["checks"][-1]["name"] == "contents"
    assert "jobctl daemon" in document["checks"][-1]["remedy"]
