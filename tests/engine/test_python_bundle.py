"""Runs of a bundle in real interpreters of every version: each as if it were alone."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from python_bundler import MORE, RESULT, Bundler
from python_children import DEADLINE, VERSIONS, find_python, staged, until

from jobctl.engine import python_child, python_lent, tally


@pytest.fixture(params=VERSIONS)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bundler:
    interpreter = find_python(request.param)
    if interpreter is None:
        pytest.skip(f"no Python {request.param} here")
    return Bundler(tmp_path, interpreter)


SEEN = """
import os, signal, subprocess, sys, time
def seen():
    def said(name):
        return subprocess.run(["/usr/bin/printenv", name], stdout=subprocess.PIPE).stdout.decode()
    return {
        "run": os.environ["JOBCTL_RUN_ID"], "below": said("JOBCTL_RUN_ID"),
        "files": [os.environ["JOBCTL_RESULT_FILE"], said("JOBCTL_PROGRESS_FILE")],
        "left": os.environ.get("LEFT"), "left below": said("LEFT"), "home": said("HOME"),
        "owner": os.environ["JOBCTL_SUPERVISOR"], "attempt": os.environ["JOBCTL_ATTEMPT"],
        "cwd": os.getcwd(), "argv": sys.argv, "umask": os.umask(0o22), "zone": time.tzname[0],
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGALRM)],
        "int": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "pipe": signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN,
        "alarm": signal.alarm(0), "blocking": os.get_blocking(1),
        "timers": [signal.getitimer(n)[0] for n in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL)],
        "masked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "same": sys.stdout is sys.__stdout__ and not sys.stdin.closed,
    }
def wild():
    os.environ["LEFT"] = "behind"
    os.environ.pop("HOME")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    os.chdir("/")
    os.umask(0)
    sys.argv.append("more")
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.alarm(1000)
    signal.setitimer(signal.ITIMER_PROF, 1000)
    signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    os.kill(os.getpid(), signal.SIGUSR1)
    os.set_blocking(1, False)
    print("kept back", end="")
    sys.stdout = open("/dev/null", "w")
    sys.stdin.close()
    os.dup2(sys.stdout.fileno(), 2)
def another():
    os.environ = dict(os.environ)
"""


@staged
async def test_what_a_run_changes_is_put_back_for_the_next(bench: Bundler) -> None:
    bench.write(SEEN)
    bench.env["TZ"] = "Europe/Berlin"
    names = ("seen", "wild", "seen", "another", "seen", "seen")
    found = await bench.results(*((name, []) for name in names))

    for n in (0, 2, 4, 5):
        files = f"{bench.directory}/0.r{n}.1"
        assert found[n] == {
            "run": f"r{n}",
            "below": f"r{n}\n",
            "files": [files + ".result", files + ".progress\n"],
            "left": None,
            "left below": "",
            "home": f"{bench.directory}\n",
            "owner": "host/1.7",
            "attempt": "1",
            "cwd": str(bench.cwd),
            "argv": ["jobs:seen"],
            "umask": 0o22,
            "zone": "CET",
            "handlers": ["Handlers.SIG_DFL", "Handlers.SIG_DFL"]
            if found[n]["handlers"][0] != "0"
            else ["0", "0"],
            "int": True,
            "pipe": True,
            "alarm": 0,
            "timers": [0.0, 0.0],
            "masked": 0,
            "blocking": True,
            "same": True,
        }
    assert bench.output_of("r1") == "kept back"


@staged
async def test_a_run_has_what_is_its_own_and_the_next_has_not(bench: Bundler) -> None:
    bench.write("""
import os, subprocess, jobctl
def tell():
    run = jobctl.current()
    said = subprocess.run("echo $JOBCTL_ARG_X $JOBCTL_ARG_Y", shell=True, stdout=subprocess.PIPE)
    seen = {name[-1]: os.environ[name] for name in os.environ if name.startswith("JOBCTL_ARG")}
    return [run.id, run.attempt, dict(run.tags), seen, said.stdout.decode().strip()]
""")
    more = {
        1: [{"JOBCTL_ARG_X": "1"}, {"tags": {"a": "b"}}],
        2: [{"JOBCTL_ARG_X": "2"}, {}],
        3: [{"JOBCTL_ARG_Y": "3"}, {}],
        5: [{"JOBCTL_ARG_X": "5", "JOBCTL_ARG_Y": "5"}, {}],
        6: [{"JOBCTL_ARG_X": "5", "JOBCTL_ARG_Y": "€"}, {}],
    }
    found = await bench.results(*[("tell", [])] * 8, more=more)

    assert found == [
        ["r0", 1, {}, {}, ""],
        ["r1", 1, {"a": "b"}, {"X": "1"}, "1"],
        ["r2", 1, {}, {"X": "2"}, "2"],
        ["r3", 1, {}, {"Y": "3"}, "3"],
        ["r4", 1, {}, {}, ""],
        ["r5", 1, {}, {"X": "5", "Y": "5"}, "5 5"],
        ["r6", 1, {}, {"X": "5", "Y": "€"}, "5 €"],
        ["r7", 1, {}, {}, ""],
    ]


@staged
async def test_a_value_that_no_variable_can_have_keeps_only_its_own_run_from_starting(
    bench: Bundler,
) -> None:
    bench.write("import os\ndef tell(): return os.environ.get('JOBCTL_ARG_X')")
    more = {n: [{"JOBCTL_ARG_X": "a\0b" if n in {1, 3} else str(n)}, {}] for n in range(5)}
    answers = await bench.bundle(*[("tell", [])] * 6, more=more)

    assert [answer[RESULT] for answer in answers] == ['"0"', None, '"2"', None, '"4"', None]
    for n in (1, 3):
        assert answers[n][MORE] == {"reason": "spawn", "error": "embedded null byte"}
    assert [answers[n][MORE] for n in (0, 2, 4, 5)] == [None] * 4


@staged
async def test_a_call_alone_after_a_bundle_finds_its_own_environment(bench: Bundler) -> None:
    bench.write("""
import os, subprocess
def env(): return dict(os.environ)
def below():
    said = subprocess.run(["/usr/bin/printenv"], stdout=subprocess.PIPE).stdout.decode()
    return dict(line.split("=", 1) for line in said.splitlines())
""")
    await bench.results(("env", []), ("env", []))
    reply = await bench.call("env", env={**bench.env, "OTHER": "1"})
    assert json.loads(reply.result or "") == {**bench.env, "OTHER": "1"}
    reply = await bench.call("below", env={**bench.env, "JOBCTL_RUN_ID": "r1"})
    assert json.loads(reply.result or "") == {**bench.env, "JOBCTL_RUN_ID": "r1"}
    [found] = await bench.results(("env", []))
    assert "OTHER" not in found
    assert found["JOBCTL_RUN_ID"] == "r0"


@staged
async def test_answers_say_how_each_run_ended(bench: Bundler) -> None:
    bench.write("""
import os, sys
def value(): return {"a": [1, None, "\\u20ac"]}
def fails(): raise ValueError("no \\"good\\"")
def leaves(): sys.exit(3)
def files():
    with open(os.environ["JOBCTL_RESULT_FILE"], "w") as file: file.write("1")
def nothing(): pass
""")
    names = ("value", "fails", "leaves", "files", "nothing", "missing")
    answers = await bench.bundle(*((name, []) for name in names))

    assert [answer[0] for answer in answers] == list(range(6))
    assert json.loads(answers[0][RESULT]) == {"a": [1, None, "€"]}
    assert answers[1][MORE]["error"].endswith('no "good"')
    assert answers[1][MORE]["exception"] == "ValueError"
    assert answers[2][MORE] == {"exit_code": 3, "reason": "exit"}
    assert [answer[9] for answer in answers] == [False, False, False, True, False, False]
    assert answers[4][RESULT:] == [None, None]
    assert answers[5][MORE]["reason"] == "spawn"
    assert "ValueError" in bench.output_of("r1")
    assert all(type(answer[1]) is type(answer[2]) is float for answer in answers)


@staged
async def test_answers_beyond_the_room_of_the_file_come_whole(bench: Bundler) -> None:
    bench.write("def many(n): return 'x' * n")
    sizes = [10, 5000, tally.ANSWERS_ROOM - 5500, 90, 300_000, 20, 7]
    found = await bench.results(*(("many", [size]) for size in sizes))

    assert [len(text) for text in found] == sizes
    found = await bench.results(*(("many", [size]) for size in reversed(sizes)))
    assert [len(text) for text in found] == sizes[::-1]


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ("subprocess.Popen(['sleep', '60'])", "processes"),
        ("os.posix_spawn('/bin/sleep', ['sleep', '60'], {})", "processes"),
        ("if not os.fork(): time.sleep(60)", "processes"),
        ("if not ctypes.CDLL(None).fork(): time.sleep(60)", "processes"),
        ("threading.Thread(target=time.sleep, args=(60,), name='late').start()", "late"),
    ],
)
@staged
async def test_what_a_run_leaves_running_ends_the_bundle(
    bench: Bundler, left: str, why: str
) -> None:
    bench.write(f"""
import ctypes, os, signal, subprocess, threading, time
def does(): pass
def leaves():
    {left}
""")
    answers = await bench.bundle(*[("does", [])] * 20, ("leaves", []), ("does", []))
    assert bench.end is not None

    assert len(answers) == 21
    assert why in bench.end.result()["retired"]
    os.killpg(bench.pids[-1], 9)


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        ("resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))", 2),
        ("resource.prlimit(0, resource.RLIMIT_NOFILE, (200, 300))", 2),
        ("os.nice(1)", 2),
        ("ctypes.CDLL(None).nice(1)", 3),
    ],
)
@staged
async def test_limits_a_run_sets_on_its_process_end_with_its_bundle(
    bench: Bundler, change: str, ran: int
) -> None:
    bench.write(f"import ctypes, os, resource\ndef does(): pass\ndef lowers(): {change}\n")
    answers = await bench.bundle(("does", []), ("lowers", []), ("does", []))
    assert bench.end is not None
    assert len(answers) == ran
    assert "it changed" in (bench.end.result()["retired"] or "")


@staged
async def test_files_of_a_run_are_found_whenever_it_makes_them(bench: Bundler) -> None:
    bench.write("""
import os, subprocess, time
def none(): pass
def waits(): time.sleep(0.06)
def result(): open(os.environ["JOBCTL_RESULT_FILE"], "w").close()
def late():
    time.sleep(0.06)
    progress()
def progress(): subprocess.run("touch $JOBCTL_PROGRESS_FILE", shell=True)
""")
    known = {"none": False, "waits": False, "result": True, "late": True, "progress": True}
    names = ["none", "none", "result", "none", "waits", "none", "none", "result", "result", "none"]
    names += ["progress", "waits", "waits", "none", "late", "none", "result", "waits", "progress"]
    for runs in (names, names[3:], names[::-1]):
        for path in bench.directory.glob("0.*"):
            path.unlink()
        answers = await bench.bundle(*((name, []) for name in runs))
        assert [answer[9] for answer in answers] == [known[name] for name in runs]


@staged
async def test_a_directory_that_gets_another_name_is_left_with_the_bundle(bench: Bundler) -> None:
    """As a deployment that lets a link lead elsewhere."""
    bench.write("import os\ndef where(): return os.getcwd()")
    for name in ("one", "two"):
        (bench.directory / name).mkdir()
        (bench.directory / name / "jobs.py").symlink_to(bench.cwd / "jobs.py")
    link = bench.directory / "link"
    for name in ("one", "two"):
        link.unlink(missing_ok=True)
        link.symlink_to(bench.directory / name)
        runs = [("where", [])] * 3
        assert await bench.results(*runs, cwd=str(link)) == [str(bench.directory / name)] * 3


@staged
async def test_the_function_is_the_one_that_its_module_has_now(bench: Bundler) -> None:
    bench.write("""
import sys
def first(): return 1
def other(): sys.modules["jobs"].first = lambda: 2
def none(): sys.modules["jobs"].first = None
def drops(): del sys.modules["jobs"]
""")
    names = ("first", "other", "first", "none", "first", "drops", "first")
    answers = await bench.bundle(*((name, []) for name in names))
    assert [answer[RESULT] for answer in answers] == ["1", None, "2", None, None, None, "1"]
    assert answers[4][MORE]["error"] == "no function 'first' in 'jobs'"


@staged
async def test_a_forked_copy_ends_with_its_run_and_leaves_the_others_alone(bench: Bundler) -> None:
    bench.write("""
import os
def forks():
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    return "the copy's"
""")
    assert await bench.results(*[("forks", [])] * 4) == [0] * 4
    assert bench.left == 0


@staged
async def test_an_interrupted_run_ends_its_interpreter_by_the_signal(bench: Bundler) -> None:
    bench.write("""
import os, signal, time
def does(): pass
def stops():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
""")
    answers = await bench.bundle(("does", []), ("stops", []), ("does", []))
    assert bench.end is not None

    assert [answer[0] for answer in answers] == [0]
    assert bench.left == 1
    assert bench.end.result() == {"died": True}
    assert os.WTERMSIG(bench.reap()) == signal.SIGINT


@staged
async def test_threads_that_do_not_keep_a_process_alive_do_not_end_a_bundle(bench: Bundler) -> None:
    bench.write("""
import threading
def leaves():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
""")
    assert await bench.results(*[("leaves", [])] * 3) == [None] * 3


@staged
async def test_output_is_in_the_log_of_the_run_that_made_it(bench: Bundler) -> None:
    bench.write("""
import logging, logging.handlers, sys
target = logging.StreamHandler(sys.stdout)
kept = logging.handlers.MemoryHandler(100, target=target)
logging.getLogger().addHandler(kept)
def says(n):
    target.stream = sys.stdout
    logging.warning("logged %d", n)
    sys.stderr.write("told %d\\n" % n)
    sys.stdout.write("said %d " % n)
def silent(): pass
""")
    await bench.results(("says", [0]), ("silent", []), ("says", [2]), ("silent", []))

    for n in (0, 2):
        wanted = f"logged {n} told {n} said {n}".split()
        assert sorted(bench.output_of(f"r{n}").split()) == sorted(wanted)
    assert not (bench.directory / "logs" / "r1.1.log").exists()


@staged
async def test_output_goes_to_logs_on_another_file_system_run_by_run(bench: Bundler) -> None:
    bench.write("def says(n): print(n)")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert Path(elsewhere).stat().st_dev != bench.directory.stat().st_dev  # noqa: ASYNC240 - it is in memory
        logs = Path(elsewhere) / "job"
        await bench.results(*[("says", [n]) for n in range(3)], logs=str(logs))

        assert [(logs / f"r{n}.1.log").read_text() for n in (0, 1)] == ["0\n", "1\n"]
        assert (bench.directory / "spool").read_text() == "2\n"


@staged
async def test_run_does_not_begin_when_output_of_the_last_has_no_place(bench: Bundler) -> None:
    bench.write("def says(n): print(n)")
    (bench.directory / "no directory").touch()
    answers = await bench.bundle(
        *[("says", [n]) for n in range(3)], logs=str(bench.directory / "no directory")
    )

    assert [answer[0] for answer in answers] == [0]
    assert bench.tallies[-1].standing.begun == 1
    assert bench.end is not None
    assert bench.end.result()["retired"] is None
    assert (bench.directory / "spool").read_text() == "0\n"


@staged
async def test_usage_of_a_run_is_its_own(bench: Bundler) -> None:
    bench.write("""
import subprocess, sys, time
def burns(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
def below():
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.1: pass"])
def holds():
    whole = bytearray(40 << 20)
    until = time.monotonic() + 0.003
    while time.monotonic() < until: pass
def nothing(): pass
""")
    await bench.bundle(("nothing", []))  # which imports the module, and all that it imports
    names = [("nothing", []), ("burns", [0.05]), ("nothing", []), ("below", []), ("nothing", [])]
    cpu = [answer[3] + answer[4] for answer in await bench.bundle(*names)]
    assert 0.045 < cpu[1] < 0.2
    assert 0.095 < cpu[3] < 1.0
    assert max(cpu[0], cpu[2], cpu[4]) < 0.02
    # Of a run that is held up by a busy machine its peak is that of its process: then once more.
    for _ in range(20):
        first, large, last = await bench.bundle(("nothing", []), ("holds", []), ("nothing", []))
        if max(first[2], last[2]) < python_child.SHORT:
            break
    assert large[5] - first[5] > 38 << 20
    assert last[5] - first[5] < 20 << 20


LENDING = """
import os, subprocess, sys
if {without}:
    sys.modules["_ctypes"] = None
from importlib.machinery import SourceFileLoader
module = SourceFileLoader("lent", {path!r}).load_module()
assert (module.SYSTEM is None) == {without}
def below(name):
    return subprocess.run(["/usr/bin/printenv", name], stdout=subprocess.PIPE).stdout
lent = module.Lent()
for n in range(50):
    lent.lend(b"ONE", b"%d" % n)
    lent.lend(b"TWO", b"2")
    os.environ["OTHER"] = str(n)
assert below("ONE") == b"49\\n", below("ONE")
os.environ.update(ONE="mine", TWO="2")
assert below("ONE") == b"mine\\n", below("ONE")
lent.take_back(os.environ._data)
assert (below("ONE"), below("TWO")) == (b"mine\\n", b"2\\n")
lent.lend(b"GONE", b"1")
lent.take_back(os.environ._data)
assert below("GONE") == (b"1\\n" if {without} else b"")

wanted = {{b"ONE": b"1", b"MANY": b"m" * 9000}}
done = lent.complete(wanted)
assert done == (not {without})
if done:
    assert lent.untouched()
    for value in (b"2", b"12345", b"3", b""):
        assert lent.places[b"ONE"].write(value)
        assert below("ONE") == value + b"\\n", below("ONE")
        assert lent.untouched()
    assert not lent.places[b"ONE"].write(b"x" * 1000)
    assert len(below("MANY")) == 9001
    for change in (lambda: os.putenv("ONE", "c"), lambda: os.putenv("NEW", "c"),
                   lambda: os.unsetenv("ONE")):
        change()
        assert not lent.untouched()
        assert lent.complete({{b"ONE": b"1"}})
        assert lent.untouched()
        assert below("ONE") == b"1\\n"
        assert below("NEW") == b""
    for n in range(3000):
        os.putenv("NEW%d" % n, "some")
    assert not lent.untouched()
    assert lent.complete({{b"ONE": b"7"}}) and lent.untouched()
    assert below("ONE") == b"7\\n"
    lent.take_back({{b"ONE": b"8"}})
    assert not lent.untouched()
    assert below("ONE") == b"8\\n"
"""


@pytest.mark.parametrize("without", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_subprocesses_see_what_was_lent_to_the_environment(version: str, *, without: bool) -> None:
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} here")
    script = LENDING.format(without=without, path=python_lent.__file__)
    done = subprocess.run(
        [interpreter, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@staged
async def test_variables_that_a_library_set_are_put_back(bench: Bundler) -> None:
    """Without ``os.environ``, which knows nothing of it."""
    bench.write("""
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
def below():
    said = subprocess.run(["/usr/bin/printenv"], stdout=subprocess.PIPE).stdout.decode()
    found = dict(line.split("=", 1) for line in said.splitlines())
    return [found.get(name) for name in ("JOBCTL_RUN_ID", "HOME", "LEFT")]
def sets():
    for name in (b"JOBCTL_RUN_ID", b"HOME"):
        libc.setenv(name, b"changed", 1)
def puts(): os.putenv("HOME", "changed")
def clears(): libc.clearenv()
""")
    names = ("below", "sets", "below", "puts", "below", "clears", "below", "below")
    found = await bench.results(*((name, []) for name in names))

    for n in (0, 2, 4, 6, 7):
        assert found[n] == [f"r{n}", str(bench.directory), None]


@staged
async def test_names_of_runs_may_grow_and_shrink(bench: Bundler) -> None:
    bench.write("""
import os, subprocess
def below():
    said = subprocess.run(["/usr/bin/printenv", "JOBCTL_ARG_X"], stdout=subprocess.PIPE).stdout
    return [os.environ["JOBCTL_ARG_X"], said.decode()[:-1]]
""")
    values = ["1", "22", "", "4" * 2000, "5", "6" * 40_000, "7", "8"]
    more = {n: [{"JOBCTL_ARG_X": value}, {}] for n, value in enumerate(values)}
    found = await bench.results(*[("below", [])] * len(values), more=more)
    assert found == [[value, value] for value in values]


def refuse(number: int) -> Any:
    def allocate(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return allocate


@pytest.mark.parametrize("refusal", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_the_room_for_answers_is_had_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    """A disk that is full must not show as a signal in the middle of a run."""
    if refusal is not None:
        monkeypatch.setattr(os, "posix_fallocate", refuse(refusal))
    own = tally.Tally(str(tmp_path / "t"))
    found = (tmp_path / "t").stat()
    own.close()

    assert found.st_size >= tally.ANSWERS_AT + tally.ANSWERS_ROOM
    assert found.st_blocks * 512 >= found.st_size


def test_without_room_for_answers_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        tally.Tally(str(tmp_path / "t"))

    assert not list(tmp_path.iterdir())


ROUSED = """
import os, subprocess
def seen():
    print("said by", os.environ["JOBCTL_RUN_ID"])
    below = subprocess.run(["/usr/bin/printenv", "JOBCTL_RUN_ID"], stdout=subprocess.PIPE)
    return [os.environ["JOBCTL_RUN_ID"], below.stdout.decode(), len(os.listdir("/proc/self/fd"))]
def leaves():
    os.environ["LEFT"] = "behind"
def left():
    return os.environ.get("LEFT")
"""


@staged
async def test_child_that_was_roused_runs_what_comes_as_any_other(bench: Bundler) -> None:
    bench.write(ROUSED)
    open_files = [count for _, _, count in await bench.results(("seen", []), ("seen", []))]
    assert bench.child is not None
    for _ in range(2):
        (bench.directory / "spool").unlink()  # as the pool, which gives it its lasting name
        bench.child.rouse()
        bench.child.rouse()
        seen = await bench.results(("seen", []), ("seen", []))
        assert [(run, below.strip()) for run, below, _ in seen] == [("r0", "r0"), ("r1", "r1")]
        assert [count for _, _, count in seen] == open_files
        assert bench.output_of("r0") == "said by r0\n"
    assert bench.end is not None
    assert not bench.end.result()["retired"]

    await bench.results(("leaves", []))
    bench.child.rouse()

    assert await bench.results(("left", [])) == [None]


@staged
async def test_file_that_changed_while_nothing_ran_is_seen_by_a_child_that_is_roused(
    bench: Bundler,
) -> None:
    bench.write(ROUSED)
    assert await bench.results(("left", [])) == [None]
    assert bench.child is not None
    for _ in range(2):
        await asyncio.sleep(0.25)  # one that is in use looks only now and then
        bench.child.rouse()
        assert await bench.results(("left", [])) == [None]
    await asyncio.sleep(0.25)
    bench.write(ROUSED + "# changed")
    bench.child.rouse()

    assert await bench.bundle(("left", [])) == []
    assert bench.end is not None
    assert "has changed" in bench.end.result()["stale"]


@staged
async def test_change_of_a_file_is_seen_by_the_next_bundle_of_one_run(bench: Bundler) -> None:
    bench.write(ROUSED)
    for _ in range(3):
        assert await bench.results(("left", [])) == [None]
    bench.write(ROUSED + "# changed")
    saved = time.monotonic()
    await until(lambda: time.monotonic() - saved > 0.02)  # nobody submits a run sooner

    assert await bench.bundle(("left", [])) == []
    assert bench.end is not None
    assert "has changed" in bench.end.result()["stale"]


@staged
async def test_lone_run_waits_a_moment_for_its_token(bench: Bundler) -> None:
    bench.write("def does(): return 1\n")
    await bench.results(("does", []))
    assert bench.child is not None
    own = bench.tallies[-1]
    rows = [(1, "late", 1, 7, None, "[[],{}]")]

    async def end() -> dict[str, Any]:
        assert bench.end is not None
        return await asyncio.wait_for(bench.end, DEADLINE)

    for _ in range(20):  # on a busy machine a token may come later than a run waits
        bench.end = asyncio.get_running_loop().create_future()
        bench.child.bundle(own.bundle + 1, rows, shapes=[], listener=bench)
        await asyncio.sleep(0.005)
        own.begin(1)
        await end()
        if own.call_back() == 0:
            break
    assert [answer[RESULT] for answer in own.answers()] == ["1"]
    assert own.call_back() == 0

    bench.end = asyncio.get_running_loop().create_future()
    bench.child.bundle(own.bundle + 1, rows, shapes=[], listener=bench)
    await end()
    own.begin(1)
    assert own.call_back() == 1
    assert own.answers() == []
