"""Stories about what a job may not do: run too long, too much, too often, at the same time."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.acceptance.host import DEADLINE, wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

FAR_TOO_LONG = 20.0
"""Seconds; the job would go on for ever."""


def until_told(host: Host) -> str:
    """Return a command that ends when told to."""
    return f"until test -e {host.directory}/told; do sleep 0.05; done"


def tell(host: Host) -> None:
    """Let what waits end."""
    (host.directory / "told").touch()


def test_the_job_from_hell_is_gone_in_time_and_its_log_is_capped(host: Host) -> None:
    marker = f"hell-{host.directory.name}"
    (host.directory / marker).write_text(
        "#!/bin/sh\ntrap '' TERM INT HUP\nwhile :; do sleep 1; done\n"
    )
    (host.directory / marker).chmod(0o755)
    host.write(
        f"""
[jobs.hell]
timeout = "2s"
stop_timeout = "1s"
max_output = "4MiB"
command = '''
trap '' TERM
( setsid {host.directory}/{marker} & )
tr '\\0' x < /dev/zero | head -c 1000000000
exec {host.directory}/{marker}
'''
"""
    )
    host.start()
    pools = [p for p in host.processes() if "jobctl.engine.pool_main" in p.cmdline()]
    before = sum(pool.memory_info().rss for pool in pools)

    started = time.monotonic()
    run_id = host.submit("hell")
    run = host.wait_state(run_id)

    assert time.monotonic() - started < FAR_TOO_LONG
    assert (run["state"], run["reason"]) == ("failed", "timeout")
    assert [p for p in host.processes() if any(marker in word for word in p.cmdline())] == []
    assert (host.state / "logs" / "hell" / f"{run_id}.1.log").stat().st_size <= 4 * 1024 * 1024
    assert sum(pool.memory_info().rss for pool in pools) - before < 30 * 1024 * 1024


def test_a_revoked_run_is_stopped_with_all_its_children(host: Host) -> None:
    host.write("[jobs.long]\ncommand = 'sleep 301 & sleep 301; echo not reached'\n")
    host.start()
    run_id = host.submit("long")
    host.wait_state(run_id, "running")

    host.run("revoke", run_id)
    run = host.wait_state(run_id)

    assert (run["state"], run["reason"]) == ("revoked", "user")
    assert [p for p in host.processes() if p.cmdline() == ["sleep", "301"]] == []


def test_a_revoked_queued_run_never_starts(host: Host) -> None:
    host.write(
        f"[pools.default]\nslots = 1\n[jobs.j]\ncommand = '{until_told(host)}; echo $JOBCTL_RUN_ID >> {host.directory}/ran'\n"
    )
    host.start()
    first, second = host.submit("j"), host.submit("j")

    host.run("revoke", second)

    assert host.inspect(second)["state"] == "revoked"
    tell(host)
    host.wait_state(first)
    host.run("submit", "j", "--wait")
    assert second not in host.lines("ran")


def test_max_running_parks_what_is_too_much_and_loses_none(host: Host) -> None:
    host.write(
        f"""
[pools.default]
slots = 6
[jobs.j]
max_running = 2
command = "mkdir {host.directory}/in.$$; ls -d {host.directory}/in.* | wc -l >> {host.directory}/seen; sleep 0.1; rmdir {host.directory}/in.$$"
"""
    )
    host.start()

    runs = [host.submit("j") for _ in range(10)]
    ended = [host.wait_state(run_id) for run_id in runs]

    assert {run["state"] for run in ended} == {"succeeded"}
    assert len(host.lines("seen")) == 10
    assert max(int(line) for line in host.lines("seen")) <= 2


def test_a_failing_job_is_retried_as_often_as_it_says(host: Host) -> None:
    host.write(
        "[jobs.j]\nretries = 2\nretry_delay = '100ms'\nretry_jitter = 0\n"
        "command = 'echo attempt $JOBCTL_ATTEMPT of $JOBCTL_MAX_ATTEMPTS; exit 7'\n"
    )
    host.start()

    done = host.call("submit", "j", "--wait")
    run = host.inspect("j")

    assert done.returncode == 7
    assert (run["state"], run["attempt"], run["exit_code"]) == ("failed", 3, 7)
    assert host.run("logs", "j", "--attempt", "2") == "attempt 2 of 3\n"


def test_a_run_that_is_too_late_expires_without_running(host: Host) -> None:
    host.write(f"[pools.default]\nslots = 1\n[jobs.j]\ncommand = '{until_told(host)}'\n")
    host.start()
    host.wait_state(host.submit("j"), "running")

    late = host.submit("j", "--expires", "200ms")
    run = host.wait_state(late)
    tell(host)

    assert (run["state"], run["started_at"]) == ("expired", None)


@pytest.mark.parametrize(
    ("overlap", "first", "second"),
    [
        ("skip", "succeeded", "skipped"),
        ("replace", "revoked", "succeeded"),
        ("queue-all", "succeeded", "succeeded"),
        ("allow", "succeeded", "succeeded"),
    ],
)
def test_overlap_decides_what_a_second_run_does(
    host: Host, overlap: str, first: str, second: str
) -> None:
    host.write(f"[jobs.j]\noverlap = '{overlap}'\ncommand = '{until_told(host)}'\n")
    host.start()
    older = host.submit("j")
    host.wait_state(older, "running")

    newer = host.run("submit", "j", code=None).strip()
    tell(host)

    assert (host.wait_state(older)["state"], host.wait_state(newer)["state"]) == (first, second)


def test_memory_above_the_limit_ends_the_run(host: Host) -> None:
    host.write(
        "[jobs.j]\nmax_rss = '60MiB'\ncommand = ['python3', '-c', 'x = bytearray(200_000_000); import time; time.sleep(30)']\n"
    )
    host.start()

    run = host.wait_state(host.submit("j"))

    assert (run["state"], run["reason"]) == ("failed", "memory")


def test_nothing_is_left_of_a_run_that_put_itself_into_the_background(host: Host) -> None:
    host.write("[jobs.j]\ncommand = 'setsid sleep 302 & echo started'\n")
    host.start()

    host.run("submit", "j", "--wait")

    wait_until(
        lambda: not [p for p in host.processes() if _is(p, ["sleep", "302"])],
        what="leftovers gone",
    )


def test_a_daemon_that_a_job_starts_on_purpose_is_left_alone(host: Host) -> None:
    host.write("[jobs.j]\nleftovers = 'keep'\ncommand = 'setsid sleep 303 & echo started'\n")
    daemon = host.start()

    host.run("submit", "j", "--wait")
    host.run("submit", "j", "--wait")
    host.stop(daemon)
    host.start()

    left = [p for p in host.processes() if _is(p, ["sleep", "303"])]
    for process in left:
        process.kill()
    assert len(left) == 2
    assert host.run("logs", "j") == "started\n"


def test_what_a_kept_daemon_prints_first_is_in_the_log_of_its_run_and_of_no_other(
    host: Host,
) -> None:
    command = "setsid sh -c 'while [ ! -e go ]; do sleep 0.01; done; echo late' & true"
    host.write(
        "[pools.default]\nslots = 1\n[jobs.silent]\ncommand = 'true'\n"
        f"[jobs.j]\nleftovers = 'keep'\ncwd = '{host.directory}'\ncommand = \"{command}\"\n"
    )
    host.start()
    run = host.submit("j")
    host.wait_state(run)
    (host.directory / "go").touch()

    wait_until(lambda: host.run("logs", run) == "late\n", what="the daemon has printed")
    other = host.submit("silent")
    host.wait_state(other)
    assert host.run("logs", other) == ""


def test_nothing_that_says_nothing_is_left_of_an_orderly_stop(host: Host) -> None:
    host.write(
        "[pools.default]\nslots = 2\n[pools.threads]\nqueues = ['t']\npython = 'thread'\n"
        f"[jobs.j]\npython = 'quick:quick'\ncwd = '{host.directory}'\n[jobs.say]\ncommand = 'echo said'\n"
    )
    (host.directory / "quick.py").write_text("def quick(): pass\n")
    host.start()
    host.run("submit", "--from-ndjson", "-", "j", input="{}\n" * 20)
    for words in (("j",), ("j", "--queue", "t"), ("say",)):
        host.run("submit", *words, "--wait")
    for process in [p for p in host.processes() if "jobctl.engine.pool_main" in p.cmdline()]:
        process.kill()
    wait_until((host.state / "pools" / "orphans.exits").exists, what="keepers are gone")
    host.run("submit", "j", "--wait")

    host.run("stop")

    assert host.daemons[0].wait(DEADLINE) == 0
    assert [*(host.state / "spool").iterdir()] == []
    assert [*(host.state / "pools").iterdir()] == []
    assert len([*(host.state / "logs").glob("say/*.log")]) == 1


def test_a_pool_that_goes_before_its_daemon_leaves_nothing_in_the_spool(host: Host) -> None:
    host.write(
        "[pools.default]\nslots = 2\n[pools.old]\nqueues = ['o']\n[jobs.j]\ncommand = 'true'\n"
    )
    daemon = host.start()
    host.run("submit", "j", "--queue", "o", "--wait")
    host.run("submit", "j", "--wait")
    old = {p.name for p in (host.state / "spool").glob("old.*")}

    host.write("[pools.default]\nslots = 2\n[jobs.j]\ncommand = 'true'\n")
    daemon.send_signal(signal.SIGHUP)

    assert old
    wait_until(lambda: not [*(host.state / "spool").glob("old.*")], what="they are gone")
    assert [*(host.state / "spool").glob("default.*")]


def _is(process: psutil.Process, words: list[str]) -> bool:
    try:
        return process.cmdline() == words
    except psutil.Error:
        return False


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_a_job_that_signals_its_pool_stops_nobody_else(host: Host, number: str) -> None:
    host.write(
        "[pools.default]\nslots = 2\n"
        f"[jobs.other]\ncommand = '{until_told(host)}'\n"
        f"[jobs.rude]\ncommand = 'kill -{number} $PPID'\n"
    )
    host.start()
    other = host.submit("other")
    host.wait_state(other, "running")

    rude = host.wait_state(host.submit("rude"))
    tell(host)

    assert (rude["state"], rude["attempt"]) == ("succeeded", 1)
    assert (host.wait_state(other)["state"], host.inspect(other)["attempt"]) == ("succeeded", 1)
    assert host.wait_state(host.submit("other"))["state"] == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_ordered_stop_ends_what_a_pool_ran_that_does_not_take_part(
    host: Host, number: signal.Signals
) -> None:
    host.write(
        "[jobs.j]\nstop_timeout = '1s'\ncommand = 'sleep 304'\n", settings="drain_timeout = '2s'"
    )
    host.extra["PYTHONPATH"] = str(host.directory / "site")
    (host.directory / "site").mkdir()
    patience = "import jobctl.engine.fleet as module\nmodule.HURRY_EXTRA = 3.0\n"
    (host.directory / "site" / "sitecustomize.py").write_text(patience)
    daemon = host.start()
    run_id = host.submit("j")
    host.wait_state(run_id, "running")
    (pool,) = [p for p in host.processes() if "jobctl.engine.pool_main" in p.cmdline()]
    if number is signal.SIGSTOP:
        pool.send_signal(number)

    daemon.send_signal(signal.SIGTERM)
    wait_until(lambda: "finishing what runs" in host.log, what="the stop")
    if number is signal.SIGKILL:
        pool.send_signal(number)

    assert daemon.wait(60) == 0
    assert host.processes() == []
    assert host.log.count(" ended unexpectedly") == (number is signal.SIGKILL)


def test_a_stop_ends_in_time_what_runs_in_a_pool_that_was_replaced(host: Host) -> None:
    host.write(
        "[jobs.j]\nstop_timeout = '1s'\ncommand = 'sleep 305'\n", settings="drain_timeout = '1s'"
    )
    daemon = host.start()
    host.wait_state(host.submit("j"), "running")
    host.run("pool", "restart", "default")
    wait_until(lambda: "is replaced" in host.log, what="it is replaced")

    assert host.stop(daemon) == 0
    # A keeper that ends a moment after its daemon is for init to bury.
    wait_until(lambda: not host.processes(), what="nothing is left")
    # Its pool has stopped it, and was not killed for being late.
    assert "does not end" not in host.log
