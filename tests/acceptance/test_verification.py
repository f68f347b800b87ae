"""Stories about ``jobctl doctor --verify``: a store in use, damaged ones, and processes without a claim."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.store import queries
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from jobctl.store.verify.census import take
from jobctl.store.verify.finding import Kind
from tests.acceptance.host import wait_until
from tests.servers import Server
from tests.store.damage import DAMAGE
from tests.store.store_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    host.tampered = True
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
    pid = host.wait_pid(napping)
    wait_until(lambda: host.inspect(napping)["started_at"], what="the start mark")
    assert verified(host, code=0)["findings"] == []
    # The daemon would notice, and stop the process.
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        raw(host, "HINCRBY", KEYS.run(napping), "ep", 1)
        (found,) = verified(host, code=1)["findings"]
    finally:
        raw(host, "HINCRBY", KEYS.run(napping), "ep", -1)
        os.kill(daemon.pid, signal.SIGCONT)

    assert (found["kind"], found["invariant"], found["run"]) == ("process", "I7", napping)
    assert found["key"] == f"pid {pid}"
    assert not found["repairable"]


def test_process_whose_record_is_no_record_any_more_is_named(host: Host) -> None:
    host.tampered = True
    host.write(JOBS)
    daemon = host.start()
    napping = host.submit("nap")
    host.wait_state(napping, "running")
    wait_until(lambda: host.inspect(napping)["started_at"], what="the start mark")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        raw(host, "DEL", KEYS.run(napping))
        raw(host, "SET", KEYS.run(napping), "?")
        found = verified(host, code=1)["findings"]
    finally:
        os.kill(daemon.pid, signal.SIGCONT)

    assert {one["kind"] for one in found} == {"type", "dangling", "process"}


def test_contents_of_a_store_that_is_away_are_an_error_of_their_own(host: Host) -> None:
    host.write(JOBS)
    document = verified(host, code=1)

    assert document["checks"][-1]["name"] == "contents"
    assert "jobctl daemon" in document["checks"][-1]["remedy"]


@pytest.fixture
def server(server_binary: Path) -> Iterator[Server]:
    server = Server(server_binary)
    server.start()
    yield server
    server.close()


def test_namespace_torn_in_every_way_is_mended_and_then_runs_to_the_end(
    host: Host, server: Server
) -> None:
    host.redis = f"redis://{server.place}/0"
    host.write(
        '[pools.default]\nslots = 4\nqueues = ["default", "hand", "gate"]\n[jobs.j]\ncommand = "true"\n'
    )
    with BlockingStore(Address(host="127.0.0.1", port=server.port)) as store:
        world = World(store, "default")
        for kind, damage in DAMAGE.values():
            if kind is not Kind.TYPE:
                damage(world)
        DAMAGE["due of another type"][1](world)
        DAMAGE["record of another type"][1](world)
        assert "add --yes" in host.call("doctor", "--repair").stderr
        shown = json.loads(host.run("doctor", "--repair", "--dry-run", "--json", code=1))
        assert len(shown["findings"]) > len(DAMAGE) / 2
        assert "repairs" not in shown
        # They show life, however long all this took: the silent are another finding.
        seconds, micros = world.raw("TIME")
        for sid in store.run(queries.supervisors(KEYS)):
            now = int(seconds) * 1000 + int(micros) // 1000
            world.raw("HSET", KEYS.supervisor(sid), "bt", now)
        done = json.loads(host.run("doctor", "--repair", "--yes", "--json", code=1))
        assert done["findings"] == []
        assert len(done["repairs"]) > len(DAMAGE) / 2
        assert all(one["done"] for one in done["repairs"])
        # Nothing is wrong any more but that the supervisors are no real ones and serve no queues.
        bad = [one["name"] for one in done["checks"] if one["status"] == "error"]
        assert bad == ["served queues"]

        # Those who claimed are not real; the daemon would find that out in half a minute.
        for sid in store.run(queries.supervisors(KEYS)):
            world.raw("HSET", KEYS.supervisor(sid), "st", "lost")
        unfinished = {run_id: run.s for run_id, run in take(store, KEYS).unfinished()}
        assert set(unfinished.values()) == set("dqpcr")
        host.start()
        host.run("revoke", *(run_id for run_id, letter in unfinished.items() if letter == "d"))
        wait_until(
            lambda: not list(take(store, KEYS).unfinished()),
            deadline=60,
            what="the end of all runs",
        )
        ends = {run_id: run.s for run_id, run in take(store, KEYS).runs.items()}
        assert {run_id: ends[run_id] for run_id in unfinished} == {
            run_id: "v" if letter == "d" else "k" for run_id, letter in unfinished.items()
        }
        assert verified(host, code=0)["findings"] == []


def test_repair_asks_a_person_and_takes_no_for_an_answer(host: Host) -> None:
    host.write(JOBS)
    host.start()
    later = host.submit("quick", "--in", "1h")
    raw(host, "ZREM", KEYS.due, later)
    answer, status = on_terminal(host, "doctor", "--repair", keys="n\n")

    assert "Mend 1 contradiction? [y/N]" in answer
    assert status == 75
    assert raw(host, "ZSCORE", KEYS.due, later) is None

    answer, status = on_terminal(host, "doctor", "--repair", keys="y\n")
    assert f"run {later}" in answer
    assert "put it back among what is due" in answer
    assert status == 0
    assert raw(host, "ZSCORE", KEYS.due, later) is not None


def on_terminal(host: Host, *words: str, keys: str) -> tuple[str, int]:
    """Run ``jobctl`` on a terminal of its own; return what it showed, and its exit code."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(host.directory)
        os.execve(sys.executable, [sys.executable, "-m", "jobctl", *words], host.environment)
    os.write(fd, keys.encode())
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(fd, 65536):
            shown += data
    os.close(fd)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
