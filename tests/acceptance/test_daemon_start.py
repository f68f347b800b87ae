"""Stories about daemons that do not start, and what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.host import DEADLINE, wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host


@pytest.fixture
def host(host: Host) -> Host:
    """A host whose daemon has to validate its file itself."""
    host.validated = False
    return host


def test_every_problem_of_the_file_is_said(host: Host) -> None:
    host.write('[jobs.a]\ncomand = "x"\nschedule = "99 * * * *"\n[jobs.b]\ncommand = 1\n')
    done = host.call("daemon")

    assert done.returncode == 78
    assert "did you mean 'command'?" in done.stderr
    assert "99 is not between" in done.stderr
    assert "jobs.b.command" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_file_is_a_configuration_error(host: Host) -> None:
    done = host.call("daemon", "-c", "absent.toml")

    assert done.returncode == 78
    assert "there is no such file" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="others than root may name no user at all")
def test_user_that_does_not_exist_is_only_the_trouble_of_its_job(host: Host) -> None:
    host.write('[jobs.a]\ncommand = "true"\nuser = "no-such-user"\n[jobs.b]\ncommand = "true"\n')
    host.start()

    assert "jobs.a.user" in host.log
    run = host.wait_state(host.submit("a"))
    assert (run["state"], run["reason"]) == ("failed", "spawn")
    assert host.wait_state(host.submit("b"))["state"] == "succeeded"


def test_second_daemon_is_refused_with_the_pid_of_the_first(host: Host) -> None:
    host.write("")
    first = host.start()
    done = host.call("daemon")

    assert done.returncode == 75
    assert f"(pid {first.pid})" in done.stderr


def test_unusable_state_directory_is_refused(host: Host) -> None:
    host.write("")
    host.state.write_text("a file")
    done = host.call("daemon")

    assert done.returncode == 78
    assert "state directory" in done.stderr


def test_facts_that_cannot_be_written_are_told_of_and_cost_no_run(host: Host) -> None:
    host.write('[jobs.a]\ncommand = "true"\n')
    (host.state / "supervisor.json").mkdir(parents=True)
    host.start()
    assert host.wait_state(host.submit("a"))["state"] == "succeeded"
    assert host.stop() == 0

    assert "supervisor.json" in host.log
    assert "is a directory" in host.log.lower()
    assert "Traceback" not in host.log


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_state_directory_of_somebody_else_is_not_permitted(host: Host) -> None:
    host.write("")
    host.state.mkdir(mode=0o500)
    done = host.call("daemon")

    assert done.returncode == 77
    assert "cannot be written" in done.stderr


def test_unknown_log_level_is_a_usage_error(host: Host) -> None:
    host.write("")
    assert host.call("daemon", "--log-level", "loud").returncode == 2


def test_daemon_waits_for_its_store_and_can_be_stopped_meanwhile(host: Host) -> None:
    host.redis = "redis://127.0.0.1:1/0"
    host.write("")
    daemon = host.start(ready=False)
    wait_until(lambda: "waiting for it" in host.log, what="it waits")
    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait(DEADLINE) == 69


def test_wrong_password_is_not_permitted(host: Host) -> None:
    host.write("")
    host.start()
    address = host.state / "store" / "valkey.sock"
    other = host.directory / "other.toml"
    other.write_text(
        f'[jobctl]\nredis = "unix://:wrong@{address}"\nstate_dir = "{host.directory}/other"\n'
    )
    done = host.call("daemon", "-c", str(other))

    assert done.returncode == 77
    assert "wrong" not in done.stderr.replace("wrong password", "")


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_a_daemon_with_0(host: Host, signals: int) -> None:
    host.write(
        '[jobs.long]\ncommand = "touch begun; sleep 60"\ncwd = "."\nstop_timeout = "200ms"\n'
    )
    daemon = host.start()
    if signals == 2:
        host.submit("long")
        wait_until((host.directory / "begun").exists, what="the job runs")
    daemon.send_signal(signal.SIGINT)
    wait_until(lambda: "finishing what runs" in host.log, what="it drains")
    if signals == 2:
        assert daemon.poll() is None
        daemon.send_signal(signal.SIGINT)

    assert daemon.wait(DEADLINE) == 0
    assert not host.processes()


def test_signals_until_its_very_end_do_not_change_how_a_daemon_ends(host: Host) -> None:
    host.write("")
    daemon = host.start()

    def gone() -> bool:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            daemon.send_signal(number)
        return daemon.poll() is not None

    wait_until(gone, what="it ends")

    assert daemon.returncode == 0
    assert not host.processes()


HELD_UP = """
import os, sys, time

class HeldUp:
    def find_spec(self, name, *_):
        if name == {module!r} and not os.path.exists("told"):
            open("reached", "w").close()
            while not os.path.exists("told"):
                time.sleep(0.01)

sys.meta_path.insert(0, HeldUp())
"""
"""Stops a process where it imports a module, until it is told to go on."""
STAGES = {
    "before it knows its words": "jobctl.cli.start",
    "while it imports": "jobctl.engine.supervisor",
    "while its file is read": "jobctl.config.validate",
}


def held_up(host: Host, stage: str, *, wait: bool = True) -> subprocess.Popen[str]:
    """Start a daemon that does not get beyond a stage of its start."""
    host.write("")
    site = host.directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HELD_UP.format(module=STAGES[stage]))
    host.extra["PYTHONPATH"] = f"{site}:{host.environment['PYTHONPATH']}"
    daemon = host.start(ready=False)
    if wait:
        wait_until((host.directory / "reached").exists, what=stage)
    return daemon


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_daemon_that_is_stopped_while_it_starts_ends_in_order(
    host: Host, stage: str, number: signal.Signals, code: int
) -> None:
    daemon = held_up(host, stage)

    daemon.send_signal(number)
    if stage != "while its file is read":
        (host.directory / "told").touch()

    assert daemon.wait(DEADLINE) == code, host.log
    assert "Traceback" not in host.log
    assert not host.processes()


@pytest.mark.parametrize("stage", STAGES)
def test_a_daemon_that_is_to_reload_while_it_starts_does_so_when_it_can(
    host: Host, stage: str
) -> None:
    daemon = held_up(host, stage)

    daemon.send_signal(signal.SIGHUP)
    (host.directory / "told").touch()

    wait_until(lambda: " is ready " in host.log or daemon.poll() is not None, what="it is ready")
    assert host.stop() == 0, host.log


def test_a_daemon_begins_with_what_a_command_has_validated_and_validates_what_it_reloads(
    host: Host,
) -> None:
    host.validated = True
    daemon = held_up(host, "while its file is read", wait=False)

    wait_until(lambda: " is ready " in host.log, what="it is ready")
    assert not (host.directory / "reached").exists()

    daemon.send_signal(signal.SIGHUP)
    wait_until((host.directory / "reached").exists, what="it validates")
    (host.directory / "told").touch()
    wait_until(lambda: "reloaded" in host.log, what="it has reloaded")


def test_a_daemon_that_is_stopped_while_it_begins_anew_stops_what_went_on_meanwhile(
    host: Host,
) -> None:
    (host.directory / "told").touch()
    daemon = held_up(host, "while it imports", wait=False)
    wait_until(lambda: " is ready " in host.log, what="it is ready")
    (host.directory / "told").unlink()
    daemon.send_signal(signal.SIGUSR2)
    wait_until((host.directory / "reached").exists, what="it begins anew")

    daemon.send_signal(signal.SIGTERM)
    (host.directory / "told").touch()

    assert daemon.wait(DEADLINE) == 0, host.log
    assert not host.processes()


def held_back(pid: int) -> set[int]:
    """Return the signals that a process lets wait."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    (blocked,) = (
        int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")
    )
    return {number for number in range(1, 65) if blocked >> (number - 1) & 1}


def test_ctrl_c_before_it_is_ready_shows_no_traceback(host: Host) -> None:
    host.write("")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "daemon"],
        env=host.environment, cwd=host.directory, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # Before that Python itself starts, and ends as it likes.
    wait_until(lambda: signal.SIGINT in held_back(daemon.pid), what="it has begun")
    daemon.send_signal(signal.SIGINT)
    _, said = daemon.communicate(timeout=20)

    assert daemon.returncode in {0, 130}
    assert "Traceback" not in said
