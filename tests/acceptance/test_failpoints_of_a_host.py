"""Failpoints in a whole host: which processes know of them, and which must not."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from host import wait_until

if TYPE_CHECKING:
    from host import Host

JOBS = '[jobs.show]\ncommand = "env"\n\n[jobs.quick]\ncommand = "true"\n'


def test_rules_that_cannot_be_read_exit_78(host: Host) -> None:
    host.write(JOBS)
    host.extra = {"JOBCTL_FAILPOINTS": "before:clam=crash"}
    for verb in ("daemon", "status"):
        done = host.call(verb)
        assert done.returncode == 78
        assert "'clam'" in done.stderr
        assert "Traceback" not in done.stderr


def test_pool_crashes_where_told_and_attempts_know_nothing(host: Host) -> None:
    host.write(JOBS)
    rules = host.directory / "rules"
    host.extra = {"JOBCTL_FAILPOINTS_FILE": str(rules)}
    host.start()
    shown = host.submit("show")
    host.wait_state(shown, "succeeded")
    assert "JOBCTL_FAILPOINTS" not in host.run("logs", shown)

    rules.write_text("pool:before:settle=crash")
    run = host.submit("quick")
    wait_until(lambda: "failpoint pool:before:settle=crash met at settle" in host.log)
    rules.unlink()
    record = host.wait_state(run)
    assert record["state"] == "succeeded"
    assert host.daemons[-1].poll() is None


def test_command_crashes_only_under_its_own_role(host: Host) -> None:
    host.write(JOBS)
    host.start()
    host.extra = {"JOBCTL_FAILPOINTS": "pool:before:submit=crash"}
    host.run("submit", "quick")
    host.extra = {"JOBCTL_FAILPOINTS": "cli:before:submit=crash"}
    assert host.call("submit", "quick").returncode == -signal.SIGKILL
