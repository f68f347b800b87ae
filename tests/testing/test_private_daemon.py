from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jobctl.errors import ConfigError, JobctlError, JobFailed, NoSuchRun, UnreachableError
from jobctl.testing import PrivateDaemon, wait_until

JOBS = """
[jobs.hello]
command = "echo hello $1; pwd"

[jobs.sleepy]
command = "sleep 600"

[jobs.fleeting]
command = "sleep 600"
keep_runs = 1
"""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def named_after(directory: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if directory in " ".join(process.info["cmdline"] or ())
    ]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    root = tmp_path_factory.mktemp("app")
    with PrivateDaemon(JOBS, root=root) as daemon:
        daemon.root = root
        yield daemon


def test_it_runs_jobs_where_the_test_says(daemon) -> None:
    done = daemon.run("submit", "hello", "you", "--wait")

    assert done.returncode == 0
    assert daemon.run("logs", "hello").stdout.splitlines() == ["hello you", str(daemon.root)]
    assert daemon.inspect("hello")["state"] == "succeeded"


def test_what_its_jobs_submit_goes_to_it_and_not_to_the_file_beside_them(tmp_path) -> None:
    """A test must not reach the store of the application."""
    (tmp_path / "jobs.toml").write_text(
        '[jobctl]\nredis = "unix:///nowhere/at.all"\n[python]\ndiscover = ["family"]\n'
        '[jobs.shell]\ncwd = "."\ncommand = "jobctl submit child"\n'
    )
    (tmp_path / "family.py").write_text(
        "from jobctl import job\n@job\ndef child(): pass\n"
        "@job\ndef parent(): return child.submit().id\n"
    )
    with PrivateDaemon(tmp_path / "jobs.toml") as daemon:
        ids = [daemon.client.submit("parent").wait(30)]
        shell = daemon.client.submit("shell")
        shell.wait(30)
        ids.append(shell.logs().strip())
        assert [daemon.client.run(one).job for one in ids] == ["child", "child"]


def test_clear_is_content_with_runs_whose_record_is_gone(daemon) -> None:
    runs = daemon.client.submit_many("fleeting", [()] * 12)
    daemon.clear()
    for run in runs:
        with contextlib.suppress(NoSuchRun):
            assert run.state == "revoked"


def test_failing_command_says_what_it_said(daemon) -> None:
    with pytest.raises(AssertionError, match=r"exited with 66: .*no job 'helo'"):
        daemon.run("submit", "helo")
    assert daemon.run("submit", "helo", check=False).returncode == 66


def test_what_it_holds_outlives_a_stop_and_nothing_a_close() -> None:
    daemon = PrivateDaemon(JOBS).start()
    try:
        first = daemon.run("submit", "hello", "--wait", "--quiet").stdout
        with pytest.raises(JobctlError, match=r"stop\(\) it first"):
            daemon.start()
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.inspect("hello")["state"] == "succeeded", first
        running = daemon.run("submit", "sleepy").stdout.strip()
        pid = wait_until(lambda: daemon.inspect(running)["pid"], what="a running attempt")
        supervisor = daemon.pid
    finally:
        daemon.close()

    assert not alive(pid)
    assert not alive(supervisor)
    assert not daemon.directory.exists()
    assert " is ready " in daemon.log
    daemon.close()
    with pytest.raises(JobctlError, match="was closed"):
        daemon.start()


def test_one_that_was_killed_is_started_again_and_takes_over_what_goes_on() -> None:
    daemon = PrivateDaemon(JOBS).start()
    try:
        running = daemon.run("submit", "sleepy").stdout.strip()
        pid = wait_until(lambda: daemon.inspect(running)["pid"], what="a running attempt")
        killed = daemon.pid
        daemon.kill()
        assert not alive(killed)
        assert daemon.pid == 0
        daemon.kill()

        daemon.start()
        assert daemon.pid not in (0, killed)
        assert daemon.run("submit", "hello", "--wait", "--quiet").returncode == 0
        assert (daemon.inspect(running)["pid"], alive(pid)) == (pid, True)
        assert daemon.client.run(running).revoke()
        with pytest.raises(JobFailed):
            daemon.client.run(running).wait("30s")
        assert not alive(pid)
        second = daemon.pid
        daemon.kill()
    finally:
        daemon.close()

    assert not alive(second)
    assert not daemon.directory.exists()
    assert named_after(str(daemon.directory)) == []


def test_nothing_is_left_when_the_test_process_is_killed(tmp_path) -> None:
    program = (
        "import sys, signal\n"
        "from jobctl.testing import PrivateDaemon\n"
        f"daemon = PrivateDaemon({JOBS!r}).start()\n"
        "daemon.run('submit', 'sleepy')\n"
        "print(daemon.directory, daemon.pid, flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        directory, pid = process.stdout.readline().split()
        assert alive(int(pid))
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not Path(directory).exists(), what="the directory is gone")
    assert not alive(int(pid))
    # The guardian removes the directory as its last act, and is named after it itself.
    wait_until(lambda: not named_after(directory), what="the guardian ends")


def test_daemon_that_cannot_start_says_why() -> None:
    daemon = PrivateDaemon('[jobs.hello]\ncomand = "true"')

    with pytest.raises(UnreachableError, match="comand"):
        daemon.start()
    assert not daemon.directory.exists()


def test_text_that_is_no_toml_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        PrivateDaemon("[jobs.hello")
    with pytest.raises(ConfigError, match=r"nowhere.toml cannot be read: No such file"):
        PrivateDaemon(Path("nowhere.toml"))
