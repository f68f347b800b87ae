"""Stories about attempts that outlive whoever started them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import jobctl
from jobctl.store import queries, transitions
from jobctl.store.address import Address
from jobctl.store.blocking import BlockingStore
from jobctl.store.keys import Keys
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    import subprocess

    from tests.acceptance.host import Host

LONG = """
[pools.default]
slots = 6
[jobs.long]
command = 'echo begin $JOBCTL_ATTEMPT; until test -e {0}/go.$1; do sleep 0.05; done; echo "{{\\"n\\": $1}}" > $JOBCTL_RESULT_FILE; echo end; exit $1'
success_codes = [0, 4]
[jobs.slow]
timeout = "4s"
stop_timeout = "1s"
command = 'echo begin; sleep 60'
[jobs.python]
python = "work:wait"
cwd = "{0}"
[jobs.quick]
command = 'echo quick'
"""
WORK = """
import os, time
def wait(name):
    print("python begins")
    while not os.path.exists(name):
        time.sleep(0.05)
    print("python ends")
    return {"name": os.path.basename(name)}
"""

TELLS = """
import os, time
from jobctl import current
def until(name):
    while not os.path.exists(name):
        time.sleep(0.05)
def wait(name):
    current().progress(10)
    until(name + ".1")
    current().progress(70, "nobody is there")
    open(os.path.dirname(name) + "/told", "w").close()
    until(name + ".2")
    current().progress(90, "two\\nlines")
"""


def written(host: Host) -> None:
    (host.directory / "work.py").write_text(WORK)
    host.write(LONG.format(host.directory))


def pools(host: Host) -> list[psutil.Process]:
    return _with(host, "jobctl.engine.pool_main")


def keepers(host: Host) -> list[psutil.Process]:
    return _with(host, "keeper.py")


def _with(host: Host, word: str) -> list[psutil.Process]:
    found = []
    for process in host.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found


def kill(host: Host, *kinds: str) -> None:
    """Kill some kinds of processes, all of them at once, in the order given."""
    daemon = host.daemons[-1]
    found = {
        "supervisor": [psutil.Process(daemon.pid)],
        "pools": pools(host),
        "keepers": keepers(host),
    }
    victims = [process for kind in kinds for process in found[kind]]
    for process in victims:
        process.suspend()
    for process in victims:
        process.kill()
    if "supervisor" in kinds:
        daemon.wait()


def go(host: Host, *names: object) -> None:
    for name in names:
        (host.directory / f"go.{name}").touch()


@pytest.mark.parametrize(
    "kinds",
    [
        ("supervisor",),
        ("pools",),
        ("supervisor", "pools"),
        ("pools", "keepers"),
        ("keepers", "pools"),
    ],
    ids="+".join,
)
def test_attempts_keep_their_process_exit_code_result_and_log(
    host: Host, kinds: tuple[str, ...]
) -> None:
    written(host)
    host.start()
    runs = {code: host.submit("long", str(code)) for code in (0, 3, 4)}
    before = {code: host.wait_pid(run) for code, run in runs.items()}
    wait_until(lambda: all(before.values()) or before.update(_pids(host, runs)), what="marks")

    kill(host, *kinds)
    if "supervisor" in kinds:
        # One ends while nobody is there.
        go(host, 3)
        leader = psutil.Process(before[3])
        wait_until(lambda: not leader.is_running() or leader.status() == psutil.STATUS_ZOMBIE)
        host.start()
    go(host, 0, 3, 4)
    ended = {code: host.wait_state(run) for code, run in runs.items()}

    for code, run in ended.items():
        wanted = "failed" if code == 3 else "succeeded"
        assert (run["state"], run["exit_code"], run["attempt"]) == (wanted, code, 1)
        assert run["pid"] == before[code]
        assert run["result"] == {"n": code}
        assert host.run("logs", runs[code]) == "begin 1\nend\n"
    assert host.run("submit", "quick", "--wait")


def _pids(host: Host, runs: dict[int, str]) -> dict[int, int]:
    return {code: host.inspect(run)["pid"] for code, run in runs.items()}


def test_a_time_limit_holds_for_an_adopted_attempt(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("slow")
    host.wait_state(run_id, "running")

    kill(host, "supervisor", "pools")
    host.start()
    run = host.wait_state(run_id)

    assert (run["state"], run["reason"], run["attempt"]) == ("failed", "timeout", 1)
    assert 3.9 < run["duration"] < 10


@pytest.mark.parametrize("kinds", [("supervisor",), ("supervisor", "pools")], ids="+".join)
def test_a_python_function_keeps_its_result(host: Host, kinds: tuple[str, ...]) -> None:
    written(host)
    host.start()
    run_id = host.submit("python", f"{host.directory}/go.python")
    wait_until(lambda: host.call("logs", run_id).stdout == "python begins\n", what="begun")

    kill(host, *kinds)
    host.start()
    go(host, "python")
    run = host.wait_state(run_id)

    assert (run["state"], run["attempt"]) == ("succeeded", 1)
    assert run["result"] == {"name": "go.python"}
    assert host.run("logs", run_id) == "python begins\npython ends\n"


def test_a_python_function_tells_on_how_far_it_is(host: Host) -> None:
    (host.directory / "work.py").write_text(TELLS)
    host.write(LONG.format(host.directory))
    host.start()
    run_id = host.submit("python", f"{host.directory}/go")
    wait_until(lambda: host.inspect(run_id).get("progress"), what="it tells")

    kill(host, "supervisor", "pools")
    go(host, "1")
    wait_until((host.directory / "told").exists, what="it tells in vain")
    host.start()

    told = {"percent": 70, "message": "nobody is there"}
    wait_until(lambda: host.inspect(run_id)["progress"] == told, what="it is heard")
    go(host, "2")
    assert host.wait_state(run_id)["progress"] == {"percent": 90, "message": "two lines"}


def test_a_revoke_is_heard_while_there_is_no_supervisor(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    host.wait_state(run_id, "running")

    kill(host, "supervisor")
    host.run("revoke", run_id, code=None)

    assert host.wait_state(run_id)["state"] == "revoked"


def test_outcome_that_the_store_did_not_hear_of_is_settled_later(host: Host) -> None:
    """The store dies first, so the outcome is in the journal alone when the pool dies."""
    written(host)
    host.start()
    run_id = host.submit("long", "4")
    host.wait_state(run_id, "running")
    store = host.server()
    store.suspend()
    go(host, 4)
    journal = next((host.state / "pools").glob("*/*.journal"))
    wait_until(lambda: '["e"' in journal.read_text(), what="the outcome is in the journal")

    kill(host, "supervisor", "pools")
    store.kill()
    host.start()
    run = host.wait_state(run_id)

    assert (run["state"], run["exit_code"], run["attempt"]) == ("succeeded", 4, 1)
    assert host.run("logs", run_id) == "begin 1\nend\n"


@pytest.mark.parametrize("how", ["signal", "verb"])
def test_replacing_the_daemon_in_place_hurts_nothing(host: Host, how: str) -> None:
    written(host)
    daemon = host.start()
    run_id = host.submit("long", "3")
    pid = host.wait_pid(run_id)
    before = host.log.count(" is ready ")

    if how == "signal":
        daemon.send_signal(signal.SIGUSR2)
        wait_until(lambda: host.log.count(" is ready ") > before, what="ready again")
    else:
        host.run("reload", "--exec")
        assert host.log.count(" is ready ") > before
    assert host.run("submit", "quick", "--wait")
    go(host, 3)
    run = host.wait_state(run_id)

    assert daemon.poll() is None
    assert (run["state"], run["exit_code"], run["attempt"]) == ("failed", 3, 1)
    assert run["pid"] == pid or pid is None
    assert host.stop() == 0


def test_a_daemon_is_not_replaced_by_one_that_could_not_start(host: Host) -> None:
    written(host)
    daemon = host.start()
    host.config.write_text("[jobs.x]\ncomand = 'true'\n")

    daemon.send_signal(signal.SIGUSR2)

    wait_until(lambda: "not replaced" in host.log, what="refused")
    written(host)
    assert host.run("submit", "quick", "--wait")


def test_pools_of_another_version_are_replaced_when_they_have_finished(host: Host) -> None:
    written(host)
    daemon = host.start()
    run_id = host.submit("long", "0")
    host.wait_state(run_id, "running")
    old = pools(host)[0].pid
    card = next((host.state / "pools").glob("*/*.json"))
    card.write_text(json.dumps({**json.loads(card.read_text()), "code": "another"}))

    daemon.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(pools(host)) == 2, what="a new pool beside the old one")
    assert host.run("submit", "quick", "--wait")
    go(host, 0)

    assert host.wait_state(run_id)["attempt"] == 1
    wait_until(lambda: old not in [pool.pid for pool in pools(host)], what="the old one is gone")


def test_slots_of_an_older_pool_are_not_given_out_again(host: Host) -> None:
    """`slots = 1` is how people make a queue run one at a time: also while a pool is replaced."""
    host.write(LONG.format(host.directory).replace("slots = 6", "slots = 1"))
    daemon = host.start()
    run_id = host.submit("long", "0")
    host.wait_state(run_id, "running")
    card = next((host.state / "pools").glob("*/*.json"))
    card.write_text(json.dumps({**json.loads(card.read_text()), "code": "another"}))
    daemon.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(pools(host)) == 2, what="a new pool beside the old one")

    later = host.submit("quick")
    go(host, 0)
    first, second = host.wait_state(run_id), host.wait_state(later)

    assert second["started_at"] >= first["finished_at"]


def test_pools_end_when_their_work_is_done_and_the_daemon_is_stopped(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    host.wait_state(run_id, "running")
    kill(host, "supervisor", "pools")
    host.start()
    go(host, 0)
    host.wait_state(run_id)

    assert host.stop() == 0
    wait_until(
        lambda: not [p for p in host.processes() if p.pid != os.getpid()], what="nothing is left"
    )
    assert not list((host.state / "pools").glob("*/*"))


def _daemon(host: Host) -> subprocess.Popen[str]:
    return host.daemons[-1]


def test_store_that_forgot_everything_costs_no_running_attempt(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    pid = host.wait_pid(run_id)
    _raw(host, "FLUSHALL")

    wait_until(lambda: "THE STORE HAS LOST ITS DATA" in host.log, what="registered again")
    assert pid is None or psutil.pid_exists(pid)
    go(host, 0)
    wait_until(lambda: f"THE STORE HAS LOST run {run_id}" in host.log, what="the outcome is kept")
    kept = json.loads((host.state / "unrecorded.jsonl").read_text())

    assert (kept["id"], kept["state"], kept["result"]) == (run_id, "succeeded", '{"n": 0}')
    found = json.loads(host.run("doctor", "--json"))["checks"]
    (check,) = (check for check in found if check["name"] == "lost by the store")
    assert check["status"] == "warning"
    assert f"the last of run {run_id}" in check["detail"]
    assert host.run("submit", "quick", "--wait")
    assert _daemon(host).poll() is None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_pool_that_hangs_is_replaced_and_what_it_runs_goes_on(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    pid = host.wait_pid(run_id)
    wait_until(lambda: host.inspect(run_id)["pid"] is not None, what="the start is recorded")
    (hung,) = pools(host)
    hung.suspend()

    wait_until(lambda: "does not answer any more" in host.log, what="it is noticed", deadline=90)
    wait_until(lambda: pools(host) not in ([], [hung]), what="another pool")
    assert pid is None or psutil.pid_exists(pid)
    go(host, 0)
    assert host.wait_state(run_id, "succeeded")["attempt"] == 1


def test_supervisor_that_was_taken_for_dead_goes_on_under_another_id(host: Host) -> None:
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    host.wait_state(run_id, "running")
    sid = json.loads((host.state / "supervisor.json").read_text())["supervisor"]
    _raw(host, "HSET", f"jc:{{default}}:sup:{sid}", "st", "lost")

    wait_until(lambda: "taken for dead" in host.log, what="it notices")
    assert host.run("submit", "quick", "--wait")
    go(host, 0)

    assert json.loads((host.state / "supervisor.json").read_text())["supervisor"] != sid
    assert host.wait_state(run_id)["state"] == "succeeded"
    assert _daemon(host).poll() is None


def _raw(host: Host, *words: str) -> None:
    from jobctl.store.address import Address  # noqa: PLC0415
    from jobctl.store.blocking import BlockingStore  # noqa: PLC0415
    from jobctl.store.calls import Call  # noqa: PLC0415

    with BlockingStore(Address.of_embedded(host.state)) as store:
        store.run(Call(words, lambda reply: reply))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_nothing_is_left_open_in_keepers_and_attempts(host: Host) -> None:
    """A lock or a line that leaked into them would keep a dead pool alive."""
    written(host)
    host.start()
    run_id = host.submit("long", "0")
    pid = host.wait_pid(run_id)

    for process in [*keepers(host), *([psutil.Process(pid)] if pid else [])]:
        links = [str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [
            link for link in links if link.endswith(".journal") or link.startswith("socket:")
        ]
    go(host, 0)
    host.wait_state(run_id)


SABOTAGE = """
import os, jobctl.engine.supervisor as module
def reap_orphans(*_):
    if os.path.exists("sabotage"):
        raise RuntimeError("made on purpose")
module.reap_orphans = reap_orphans
"""


def test_a_bug_in_the_supervisor_is_survived_like_its_death(host: Host) -> None:
    written(host)
    (host.directory / "site").mkdir()
    (host.directory / "site" / "sitecustomize.py").write_text(SABOTAGE)
    host.extra["PYTHONPATH"] = str(host.directory / "site")
    daemon = host.start()
    run_id = host.submit("long", "0")
    before = host.wait_state(run_id, "running")

    (host.directory / "sabotage").touch()
    assert daemon.wait(30) == 1
    assert "what runs goes on" in host.log
    (host.directory / "sabotage").unlink()
    assert psutil.pid_exists(before["pid"])
    host.start()
    assert host.inspect(run_id)["pid"] == before["pid"]
    (host.directory / "go.0").touch()

    run = host.wait_state(run_id)
    assert (run["state"], run["attempt"]) == ("succeeded", 1)


def test_a_daemon_goes_on_when_an_upgrade_has_replaced_its_files(host: Host) -> None:
    written(host)
    site = host.directory / "site"
    shutil.copytree(Path(jobctl.__file__).parent, site / "jobctl")
    host.extra["PYTHONPATH"] = str(site)
    host.start()
    first = host.submit("long", "0")
    host.wait_state(first, "running")
    del host.extra["PYTHONPATH"]
    for script in (site / "jobctl" / "store" / "lua").iterdir():
        script.write_text("this is of another version")

    (host.directory / "go.0").touch()
    assert host.wait_state(first)["state"] == "succeeded"
    second = host.submit("slow")
    host.wait_state(second, "running")
    host.run("revoke", second)
    assert host.wait_state(second)["reason"] == "user"
    assert host.run("submit", "quick", "--wait")


def test_what_a_job_left_on_purpose_goes_on_when_its_pool_is_killed_later(host: Host) -> None:
    host.write(
        "[jobs.leave]\nleftovers = 'keep'\ncommand = 'setsid sleep 307 & true'\n"
        "[jobs.j]\ncommand = 'true'\n"
    )
    host.start()
    run_id = host.submit("leave")
    host.wait_state(run_id)
    # What has ended and is settled stays in no journal.
    journals = [*host.state.glob("pools/*/*.journal")]
    wait_until(lambda: not any(path.stat().st_size for path in journals), what="it is forgotten")

    for pool in pools(host):
        pool.kill()
    wait_until(lambda: "ended unexpectedly" in host.log, what="it is noticed")
    host.run("submit", "j", "--wait")

    assert f"run {run_id}: taking over" not in host.log
    assert len(host.named("sleep")) == 1


AHEAD = """
[pools.default]
slots = 2
prefetch = 5
[defaults]
cwd = "{0}"
[jobs.first]
command = 'until test -e go; do sleep 0.02; done'
[jobs.second]
command = 'echo begin >> seen; until test -e told; do sleep 0.02; done'
"""


def test_run_that_waits_for_a_slot_runs_once_though_the_store_forgets_its_claim(host: Host) -> None:
    host.tampered = True
    host.write(AHEAD.format(host.directory))
    host.start()
    for run_id in [host.submit("first"), host.submit("first")]:
        host.wait_state(run_id, "running")
    run_id = host.submit("second")
    keys = Keys("default")
    with BlockingStore(Address.of_embedded(host.state)) as store:

        def claim() -> tuple[str, str, str]:
            return store.run(queries.claim_of(keys, run_id))

        _, owner, epoch = wait_until(lambda: claim()[0] == "c" and claim(), what="it is claimed")
        store.run(transitions.release(keys, owner=owner, items=[(run_id, int(epoch))]))
        wait_until(lambda: claim()[0] == "c" and claim()[2] != epoch, what="it is claimed again")
    wait_until(lambda: "it waits here" in host.log, what="the pool knows it")
    (host.directory / "go").touch()
    wait_until((host.directory / "seen").exists, what="it runs")
    third = host.submit("second")  # the other slot is free: what waits before it would have it
    wait_until(lambda: host.lines("seen") == ["begin"] * 2, what="the other runs")
    assert host.inspect(third)["state"] == "running"
    (host.directory / "told").touch()
    assert host.wait_state(run_id)["attempt"] == 1
