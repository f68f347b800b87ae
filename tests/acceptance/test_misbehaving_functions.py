"""What functions can do to the interpreter they run in: each ends as documented, others go on."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from tests.acceptance.host import Host

FUNCTIONS = """
import ctypes, os, sys, threading, time

kept = []

def leaks(megabytes):
    kept.append(bytearray(megabytes << 20))
    return len(kept)

def segfaults():
    ctypes.string_at(0)

def exits():
    os._exit(3)

def deaf():
    # Holds the interpreter's lock: no handler runs, and no other thread.
    libc = ctypes.PyDLL(None)
    libc.signal(15, 1)
    libc.sleep(60)

def returns(megabytes):
    return "x" * (megabytes << 20)

def prints(megabytes):
    line = "y" * 1023
    for _ in range(megabytes << 10):
        print(line)
    print("the end")

def threads():
    for _ in range(2):
        threading.Thread(target=threading.Event().wait).start()
    return "done"

class Other:
    def write(self, text):
        os.write(2, text.upper().encode())
    def flush(self):
        pass

def patches():
    sys.stdout = Other()
    print("mine")

def grows():
    block = bytearray(300 << 20)
    time.sleep(60)

def fine(number):
    print("still here")
    return number
"""
JOBS = """
[defaults]
cwd = "{directory}"
[pools.default]
slots = 2
max_rss_per_child = "120M"
[jobs.leaks]
python = "bad:leaks"
[jobs.segfaults]
python = "bad:segfaults"
[jobs.exits]
python = "bad:exits"
[jobs.deaf]
python = "bad:deaf"
timeout = "300ms"
stop_timeout = "100ms"
[jobs.returns]
python = "bad:returns"
[jobs.prints]
python = "bad:prints"
max_output = "1M"
[jobs.threads]
python = "bad:threads"
[jobs.patches]
python = "bad:patches"
[jobs.grows]
python = "bad:grows"
max_rss = "200M"
[jobs.fine]
python = "bad:fine"
"""
ENDS: dict[str, tuple[object, ...]] = {
    "segfaults": ("failed", "signal", 11, "ended before its function did: ended by signal 11"),
    "exits": ("failed", "exit", None, "ended before its function did: exit code 3"),
    "deaf": ("failed", "timeout", 9, "did not end within its timeout"),
    "returns": ("failed", "result", None, "bytes of JSON, the limit is 1048576"),
    "prints": ("succeeded", None, None, None),
    "threads": ("succeeded", None, None, None),
    "patches": ("succeeded", None, None, None),
    "grows": ("failed", "memory", 15, "max_rss is 209715200"),
    "leaks": ("succeeded", None, None, None),
}


def story(
    host: Host, *, returned: int, printed: int, others: int
) -> dict[str, list[dict[str, Any]]]:
    """Run every misfit, and ``others`` runs of a good job among them; return all by job.

    ``returned`` and ``printed`` are megabytes.
    """
    (host.directory / "bad.py").write_text(FUNCTIONS)
    host.write(JOBS.replace("{directory}", str(host.directory)))
    host.start()
    sizes = {"returns": [returned], "prints": [printed]}
    lines: list[dict[str, object]] = [
        {"job": job, "args": sizes.get(job, [])} for job in ENDS if job != "leaks"
    ]
    lines += [{"job": "leaks", "args": [10]} for _ in range(20)]
    good = [{"job": "fine", "args": [n]} for n in range(others)]
    step = max(1, others // len(lines))
    for place in range(len(lines)):  # one misfit, then some others, and so on
        lines[place * (step + 1) + 1 : place * (step + 1) + 1] = good[:step]
        del good[:step]
    lines += good
    bulk = "\n".join(map(json.dumps, lines)) + "\n"
    assert len(host.run("submit", "--from-ndjson", "-", input=bulk).split()) == len(lines)

    found: dict[str, list[dict[str, Any]]] = {}

    def ended() -> bool:
        found.clear()
        for run in host.runs():
            found.setdefault(run["job"], []).append(run)
        states = [run["state"] for runs in found.values() for run in runs]
        # A list is read in pieces: a run that moves meanwhile may be in none of them.
        return len(states) == len(lines) and {*states} <= {"succeeded", "failed"}

    wait_until(ended, what=f"every run has ended: {found}")
    return found


def check(host: Host, found: dict[str, list[dict[str, Any]]], *, others: int) -> None:
    for job, (state, reason, signal, error) in ENDS.items():
        for run in found[job]:
            assert (run["state"], run["reason"], run["signal"]) == (state, reason, signal), run
            assert (error or "") in (run["error"] or ""), run
    assert [run for run in found["fine"] if run["state"] != "succeeded"] == []
    assert sorted(run["result"] for run in found["fine"]) == list(range(others))
    # A patched stdout, or threads that go on, are of one run only.
    assert host.run("logs", found["patches"][0]["id"]) == "MINE\n"
    assert {host.run("logs", found["fine"][n]["id"]) for n in (0, -1)} == {"still here\n"}
    # An interpreter that has grown is replaced before the next run.
    assert len({run["pid"] for run in found["leaks"]}) > 1
    assert max(run["result"] for run in found["leaks"]) < 15
    log = host.run("logs", found["prints"][0]["id"])
    assert len(log) < 1 << 21
    assert log.endswith("the end\n")


def test_misfits_end_as_documented_and_take_nobody_with_them(host: Host) -> None:
    check(host, story(host, returned=8, printed=8, others=40), others=40)


@pytest.mark.slow
def test_misfits_of_full_size_end_as_documented(host: Host) -> None:
    check(host, story(host, returned=100, printed=1024, others=400), others=400)


CLOCKS = """
[defaults]
cwd = "{directory}"
[pools.default]
{slots}
python = "{kind}"
[jobs.stops]
python = "bad:stops"
[jobs.naps]
python = "bad:naps"
soft_timeout = "30s"
"""
STOPS = """
import time
CLOCKS = "time", "monotonic", "time_ns", "monotonic_ns", "perf_counter"

def stops(to):
    for name in CLOCKS:
        setattr(time, name, lambda: to)

def naps():
    time.sleep(0.05)
"""


@pytest.mark.parametrize("kind", ["process", "thread", "async", "inline"])
@pytest.mark.parametrize("to", [0, 10**18])
def test_clocks_that_a_function_puts_in_place_of_others_are_its_own(
    host: Host, kind: str, to: int
) -> None:
    (host.directory / "bad.py").write_text(STOPS)
    slots = "" if kind == "inline" else "slots = 2"
    host.write(CLOCKS.format(directory=host.directory, kind=kind, slots=slots))
    host.start()
    before = time.time()
    naps = [host.submit("naps") for _ in range(2)]
    ids = [*naps, host.submit("stops", str(to)), *(host.submit("naps") for _ in range(6))]
    for run_id in ids:
        run = host.wait_state(run_id)
        assert run["state"] == "succeeded", run
        started, finished = (
            datetime.fromisoformat(run[key]).timestamp() for key in ("started_at", "finished_at")
        )
        assert before - 1 <= started <= finished <= time.time() + 1, run
        assert (run["job"] == "stops" or run["duration"] >= 0.05) and run["duration"] < 30, run  # noqa: PT018 - one claim
    assert len(host.run("list", "--ids").split()) == len(ids)
