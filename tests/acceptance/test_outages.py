"""Stories of a shared store in every kind of trouble: what the daemon does, says, and keeps."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.model.run import RunState
from tests.acceptance.host import Host, wait_until
from tests.acceptance.trouble import Manager, Server, descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = """
[pools.default]
slots = 3
[jobs.quick]
command = 'echo $JOBCTL_RUN_ID >> done'
[jobs.short]
command = 'sleep 1; echo $JOBCTL_RUN_ID >> done'
[jobs.held]
command = 'while test ! -e go; do sleep 0.05; done; echo $JOBCTL_RUN_ID >> done'
[jobs.alone]
unique = "job"
command = 'while test ! -e go; do sleep 0.05; done'
[defaults]
cwd = "{directory}"
stop_timeout = "1s"
"""


class Scene:
    """A shared store, a host on it, and the host's service manager."""

    def __init__(self, binary: Path) -> None:
        self.server = Server(binary)
        self.manager = Manager()
        self.host = Host(redis=self.server.url)
        self.host.extra["NOTIFY_SOCKET"] = self.manager.address
        self.host.extra["WATCHDOG_USEC"] = "1000000"
        self.host.write(JOBS.format(directory=self.host.directory))

    def held_run(self) -> str:
        """Return a run that is under way and ends when told to."""
        run_id = self.host.submit("held")
        self.host.wait_state(run_id, "running")
        return run_id

    def let_go(self) -> None:
        (self.host.directory / "go").touch()

    def wait_done(self, run_id: str) -> None:
        wait_until(lambda: run_id in self.host.lines("done"), what="the end of the job")

    def assert_once(self, *runs: str) -> None:
        """The runs have succeeded at their first attempt, each once."""
        for run_id in runs:
            record = self.host.wait_state(run_id)
            assert (record["state"], record["attempt"]) == ("succeeded", 1), self.host.log
        assert sorted(self.host.lines("done")) == sorted(runs)

    def close(self) -> None:
        self.host.close()
        self.server.close()
        self.manager.close()


@pytest.fixture
def scene(server_binary: Path) -> Iterator[Scene]:
    scene = Scene(server_binary)
    yield scene
    scene.close()


@pytest.fixture
def running(scene: Scene) -> Scene:
    """With the store and the daemon up."""
    scene.server.start()
    scene.host.start()
    return scene


def test_outcomes_wait_while_the_store_is_away(running: Scene) -> None:
    run_id = running.held_run()
    running.server.kill()
    running.manager.wait_status("waiting for the store: not reachable")
    running.let_go()
    running.wait_done(run_id)
    running.manager.wait_status("1 outcome to be recorded")

    running.server.start()

    running.assert_once(run_id)
    wait_until(lambda: running.manager.lines[-1] == "STATUS=0 running, 4 jobs", what="all is well")


def test_a_store_that_stands_still_costs_nothing(running: Scene) -> None:
    run_id = running.held_run()
    running.server.pause()
    running.manager.wait_status("waiting for the store: no answer")
    running.let_go()
    running.wait_done(run_id)
    running.server.go_on()

    running.assert_once(run_id)


def test_a_scheduler_that_cannot_ask_the_store_says_so_once(running: Scene) -> None:
    """Between two tries it looks at its clock, finds nothing to ask, and has not succeeded."""
    often = "[jobs.often]\ncommand = 'true'\nschedule = '@every 1s'\n"
    running.host.write(JOBS.format(directory=running.host.directory) + often)
    running.host.run("reload")
    wait_until(lambda: running.host.runs("--job", "often"), what="the first instant")
    running.server.kill()
    wait_until(lambda: "scheduler: " in running.host.log, what="a complaint")
    signs = running.manager.lines.count("WATCHDOG=1")
    wait_until(lambda: running.manager.lines.count("WATCHDOG=1") > signs + 8, what="some seconds")
    assert "scheduler: works again" not in running.host.log
    running.server.start()

    wait_until(lambda: "scheduler: works again" in running.host.log, what="it works again")
    assert running.host.log.count("scheduler: works again") == 1
    assert running.host.log.count("WARNING scheduler: ") <= 2


def test_a_store_without_replicas_is_told_of_and_outlasted(running: Scene) -> None:
    run_id = running.held_run()
    running.server.raw("CONFIG", "SET", "min-replicas-to-write", "1")
    running.manager.wait_status("the store refuses writes: NOREPLICAS")
    running.let_go()
    running.wait_done(run_id)
    running.server.raw("CONFIG", "SET", "min-replicas-to-write", "0")

    running.assert_once(run_id)


def test_a_store_that_asks_for_a_password_stops_nothing(running: Scene) -> None:
    run_id = running.held_run()
    running.server.raw("CONFIG", "SET", "requirepass", "secret")
    running.server.raw("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="secret")
    running.manager.wait_status("the store refuses the credentials: NOAUTH")
    refused = running.host.call("submit", "quick")
    assert (refused.returncode, refused.stdout) == (77, "")
    running.let_go()
    running.wait_done(run_id)
    running.manager.wait_status("1 outcome to be recorded")
    wait_until(lambda: "heartbeat: " in running.host.log, what="a complaint")
    assert running.host.log.count("heartbeat: ") == 1
    running.server.raw("CONFIG", "SET", "requirepass", "", password="secret")

    running.assert_once(run_id)


def test_a_store_at_its_memory_limit_drains(running: Scene) -> None:
    run_id = running.held_run()
    running.server.raw("CONFIG", "SET", "maxmemory", "1")
    refused = running.host.call("submit", "quick")
    assert refused.returncode == 75
    assert "the queue store is full" in refused.stderr
    running.let_go()

    running.assert_once(run_id)


def test_a_store_that_cannot_write_its_disk_is_outlasted(scene: Scene) -> None:
    server, host = scene.server, scene.host
    server.start("--enable-protected-configs", "local")
    host.start()
    run_id = scene.held_run()
    gone = server.directory / "gone"
    gone.mkdir()
    server.raw("CONFIG", "SET", "dir", str(gone), "save", "3600 1")
    gone.rmdir()
    server.raw("BGSAVE")
    scene.manager.wait_status("the store refuses writes: MISCONF")

    refused = host.call("submit", "quick")
    assert refused.returncode == 75
    assert (
        "the store cannot write to its disk; free space or see the server's log" in refused.stderr
    )
    scene.let_go()
    scene.wait_done(run_id)
    scene.manager.wait_status("1 outcome to be recorded")
    server.raw("CONFIG", "SET", "dir", str(server.directory), "save", "")
    scene.assert_once(run_id)


def test_a_store_that_is_busy_with_a_script_of_others_is_outlasted(running: Scene) -> None:
    run_id = running.held_run()
    running.server.raw("CONFIG", "SET", "busy-reply-threshold", "100")
    with running.server.sent("EVAL", "while true do end", 0):
        running.manager.wait_status("BUSY")
        refused = running.host.call("submit", "quick")
        assert refused.returncode == 75
        assert "the store is busy with a long script" in refused.stderr
        running.let_go()
        running.wait_done(run_id)
        running.server.raw("SCRIPT", "KILL")

    running.assert_once(run_id)


def test_a_store_out_of_connections_is_outlasted(running: Scene) -> None:
    run_id = running.held_run()
    running.server.raw("CONFIG", "SET", "maxclients", "1")
    refused = running.host.call("submit", "quick")
    assert refused.returncode == 75
    running.let_go()

    running.wait_done(run_id)
    running.host.stop()


def test_a_store_that_loads_is_waited_for(running: Scene) -> None:
    run_id = running.held_run()
    running.host.extra["JOBCTL_STORE_WAIT"] = "20s"
    running.server.grow(8000)
    running.server.kill()
    running.server.start("--key-load-delay", "500", ready=False)
    running.manager.wait_status("waiting for the store: loading")
    refused = running.host.call("submit", "quick", "--store-wait", "0")
    assert refused.returncode == 75
    assert "not accepted" in refused.stderr
    assert "loading its data" in refused.stderr
    running.let_go()

    running.assert_once(run_id)


def test_spooled_runs_are_executed_once_when_the_store_is_back(running: Scene) -> None:
    host = running.host
    running.server.kill()
    runs = [host.submit("quick", "--spool", "--store-wait", "0") for _ in range(3)]
    twice = max((host.state / "unsent").glob("*.json"))
    (host.state / "unsent" / "0-torn.json").write_text('{"v":1,"runs":[')
    (host.state / "unsent" / "1-folder.json").mkdir()
    (host.state / "unsent" / "2-link.json").symlink_to("/etc/passwd")
    copy = twice.read_bytes()

    running.server.start()

    for run_id in runs:
        running.wait_done(run_id)
    running.assert_once(*runs)
    # As if the answer had been lost, or the daemon had died before it removed the file.
    twice.write_bytes(copy)
    wait_until(lambda: not list((host.state / "unsent").glob("*.json")), what="nothing is unsent")
    for name in ("0-torn.json", "1-folder.json", "2-link.json"):
        assert f"{name} were set aside" in host.log
        assert (host.state / "unsent" / "bad" / name).exists()
    after = host.submit("quick", "--wait")
    running.assert_once(*runs, after)


def test_a_spooled_run_that_is_there_already_is_told_of(running: Scene) -> None:
    host = running.host
    there = host.submit("alone")
    host.wait_state(there, "running")
    running.server.kill()
    twice = host.submit("alone", "--spool", "--store-wait", "0")

    running.server.start()

    said = f"run {twice} of alone, left here while the store was away, was not made: run {there}"
    wait_until(lambda: said in host.log, what="it is told of")
    running.let_go()
    host.wait_state(there)


def test_what_was_spooled_without_a_daemon_is_run_by_the_next_one(host: Host) -> None:
    host.write(JOBS.format(directory=host.directory))
    host.start()
    host.stop()
    run_id = host.submit("quick", "--spool")
    assert host.call("doctor").stdout.count("1 file of requests waits") == 1
    host.start()

    assert host.wait_state(run_id)["state"] == "succeeded"
    assert host.lines("done") == [run_id]


def test_the_daemon_draining_is_shown_as_such(running: Scene) -> None:
    run_id = running.held_run()
    running.host.run("drain", "--no-wait")
    running.manager.wait_status("finishing what runs; 1 running")
    wait_until(lambda: "draining" in running.host.run("status"), what="draining in status")
    running.let_go()

    assert running.host.daemons[-1].wait(30) == 0
    assert run_id in running.host.lines("done")


def test_signs_of_life_come_when_the_manager_wants_them(scene: Scene) -> None:
    scene.server.start()
    scene.host.start()
    wait_until(lambda: scene.manager.lines.count("WATCHDOG=1") > 3, what="WATCHDOG=1")
    scene.server.kill()
    before = scene.manager.lines.count("WATCHDOG=1")
    wait_until(lambda: scene.manager.lines.count("WATCHDOG=1") > before + 4, what="more of them")
    assert "READY=1" in scene.manager.lines


def test_a_daemon_without_descriptors_starts_less_and_recovers(host: Host) -> None:
    """Of forty attempts at once only some can be started; none fails for that."""
    host.write(
        "[pools.default]\nslots = 40\n[jobs.held]\n"
        f"command = 'while test ! -e {host.directory}/go; do sleep 0.2; done'\n"
    )
    with descriptors(64):
        host.start()
    host.run("submit", "held", "--from-ndjson", "-", input="{}\n" * 40)
    wait_until(lambda: "nothing is started for 5 s" in host.log, what="the daemon is short of some")
    assert "default" in host.run("status")
    (host.directory / "go").touch()

    def ended() -> list[dict[str, Any]]:
        runs = host.runs()
        return runs if all(RunState(run["state"]).final for run in runs) else []

    runs = wait_until(ended, what="all have ended")
    assert [(run["state"], run["attempt"]) for run in runs] == [("succeeded", 1)] * 40
    assert host.stop() == 0


def test_a_watch_outlasts_a_store_that_is_away(running: Scene) -> None:
    host = running.host
    shown, said = host.directory / "shown", host.directory / "said"
    with shown.open("w") as out, said.open("w") as err:
        watch = subprocess.Popen(
            [sys.executable, "-m", "jobctl", "status", "--watch", "--every", "100ms"],
            env={**host.environment, **host.extra, "JOBCTL_STORE_WAIT": "0"},
            cwd=host.directory, stdout=out, stderr=err,
        )  # fmt: skip
    try:
        wait_until(lambda: "QUEUE" in shown.read_text(), what="it draws")
        running.server.kill()
        wait_until(lambda: "trying again" in said.read_text(), what="it says why it does not")
        running.server.start()
        before = shown.read_text().count("QUEUE")
        wait_until(lambda: shown.read_text().count("QUEUE") > before, what="it draws again")
        watch.send_signal(signal.SIGINT)
        assert watch.wait(30) == 130
    finally:
        watch.kill()
        watch.wait()
