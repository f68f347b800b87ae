"""Stories about the daemon's life: signals, crashes, reloads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psutil

from tests.acceptance.host import DEADLINE, wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

TRACED = """
[pools.default]
slots = 4
[jobs.traced]
command = '''
echo "start $JOBCTL_RUN_ID" >> trace
trap 'echo "end $JOBCTL_RUN_ID" >> trace; exit 143' TERM
sleep "$1" & wait
echo "end $JOBCTL_RUN_ID" >> trace
'''
cwd = "{directory}"
stop_timeout = "2s"
"""


def traced(host: Host) -> None:
    host.write(TRACED.replace("{directory}", str(host.directory)))


def overlapping(trace: list[str]) -> list[str]:
    """Return the ids of runs that started while they were already running."""
    running: set[str] = set()
    twice = []
    for line in trace:
        word, run_id = line.split()
        if word == "start":
            if run_id in running:
                twice.append(run_id)
            running.add(run_id)
        else:
            running.discard(run_id)
    return twice


def test_a_submitted_job_runs_and_leaves_a_full_record(host: Host) -> None:
    host.write('[jobs.hello]\ncommand = "echo hello $1"\n')
    host.start()

    run_id = host.submit("hello", "world")
    assert host.run("wait", run_id, code=0) is not None
    run = host.inspect(run_id)

    assert host.run("logs", run_id) == "hello world\n"
    assert (run["state"], run["attempt"], run["exit_code"], run["host"]) == (
        "succeeded",
        1,
        0,
        "host-a",
    )
    assert run["submitted_at"] <= run["started_at"] <= run["finished_at"]
    assert (host.state / "logs" / "hello" / f"{run_id}.1.log").read_text() == "hello world\n"


def test_sigterm_lets_what_runs_finish_and_gives_the_rest_back(host: Host) -> None:
    traced(host)
    daemon = host.start()
    words = [*["3"] * 4, *["0"] * 3]
    batch = "\n".join(f'{{"args": ["{seconds}"]}}' for seconds in words)
    ids = host.run("submit", "traced", "--from-ndjson", "-", input=batch).split()
    wait_until(lambda: len(host.lines("trace")) >= 4, what="four running")

    assert host.stop(daemon) == 0
    assert Counter(line.split()[0] for line in host.lines("trace")) == {"start": 4, "end": 4}

    host.start()
    states = [host.wait_state(run_id) for run_id in ids]
    assert {run["state"] for run in states} == {"succeeded"}
    assert {run["attempt"] for run in states} == {1}


def test_a_second_sigterm_stops_what_runs_and_it_runs_again_later(host: Host) -> None:
    traced(host)
    daemon = host.start()
    run_id = host.submit("traced", "60")
    wait_until(lambda: host.lines("trace"), what="running")

    daemon.send_signal(signal.SIGTERM)
    wait_until(lambda: "SIGTERM" in host.log, what="the first signal")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(DEADLINE) == 0
    assert host.lines("trace") == [f"start {run_id}", f"end {run_id}"]

    host.start()
    wait_until(lambda: len(host.lines("trace")) == 3, what="started again")
    host.run("revoke", run_id)
    assert host.wait_state(run_id)["state"] == "revoked"


def test_killed_supervisor_loses_and_doubles_nothing(host: Host) -> None:
    traced(host)
    daemon = host.start()
    words = [*["3"] * 4, *["0.01"] * 40]
    batch = "\n".join(f'{{"args": ["{seconds}"]}}' for seconds in words)
    runs = host.run("submit", "traced", "--from-ndjson", "-", input=batch).split()
    wait_until(lambda: len(host.lines("trace")) >= 4, what="running")

    daemon.kill()
    daemon.wait()
    host.start()
    ended = [host.wait_state(run_id) for run_id in runs]

    assert {run["state"] for run in ended} == {"succeeded"}
    assert overlapping(host.lines("trace")) == []
    assert {line.split()[1] for line in host.lines("trace")} == set(runs)


def test_revoke_ends_every_process_of_an_adopted_run(host: Host) -> None:
    host.write(
        "[jobs.stray]\ncommand = 'setsid sleep 300 & sleep 300'\n[pools.default]\nslots = 2\n"
    )
    daemon = host.start()
    run_id = host.submit("stray")
    host.wait_state(run_id, "running")
    wait_until(lambda: len(_sleepers(host)) == 2, what="sleepers")
    for process in [psutil.Process(daemon.pid), *_pools(host)]:
        process.kill()
    daemon.wait()

    host.start()
    strays = _sleepers(host)
    host.run("revoke", run_id)
    run = host.wait_state(run_id)

    assert len(strays) == 2
    assert (run["state"], run["attempt"]) == ("revoked", 1)
    assert not [process for process in strays if _alive(process)]


def test_a_killed_pool_is_replaced_and_its_runs_go_on(host: Host) -> None:
    traced(host)
    host.start()
    run_id = host.submit("traced", "3")
    wait_until(lambda: host.lines("trace"), what="running")

    for pool in _pools(host):
        pool.kill()
    run = host.wait_state(run_id)

    assert (run["state"], run["attempt"]) == ("succeeded", 1)
    assert host.lines("trace") == [f"start {run_id}", f"end {run_id}"]
    assert host.run("submit", "traced", "0", "--wait")


def test_a_killed_store_comes_back_with_everything_accepted(host: Host) -> None:
    traced(host)
    host.start()
    batch = "\n".join('{"args": ["1"]}' for _ in range(8))
    runs = host.run("submit", "traced", "--from-ndjson", "-", input=batch).split()
    store = host.server()

    store.kill()
    ended = [host.wait_state(run_id) for run_id in runs]

    assert {(run["state"], run["attempt"]) for run in ended} == {("succeeded", 1)}
    assert Counter(host.lines("trace")) == Counter(
        f"{word} {run_id}" for word in ("start", "end") for run_id in runs
    )


def test_a_second_daemon_on_the_same_state_directory_is_refused(host: Host) -> None:
    traced(host)
    host.start()

    done = host.call("daemon")

    assert done.returncode == 75
    assert str(host.daemons[0].pid) in done.stderr
    assert "Traceback" not in done.stderr


def test_reload_takes_new_jobs_and_a_broken_file_changes_nothing(host: Host) -> None:
    host.write("[jobs.one]\ncommand = 'echo one'\n")
    daemon = host.start()

    host.write("[jobs.one]\ncommand = 'echo two'\n[jobs.more]\ncommand = 'echo more'\n")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in host.log, what="reloaded")
    assert host.run("submit", "more", "--wait")
    assert host.run("logs", "more") == "more\n"

    host.config.write_text("[jobs.one\ncommand = 3")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload failed" in host.log, what="refused")
    host.write("[jobs.one]\ncommand = 'echo three'\n")
    assert host.run("submit", "one", "--wait")
    assert host.run("logs", "one") == "two\n"


def test_reload_asked_for_during_a_reload_is_not_forgotten(host: Host) -> None:
    host.write("")
    daemon = host.start()
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: _readers(daemon.pid), what="jobs.toml is read")
    host.write("[jobs.late]\ncommand = 'true'\n")
    daemon.send_signal(signal.SIGHUP)

    wait_until(lambda: ": 1 jobs" in host.log, what="the new job is known")


def _readers(daemon: int) -> list[psutil.Process]:
    """Return the processes that read jobs.toml for a daemon."""
    found = []
    for child in psutil.Process(daemon).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "jobctl.config" in child.cmdline():
                found.append(child)
    return found


def test_reload_returns_when_new_jobs_can_be_submitted(host: Host) -> None:
    host.write("")
    host.start()
    for number in range(5):
        with host.config.open("a") as file:
            file.write(f"[jobs.job{number}]\ncommand = 'echo {number}'\n")
        host.run("reload")
        assert host.run("submit", f"job{number}", "--wait")


def test_stop_ends_the_daemon_and_every_process_of_it(host: Host) -> None:
    traced(host)
    daemon = host.start()
    host.run("submit", "traced", "0", "--wait")

    host.run("stop")

    assert daemon.wait(10) == 0
    assert [process.pid for process in host.processes() if process.pid != os.getpid()] == []


def test_burst_ends_when_everything_has_run(host: Host) -> None:
    host.write(
        "[jobs.flaky]\nretries = 1\nretry_delay = '500ms'\n"
        f"command = 'test -e {host.directory}/once || {{ touch {host.directory}/once; exit 1; }}'\n"
    )
    daemon = host.start("--burst", ready=False)
    wait_until(lambda: "is ready" in host.log, what="ready")
    assert daemon.wait(DEADLINE) == 0

    host.start()
    run_id = host.submit("flaky")
    host.stop()
    daemon = host.start("--burst", ready=False)
    assert daemon.wait(DEADLINE) == 0
    host.start()

    assert host.inspect(run_id)["state"] == "succeeded"


def _pools(host: Host) -> list[psutil.Process]:
    return [
        process for process in host.processes() if "jobctl.engine.pool_main" in process.cmdline()
    ]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _sleepers(host: Host) -> list[psutil.Process]:
    return [process for process in host.processes() if process.cmdline() == ["sleep", "300"]]


def test_a_pool_whose_definition_changed_is_replaced_without_hurting_what_runs(host: Host) -> None:
    job = "[jobs.j]\ncommand = 'sleep $1; echo slept $1'\n[pools.default]\nslots = {}\n"
    host.write(job.format(1))
    daemon = host.start()
    old = host.submit("j", "3")
    host.wait_state(old, "running")

    host.write(job.format(2))
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in host.log, what="reloaded")
    new = host.submit("j", "0")

    assert host.wait_state(new)["state"] == "succeeded"
    assert host.wait_state(old)["attempt"] == 1
    assert (host.run("logs", old), host.run("logs", new)) == ("slept 3\n", "slept 0\n")


def test_who_follows_a_log_sees_the_end_over_a_restart_of_daemon_and_store(host: Host) -> None:
    host.write(
        f"[jobs.talk]\ncommand = 'echo one; until test -e {host.directory}/go; do sleep 0.1; done; echo two'\n"
    )
    daemon = host.start()
    run_id = host.submit("talk")
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", "logs", "-f", run_id],
        env=host.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        store = host.server()
        daemon.kill()
        store.kill()
        daemon.wait()
        wait_until(lambda: host.call("list").returncode == 69, what="the store is gone")
        (host.directory / "go").touch()
        host.start()

        assert follower.stdout.read() == "two\n"
        assert follower.wait(30) == 0


def test_run_that_must_not_repeat_ends_as_lost(host: Host) -> None:
    host.write(
        "[jobs.once]\ndelivery = 'at-most-once'\nstop_timeout = '1s'\n"
        f"command = 'echo started >> {host.directory}/starts; sleep 60'\n"
    )
    daemon = host.start()
    run_id = host.submit("once")
    wait_until(lambda: host.lines("starts"), what="running")

    stores = {p.pid for p in host.named("valkey")}
    everything = [p for p in host.processes() if p.pid not in stores and p.pid != os.getpid()]
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(process)
    daemon.wait()
    host.start()
    run = host.wait_state(run_id)

    assert (run["state"], run["reason"]) == ("failed", "lost")
    assert host.lines("starts") == ["started"]
