"""Runs one after the other in a slot, and bursts of short ones: each has only what is its own."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from jobctl import Client
from tests.acceptance.host import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobctl import Run
    from tests.acceptance.host import Host

JOBS = """
[pools.default]
slots = 1
child_init = "m:init"
[defaults]
cwd = "{0}"
[jobs.shell]
command = "echo output of a command"
[jobs.reads]
command = "cat"
[jobs.mixed]
python = "m:mixed"
[jobs.daemonizes]
python = "m:daemonizes"
[jobs.leaves]
python = "m:leaves"
[jobs.replaces_input]
python = "m:replaces_input"
[jobs.closes_input]
python = "m:closes_input"
[jobs.input_of]
python = "m:input_of"
[jobs.given]
python = "m:input_of"
stdin = "GIVEN"
[jobs.words]
python = "m:words"
[jobs.argv]
python = "m:argv"
[jobs.makes]
python = "m:makes"
umask = "077"
[jobs.drops]
python = "m:drops"
[jobs.hoard]
python = "m:hoard"
[jobs.idle]
python = "m:idle"
max_rss = "150M"
"""
CODE = """
import os, signal, subprocess, sys, time
from jobctl import current

def mixed(i):
    if i % 2:
        print("output of", i)
    else:
        with open(os.environ["JOBCTL_PROGRESS_FILE"], "a") as file:
            file.write(f"50 half of {i}\\n")

def daemonizes(i):
    if i % 5:
        print("run", i)
        return
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            for _ in range(200):
                os.write(1, b"from a daemon\\n")
                time.sleep(0.005)
        os._exit(0)
    os.waitpid(child, 0)

def leaves():
    def tell(*_):
        os.write(1, b"from what was left\\n")
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, tell)
        open("left", "w").close()
        while True:
            time.sleep(0.01)
    while not os.path.exists("left"):
        pass

def replaces_input():
    with open("secret", "w") as file:
        file.write("SECRET\\n" * 3)
    os.dup2(os.open("secret", os.O_RDONLY), 0)
    sys.stdin.readline()

def closes_input():
    os.close(0)

def input_of():
    return [sys.stdin.read(), subprocess.run(["cat"], stdout=subprocess.PIPE).stdout.decode()]

ARGS = ["tool", "-x"]

def words(what):
    if what == "tuple":
        sys.argv = ("tool", "-x")
    if what == "gone":
        del sys.argv
    if what == "own":
        sys.argv = ARGS
        return list(sys.argv)

def argv():
    return sys.argv

def init():
    os.umask(0)

def makes(name):
    open(name, "w").close()
    return oct(os.stat(name).st_mode & 0o777)

def drops(i):
    if i % 5 == 2:
        (os.seteuid if i % 2 else os.chroot)(65534 if i % 2 else ".")
    return [os.geteuid(), os.path.isdir("/proc/self")]

KEPT = []

def hoard():
    KEPT.append(b"x" * 200_000_000)

def idle():
    time.sleep(2.5)
    return len(KEPT)
"""


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    (host.directory / "m.py").write_text(CODE)
    host.write(JOBS.format(host.directory))
    host.start()
    with Client(host.config) as client:
        client.submit("argv").wait(30)  # the interpreter is there
        yield client
    assert host.stop() == 0


def each(runs: Sequence[Run]) -> Sequence[Run]:
    for run in runs:
        run.wait(30)
    return runs


def test_files_of_a_silent_run_take_no_output_from_those_behind_it(client: Client) -> None:
    for _ in range(3):
        runs = each(client.submit_many("mixed", list(range(40))))
        said = [run.logs() for run in runs]
        assert said == [f"output of {i}\n" if i % 2 else "" for i in range(40)]


def test_daemon_of_a_run_does_not_write_into_logs_of_the_next(client: Client) -> None:
    runs = each(client.submit_many("daemonizes", list(range(20))))
    time.sleep(0.1)
    said = [run.logs() for run in runs]
    assert [one for i, one in enumerate(said) if i % 5] == [
        f"run {i}\n" for i in range(20) if i % 5
    ]


def test_what_a_run_left_behind_says_at_its_end_is_in_no_other_log(client: Client) -> None:
    for _ in range(4):
        client.submit("leaves").wait(30)
        other = client.submit("shell")
        other.wait(30)
        assert other.logs() == "output of a command\n"


@pytest.mark.parametrize("change", ["replaces_input", "closes_input"])
def test_standard_input_of_a_run_is_its_own(client: Client, change: str) -> None:
    expected = {"input_of": ["", ""], "given": ["GIVEN", ""]}
    for alone in (True, False):
        for job, found in expected.items():
            if alone:
                client.submit(change).wait(30)
                assert client.submit(job).wait(30) == found
            else:
                runs = client.submit_many([(change, []), (job, []), (change, []), (job, [])])
                assert [run.wait(30) for run in runs] == [None, found, None, found]


@pytest.mark.parametrize("what", ["tuple", "gone", "own"])
def test_words_of_a_run_are_its_own(client: Client, what: str) -> None:
    asked = [("words", [what]), ("argv", []), ("words", [what]), ("argv", [])]
    for runs in (client.submit_many(asked), [client.submit(job, *args) for job, args in asked]):
        first, then, again, last = [run.wait(30) for run in runs]
        assert then == last == ["m:argv"]
        assert first == again == (["tool", "-x"] if what == "own" else None)


def test_memory_that_another_run_left_is_not_held_against_one(client: Client) -> None:
    client.submit("hoard").wait(30)
    run = client.submit("idle")
    wait_until(lambda: run.state.final, what="it ends")
    assert (run.state, run.result) == ("succeeded", 0)


def test_umask_is_that_of_the_job_whatever_child_init_sets(client: Client) -> None:
    runs = client.submit_many("makes", ["one", "two"])
    assert [run.wait(30) for run in runs] == ["0o600"] * 2
    assert client.submit("makes", "three").wait(30) == "0o600"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_user_and_root_that_a_run_gives_up_are_those_of_the_next(client: Client) -> None:
    runs = each(client.submit_many("drops", list(range(20))))
    found = [run.result for run in runs]
    assert [one for i, one in enumerate(found) if i % 5 != 2] == [[0, True]] * 16
    assert found[7] == [65534, True]
    assert found[2] == [0, False]
