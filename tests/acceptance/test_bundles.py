"""Stories about short Python runs that travel to their interpreter together."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import tally
from jobctl.engine.starts import Known, Starts
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

JOBS = """
[pools.default]
slots = 3
[jobs.act]
python = "work:act"
retries = 1
retry_on = ["OSError"]
cwd = "{0}"
"""
WORK = """
import os, signal, sys, time

def note(name, text):
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)

def act(n, what="", where="."):
    note(where + "/ran", str(n))
    if what == "exit":
        os._exit(3)
    if what == "stop pool":
        note(where + "/child", str(os.getpid()))
        os.kill(int(open(where + "/pool").read()), signal.SIGSTOP)
    if what == "linger":
        time.sleep(0.1)
    if what == "wait":
        while not os.path.exists(f"{where}/go"):
            time.sleep(0.01)
    if what == "loud":
        print("before", flush=True)
        os.system("echo from below")
        sys.stdout.write("no end of line")
    if what == "wild":
        print("wild")
        os.chdir("/")
        os.environ["LEFT"] = "behind"
        os.environ.pop("HOME")
        os.umask(0)
        sys.stdout = open("/dev/null", "w")
        os.dup2(sys.stdout.fileno(), 2)
    if what == "leave":
        import subprocess
        subprocess.Popen(["sleep", "60"])
    if what == "fail":
        raise ValueError("run %d" % n)
    if what == "again" and os.environ["JOBCTL_ATTEMPT"] == "1":
        import jobctl
        raise jobctl.Retry("once more", in_=0)
    if what == "skip":
        import jobctl
        raise jobctl.Skip("nothing to do")
    bundles = sys.modules["_jobctl_child"].CHILD.bundles
    begun, answered = 0, 0
    if bundles is not None:
        begun, answered, *_ = bundles.HEADER.unpack_from(bundles.page, bundles.HEADER_AT)
    return {
        "bundled": begun > answered,
        "run": os.environ["JOBCTL_RUN_ID"],
        "cwd": os.getcwd(),
        "left": os.environ.get("LEFT"),
        "home": "HOME" in os.environ,
        "umask": os.umask(0o022),
        "threads": len(os.listdir("/proc/self/task")),
    }
"""


@pytest.fixture
def cold(host: Host) -> Host:
    """A daemon that has run nothing yet."""
    (host.directory / "work.py").write_text(WORK)
    then = (host.directory / "work.py").stat().st_mtime - 60
    os.utime(host.directory / "work.py", (then, then))
    host.write(JOBS.format(host.directory))
    host.start()
    return host


@pytest.fixture
def warm(cold: Host) -> Host:
    """A daemon that knows that the job is short."""
    ended(cold, submit(cold, range(4)))
    (cold.directory / "ran").unlink()
    return cold


def submit(host: Host, numbers: range, **acts: list[int]) -> list[str]:
    """Submit one run for each number in one go; ``acts`` says what some of them do."""
    what = {number: act for act, chosen in acts.items() for number in chosen}
    lines = [
        json.dumps(
            {
                "job": "act",
                "kwargs": {"n": n, "what": what.get(n, ""), "where": str(host.directory)},
            }
        )
        for n in numbers
    ]
    done = host.call("submit", "--from-ndjson", "-", input="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def records(host: Host, runs: list[str]) -> list[dict[str, Any]]:
    """Return the records of runs; one that changes its state meanwhile may take another look."""

    def listed() -> list[dict[str, Any]] | None:
        known = {run["id"]: run for run in host.runs()}
        return [known[run] for run in runs] if set(runs) <= known.keys() else None

    return list(wait_until(listed, what="every run is listed"))


def ended(host: Host, runs: list[str], *, but: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    final = {"succeeded", "failed", "revoked", "expired", "skipped"}
    wanted = [run for place, run in enumerate(runs) if place not in but]
    wait_until(
        lambda: all(one["state"] in final for one in records(host, wanted)), what="all have ended"
    )
    return records(host, runs)


def standing(path: Path) -> tally.Standing:
    return tally.Standing(*tally.HEADER.unpack_from(path.read_bytes()))


def pools_of(host: Host) -> list[psutil.Process]:
    found = []
    for one in host.processes():
        with contextlib.suppress(psutil.Error):
            if "jobctl.engine.pool_main" in one.cmdline():
                found.append(one)
    return found


def pool_of(host: Host) -> psutil.Process:
    return pools_of(host)[0]


def test_each_run_of_a_bundle_is_as_if_it_were_alone(warm: Host) -> None:
    runs = submit(
        warm, range(40), loud=[7, 8], wild=[15, 30], fail=[20], again=[22], skip=[24], leave=[33]
    )
    found = ended(warm, runs)

    assert [one["state"] for one in found] == [
        {20: "failed", 24: "skipped"}.get(n, "succeeded") for n in range(40)
    ]
    assert {n for n, one in enumerate(found) if one["attempt"] == 2} == {22}
    assert found[24]["error"] == "nothing to do"
    assert "ValueError: run 20" in found[20]["error"]
    results = [one["result"] for one in found]
    assert any(one and one["bundled"] for one in results)
    for run, result in zip(runs, results, strict=True):
        if result is None or runs.index(run) in (15, 30):
            continue
        assert result == {
            "bundled": result["bundled"],
            "run": run,
            "cwd": str(warm.directory),
            "left": None,
            "home": True,
            "umask": 0o022,
            "threads": 1,
        }
    for place in (7, 8):
        text = warm.run("logs", runs[place])
        assert text == "before\nfrom below\nno end of line"
    assert warm.run("logs", runs[15]) == "wild\n"
    assert "ValueError: run 20" in warm.run("logs", runs[20])
    assert warm.run("logs", runs[9]) == ""
    assert not [one for one in warm.processes() if one.name() == "sleep"]


def test_a_crash_costs_only_its_run(warm: Host) -> None:
    runs = submit(warm, range(40), exit=[5, 17])
    found = ended(warm, runs)

    assert [n for n, one in enumerate(found) if one["state"] == "failed"] == [5, 17]
    assert found[5]["exit_code"] == 3
    assert {one["attempt"] for one in found} == {1}
    assert sorted(map(int, warm.lines("ran"))) == list(range(40))


def test_a_long_run_holds_up_nobody_and_can_be_stopped(warm: Host) -> None:
    runs = submit(warm, range(40), wait=[10])
    found = ended(warm, runs, but=(10,))

    assert {one["state"] for one in found[:10] + found[11:]} == {"succeeded"}
    running = wait_until(lambda: (one := warm.inspect(runs[10]))["pid"] and one)
    assert running["state"] == "running"
    assert psutil.pid_exists(running["pid"])
    warm.run("revoke", runs[10])
    warm.wait_state(runs[10], "revoked")
    assert sorted(map(int, warm.lines("ran"))) == list(range(40))


def test_time_limits_hold_within_a_bundle(warm: Host) -> None:
    warm.write(JOBS.format(warm.directory) + 'timeout = "1s"\nstop_timeout = "1s"\n')
    warm.run("reload")
    ended(warm, submit(warm, range(100, 104)))
    runs = submit(warm, range(30), wait=[6])
    found = ended(warm, runs)

    assert found[6]["reason"] == "timeout"
    assert {one["state"] for one in found[:6] + found[7:]} == {"succeeded"}


def test_what_has_not_begun_is_left_by_a_drain(warm: Host) -> None:
    runs = submit(warm, range(60), wait=[3, 20])
    wait_until(lambda: {"3", "20"} <= set(warm.lines("ran")), what="both have begun")
    drain = subprocess.Popen(
        [sys.executable, "-m", "jobctl", "drain"], env=warm.environment, cwd=warm.directory
    )
    try:
        wait_until(lambda: "drain" in warm.run("status"), what="the drain has begun")
    finally:
        (warm.directory / "go").touch()
        drain.wait(30)
    warm.daemons[-1].wait(30)
    warm.start()
    found = ended(warm, runs)

    assert {one["state"] for one in found} == {"succeeded"}
    assert sorted(map(int, warm.lines("ran"))) == list(range(60))


@pytest.mark.parametrize("begun", [(3,), (3, 25)])
def test_a_killed_pool_costs_nothing_that_has_ended(warm: Host, begun: tuple[int, ...]) -> None:
    runs = submit(warm, range(60), wait=list(begun), loud=[2])
    wait_until(lambda: set(map(str, begun)) <= set(warm.lines("ran")), what="they have begun")
    pool_of(warm).kill()
    ended(warm, runs, but=begun)
    assert {one["state"] for one in records(warm, [runs[n] for n in begun])} == {"running"}
    (warm.directory / "go").touch()
    found = ended(warm, runs)

    assert {one["state"] for one in found} == {"succeeded"}
    assert {found[n]["attempt"] for n in begun} == {1}
    assert sorted(map(int, warm.lines("ran"))) == list(range(60))
    assert [one["result"]["run"] for one in found] == runs
    assert warm.run("logs", runs[2]) == "before\nfrom below\nno end of line"
    # Each is known to this host as started once and over, whoever saw its end.
    table = Starts(warm.state / "starts", namespace="default", clock=SYSTEM_CLOCK)

    def noted() -> list[Known]:
        known = [one for run in runs if (one := table.look(run)) is not None and one.letter]
        return known if len(known) == len(runs) else []

    known = wait_until(noted, what="the end of each is noted")
    table.close()
    assert {(one.starts, one.letter) for one in known} == {(1, "k")}


@pytest.mark.parametrize("long", [False, True])
def test_a_lone_run_that_has_ended_outlives_its_pool_and_its_interpreter(
    warm: Host, *, long: bool
) -> None:
    if long:
        ended(warm, submit(warm, range(1), linger=[0]))
        (warm.directory / "ran").unlink()
    one_run_outlives_all(warm)


def test_the_first_run_of_a_job_outlives_its_pool_and_its_interpreter(cold: Host) -> None:
    wait_until(lambda: pools_of(cold), what="the pool is there")
    one_run_outlives_all(cold)


def one_run_outlives_all(host: Host) -> None:
    """Kill pool and interpreter between the end of a run and the pool's learning of it."""
    pool = pool_of(host)
    (host.directory / "pool").write_text(str(pool.pid))
    (run,) = submit(host, range(100, 101), **{"stop pool": [100]})
    (pid,) = wait_until(lambda: host.lines("child"), what="it has begun")
    (path,) = wait_until(
        lambda: list((host.state / "spool").glob(f"*.{pid}.tally")), what="it came in a bundle"
    )
    wait_until(lambda: standing(path).answered == 1, what="it has answered")
    wait_until(lambda: pool.status() == psutil.STATUS_STOPPED, what="the pool stands still")
    psutil.Process(int(pid)).kill()
    pool.kill()
    (found,) = ended(host, [run])

    assert (found["state"], found["attempt"], found["result"]["run"]) == ("succeeded", 1, run)
    assert host.lines("ran") == ["100"]


def test_an_answer_that_a_dead_pool_had_not_read_is_not_lost_with_it(warm: Host) -> None:
    """The run goes into no bundle, so that its answer comes by the socket."""
    warm.write(JOBS.format(warm.directory) + 'stdin = "something"\n')
    warm.run("reload")
    pool = pool_of(warm)
    (warm.directory / "pool").write_text(str(pool.pid))
    (run,) = submit(warm, range(100, 101), **{"stop pool": [100]})
    (pid,) = wait_until(lambda: warm.lines("child"), what="it has begun")
    child = psutil.Process(int(pid))
    wait_until(lambda: pool.status() == psutil.STATUS_STOPPED, what="the pool stands still")
    wait_until(lambda: child.status() == psutil.STATUS_SLEEPING, what="it waits for more to do")
    pool.kill()
    (found,) = ended(warm, [run])

    assert (found["state"], found["attempt"], found["result"]["run"]) == ("succeeded", 1, run)
    assert not found["result"]["bundled"]
    assert warm.lines("ran") == ["100"]
    alive = {str(one.pid) for one in warm.processes()}
    wait_until(lambda: not left_in_spool(warm, alive), what="nothing is left of the dead")


def test_a_pool_whose_only_slot_had_a_bundle_claims_what_waits(host: Host) -> None:
    """The claim that goes with the settlement of a bundle finds its slot still taken."""
    (host.directory / "work.py").write_text(WORK)
    host.write(JOBS.format(host.directory).replace("slots = 3", "slots = 1"))
    host.start()
    found = ended(host, submit(host, range(8)))

    assert {one["state"] for one in found} == {"succeeded"}
    assert [one["result"]["bundled"] for one in found] == 8 * [True]


@pytest.mark.parametrize("deaths", [1, 2])
def test_interpreters_of_killed_pools_leave_no_files(warm: Host, deaths: int) -> None:
    runs = submit(warm, range(60), wait=[3, 25], loud=[2])
    wait_until(lambda: {"3", "25"} <= set(warm.lines("ran")), what="they have begun")
    for _ in range(deaths):
        pool = pool_of(warm)
        pool.kill()
        pool.wait(30)
        wait_until(lambda: pools_of(warm), what="another pool is there")
        ended(warm, runs, but=(3, 25))
    (warm.directory / "go").touch()
    ended(warm, runs)
    ended(warm, submit(warm, range(100, 110)))
    alive = {str(one.pid) for one in warm.processes()}

    wait_until(lambda: not left_in_spool(warm, alive), what="nothing is left of the dead")
    assert list((warm.state / "spool").glob("*.tally"))


def left_in_spool(host: Host, alive: set[str]) -> list[str]:
    """Return what is in the spool that belongs to no living interpreter."""
    return [
        path.name
        for path in (host.state / "spool").iterdir()
        if path.suffix != ".log" and path.name.split(".")[-2] not in alive
    ]


SHARED = """
[pools.default]
python = "{1}"
[jobs.whose]
python = "work:whose"
cwd = "{0}"
"""


@pytest.mark.parametrize("mode", ["thread", "async", "inline"])
def test_short_runs_stay_in_the_one_interpreter_of_a_pool(host: Host, mode: str) -> None:
    (host.directory / "work.py").write_text("import os\ndef whose():\n    return os.getpid()\n")
    host.write(SHARED.format(host.directory, mode))
    host.start()
    lines = '{"job": "whose"}\n' * 20
    (first,) = ended(host, host.run("submit", "--from-ndjson", "-", input=lines[:17]).split())
    found = ended(host, host.run("submit", "--from-ndjson", "-", input=lines).split())

    assert {one["state"] for one in found} == {"succeeded"}
    assert {one["result"] for one in found} == {first["result"]}


MIXED = """
[defaults]
cwd = "{0}"
[pools.default]
slots = 1
[jobs.shell]
command = "echo output of a command"
[jobs.alone]
python = "mixed:says"
stdin = "x"
[jobs.py]
python = "mixed:says"
"""


def test_each_run_prints_into_its_own_log_whatever_runs_between(host: Host) -> None:
    (host.directory / "mixed.py").write_text("def says(text=''): print(text, end='')\n")
    host.write(MIXED.format(host.directory))
    host.start()
    host.wait_state(host.submit("py", "warm"), "succeeded")
    for between in ("shell", "alone"):
        for number in range(3):
            first = host.submit(between, *(["more"] if between == "alone" else []))
            host.wait_state(first, "succeeded")
            second = host.submit("py", f"secret {number}")
            host.wait_state(second, "succeeded")
            assert "secret" not in host.run("logs", first)
            assert host.run("logs", second) == f"secret {number}"
    assert host.stop() == 0


@pytest.mark.parametrize("logs", ["elsewhere", "no directory"])
def test_runs_that_print_succeed_wherever_their_logs_belong(host: Host, logs: str) -> None:
    (host.directory / "mixed.py").write_text("def says(text=''): print(text, end='')\n")
    host.write(MIXED.format(host.directory))
    host.state.mkdir(mode=0o711)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if logs == "elsewhere":
            assert Path(elsewhere).stat().st_dev != host.state.stat().st_dev
            (host.state / "logs").symlink_to(elsewhere)
        else:
            (host.state / "logs").mkdir()
            (host.state / "logs" / "py").touch()
        host.start()
        host.wait_state(host.submit("py", "warm"), "succeeded")
        lines = "".join(f'{{"job": "py", "args": ["{n}"]}}\n' for n in range(100))
        runs = host.run("submit", "--from-ndjson", "-", input=lines).split()
        found = ended(host, runs)

        assert [(one["state"], one["attempt"]) for one in found] == [("succeeded", 1)] * 100
        if logs == "elsewhere":
            assert [host.run("logs", runs[n]) for n in (0, 50, 99)] == ["0", "50", "99"]
            assert "cannot be written" not in host.log
        else:
            assert "cannot be written and is lost" in host.log
