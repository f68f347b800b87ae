"""Stories of a primary that dies under load, with real sentinels and a real cluster."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol

import pytest

from jobctl.store.keys import Keys
from tests.acceptance.host import Host, wait_until
from tests.servers import Cluster, SentinelGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Server

RESUME = 10.0
"""Seconds within which the store takes runs again after its primary died."""
JOBS = """
[pools.default]
slots = 3
[jobs.quick]
command = 'echo $JOBCTL_RUN_ID >> done'
[jobs.gate]
command = 'while test ! -e go-$1; do sleep 0.05; done; echo $JOBCTL_RUN_ID >> done'
[jobs.held]
command = 'while test ! -e go; do sleep 0.05; done; echo $JOBCTL_RUN_ID >> done'
[defaults]
cwd = "{directory}"
stop_timeout = "1s"
"""


class Group(Protocol):
    """What the stories need of a group of servers."""

    url: str
    servers: list[Server]


class Scene:
    """A host on a group of servers."""

    def __init__(self, group: SentinelGroup | Cluster) -> None:
        self.group = group.start()
        self.host = Host(redis=group.url)
        self.host.write(JOBS.format(directory=self.host.directory))
        self.host.start()

    def primary(self) -> Server:
        if isinstance(self.group, Cluster):
            return self.group.primary_of("default")
        return self.group.primary

    def follower_of(self, primary: Server) -> Server:
        """Return the replica that will take over."""
        port = int(primary.raw("ROLE")[2][0][1])
        return next(one for one in self.group.servers if one.port == port)

    def close(self) -> None:
        self.host.close()
        self.group.close()


@pytest.fixture(params=[SentinelGroup, Cluster], ids=["sentinel", "cluster"])
def scene(server_binary: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    make: Callable[..., SentinelGroup | Cluster] = request.param
    group = make(server_binary, replicas=1)
    with contextlib.ExitStack() as stack:
        stack.callback(group.close)
        made = Scene(group)
        stack.callback(made.close)
        yield made


class Load:
    """Submits without end from a thread of its own, and notes what was accepted and when."""

    def __init__(self, host: Host) -> None:
        self.accepted: dict[str, float] = {}
        self.refused: list[tuple[int, str]] = []
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            done = self._host.call("submit", "quick")
            if done.returncode == 0:
                self.accepted[done.stdout.strip()] = time.monotonic()
            else:
                self.refused.append((done.returncode, done.stderr))

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)


@pytest.mark.slow
def test_failover_under_load_loses_and_doubles_nothing(scene: Scene) -> None:
    held = scene.host.submit("held")
    scene.host.wait_state(held, "running")
    load = Load(scene.host)
    try:
        wait_until(lambda: len(load.accepted) >= 3, what="some load")
        old = scene.primary()
        # It sends to replicas before it answers, and what is sent survives it on loopback.
        old.kill()
        died = time.monotonic()
        wait_until(
            lambda: any(at > died for at in load.accepted.values()),
            deadline=RESUME,
            what="runs are accepted again",
        )
        wait_until(lambda: len(load.accepted) >= 8, what="more load")
    finally:
        load.end()
    (scene.host.directory / "go").touch()
    runs = [held, *load.accepted]
    for run_id in runs:
        record = scene.host.wait_state(run_id)
        assert (record["state"], record["attempt"]) == ("succeeded", 1), scene.host.log
    done = scene.host.lines("done")
    assert len(done) == len(set(done))
    assert set(runs) <= set(done)
    assert {code for code, _ in load.refused} <= {69, 75}
    assert scene.host.daemons[-1].poll() is None


@pytest.mark.slow
def test_failover_that_loses_the_tail_is_told_of_and_nothing_runs_twice_at_once(
    scene: Scene,
) -> None:
    """The replica is cut off while runs are accepted and begun; then the primary dies for good."""
    old = scene.primary()
    follower = scene.follower_of(old)
    early = scene.host.submit("held")
    scene.host.wait_state(early, "running")
    old.raw("WAIT", 1, 1000)
    follower.pause()
    old.raw("CLIENT", "KILL", "TYPE", "replica")
    late = scene.host.submit("held")
    scene.host.wait_state(late, "running")
    old.kill()
    follower.go_on()
    new = wait_until(lambda: scene.primary() is not old and scene.primary(), what="another primary")
    assert new.raw("EXISTS", Keys("default").run(early)) == 1
    assert new.raw("EXISTS", Keys("default").run(late)) == 0
    (scene.host.directory / "go").touch()

    assert scene.host.wait_state(early)["state"] == "succeeded"
    wait_until(
        lambda: f"THE STORE HAS LOST run {late}: its outcome (succeeded)" in scene.host.log,
        what="the alarm",
    )
    assert sorted(scene.host.lines("done")) == sorted([early, late])
    assert scene.host.submit("quick", "--wait")
    assert late in scene.host.run("doctor", code=None)


@pytest.mark.slow
def test_claims_and_outcomes_that_a_failover_lost_are_put_right(scene: Scene) -> None:
    """The new primary takes a run for waiting that is under way, and one for running that ended."""
    host = scene.host
    old = scene.primary()
    follower = scene.follower_of(old)
    blockers = [host.submit("gate", name) for name in "abc"]
    for run_id in blockers:
        host.wait_state(run_id, "running")
    waiting = host.submit("gate", "d")
    old.raw("WAIT", 1, 1000)
    follower.pause()
    old.raw("CLIENT", "KILL", "TYPE", "replica")
    (host.directory / "go-a").touch()
    assert host.wait_state(blockers[0])["state"] == "succeeded"
    host.wait_state(waiting, "running")
    old.kill()
    follower.go_on()
    wait_until(lambda: scene.primary() is not old, what="another primary")
    # Long enough for a second start, should there be one: several heartbeats' worth of claims.
    beats = host.submit("quick")
    (host.directory / "go-b").touch()
    assert host.wait_state(beats)["state"] == "succeeded"
    for name in "cd":
        (host.directory / f"go-{name}").touch()
    for run_id in (*blockers, waiting):
        assert host.wait_state(run_id)["state"] == "succeeded", host.log
    done = host.lines("done")
    assert sorted(done) == sorted([*blockers, waiting, beats]), host.log
