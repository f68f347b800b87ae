"""Stories of a supervisor that its store has forgotten, or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobctl.store import membership, queries
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.keys import Keys
from tests.acceptance.host import wait_until
from tests.acceptance.test_outages import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = Keys("default")


@pytest.fixture
def running(server_binary: Path) -> Iterator[Scene]:
    scene = Scene(server_binary)
    scene.server.start()
    scene.host.start()
    yield scene
    scene.close()


def supervisors(scene: Scene) -> list[str]:
    with BlockingStore(Address(path=str(scene.server.path))) as store:
        return list(store.run(queries.supervisors(KEYS)))


def test_after_flushall_the_supervisor_goes_on_and_says_what_happened(running: Scene) -> None:
    run_id = running.held_run()
    (before,) = supervisors(running)
    running.server.raw("FLUSHALL")
    wait_until(lambda: supervisors(running) == [before], what="it registers again")
    assert "THE STORE HAS LOST ITS DATA" in running.host.log
    other = running.host.submit("quick", "--wait").strip()
    assert run_id not in running.host.lines("done")
    running.let_go()

    running.wait_done(run_id)
    wait_until(
        lambda: f"THE STORE HAS LOST run {run_id}: its outcome (succeeded)" in running.host.log,
        what="the alarm",
    )
    assert sorted(running.host.lines("done")) == sorted([run_id, other])
    assert running.host.daemons[-1].poll() is None


def test_a_supervisor_whose_own_keys_were_deleted_loses_nothing(running: Scene) -> None:
    run_id = running.held_run()
    (before,) = supervisors(running)
    running.server.raw("DEL", KEYS.supervisor(before), KEYS.supervisors, KEYS.pools(before))
    wait_until(lambda: supervisors(running) == [before], what="it registers again")
    running.let_go()

    running.assert_once(run_id)
    assert running.host.submit("quick", "--wait")


def test_a_supervisor_taken_for_dead_stops_its_runs_and_goes_on_under_a_new_id(
    running: Scene,
) -> None:
    run_id = running.held_run()
    (before,) = supervisors(running)
    pid = running.host.wait_pid(run_id)
    with BlockingStore(Address(path=str(running.server.path))) as store:
        # What another host's rescuer does after a partition.
        assert store.run(membership.rescue(KEYS, supervisor=before)).moved == 1
    wait_until(lambda: supervisors(running) not in ([], [before]), what="a new id")
    assert running.host.wait_pid(run_id) != pid
    running.let_go()

    assert running.host.wait_state(run_id)["state"] == "succeeded"
    assert running.host.lines("done") == [run_id]
    assert "was taken for dead" in running.host.log
    assert running.host.daemons[-1].poll() is None
    assert running.host.stop() == 0
    assert supervisors(running) == []


FORGET_CLAIM = """
local run, own, queue, bell, id = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1]
redis.call('HSET', run, 's', 'q')
redis.call('HINCRBY', run, 'ep', -1)
redis.call('HDEL', run, 'o', 'ct', 'at', 'st', 'fs', 'pi')
redis.call('SREM', own, id)
redis.call('LPUSH', queue, id)
redis.call('RPUSH', bell, '1')
"""


def test_a_run_whose_claim_the_store_has_lost_goes_on_and_ends_once(running: Scene) -> None:
    run_id = running.held_run()
    wait_until(lambda: running.host.inspect(run_id)["pid"], what="the start is recorded")
    owner = running.server.raw("HGET", KEYS.run(run_id), "o").decode()
    # What a server says that was made primary without having heard the last moments.
    running.server.raw(
        "EVAL", FORGET_CLAIM, 4, KEYS.run(run_id), KEYS.own(owner),
        KEYS.queue("default", 5), KEYS.bell("default"), run_id,
    )  # fmt: skip
    wait_until(
        lambda: running.server.raw("HGET", KEYS.run(run_id), "s") == b"r", what="known again"
    )
    running.let_go()

    running.assert_once(run_id)
    # No slot is lost: as many as before run side by side.
    (running.host.directory / "go").unlink()
    others = [running.host.submit("held") for _ in range(3)]
    wait_until(
        lambda: sum(run["state"] == "running" for run in running.host.runs()) == 3,
        what="three at once",
    )
    running.let_go()
    for other in others:
        running.host.wait_state(other, "succeeded")


def test_pools_that_the_store_has_forgotten_alone_are_registered_again(running: Scene) -> None:
    (before,) = supervisors(running)
    running.server.raw("DEL", KEYS.pools(before))

    assert running.host.run("submit", "quick", "--wait")
    assert "registering again" in running.host.log


def test_a_registration_that_a_foreign_key_stops_is_tried_again_when_it_is_gone(
    running: Scene,
) -> None:
    (before,) = supervisors(running)
    both = "redis.call('FLUSHALL') redis.call('SET', KEYS[1], 'foreign')"
    running.server.raw("EVAL", both, 1, KEYS.supervisors)
    wait_until(lambda: "another type than its name says" in running.host.log, what="it is told of")
    assert "doctor --verify" in running.host.log
    for words in ("status", "doctor"):
        refused = running.host.call(words)
        assert refused.returncode == 1
        assert "doctor --repair" in refused.stdout + refused.stderr
    running.host.run("doctor", "--repair", "--yes", code=None)
    assert running.server.raw("TYPE", KEYS.supervisors) != b"string"

    assert running.host.run("submit", "quick", "--wait")
    assert supervisors(running) == [before]


def test_doctor_looks_at_all_it_can_and_mends_where_counters_are_foreign(running: Scene) -> None:
    running.server.raw("DEL", KEYS.counters)
    running.server.raw("SET", KEYS.counters, "foreign")

    done = running.host.call("doctor")
    assert done.returncode == 1
    assert "served queues" in done.stdout
    running.host.run("doctor", "--repair", "--yes", code=None)
    running.host.run("doctor")


def test_an_outcome_that_the_store_had_taken_and_has_lost_is_told_of(running: Scene) -> None:
    host, server = running.host, running.server
    kept, lost = host.submit("quick", "--wait").strip(), host.submit("quick", "--wait").strip()
    # What a server says that was made primary without having heard the last moments.
    server.raw("DEL", KEYS.run(lost))
    server.raw("LREM", KEYS.history("quick"), 0, lost)
    server.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert host.submit("quick", "--wait")

    wait_until(
        lambda: f"THE STORE HAS LOST run {lost}: its outcome (succeeded)" in host.log,
        what="the alarm",
    )
    assert f"THE STORE HAS LOST run {kept}" not in host.log
    assert lost in (host.state / "unrecorded.jsonl").read_text()
