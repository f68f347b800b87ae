"""Python attempts that share one interpreter, as threads or as tasks of an event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from python_children import VERSIONS, find_python
from real_attempts import Attempts, alive, until
from shared_slots import MODULE, Common

from jobctl.engine import python_child
from jobctl.engine.repose import Repose
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from pathlib import Path


KNOWS = """
from jobctl import current
def knows(): return current().id
async def aknows():
    await asyncio.sleep(0)
    return current().id
"""


both = pytest.mark.parametrize("mode", ["thread", "async"])


@both
def test_slots_share_one_interpreter(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        pids = [await common.result("pid", slot=n) for n in range(3)]

        assert len(set(pids)) == 1
        assert await common.result("apid") == pids[0]

    Common(attempts, mode).inside(story)


@both
def test_runs_at_the_same_time_print_into_their_own_logs(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        one, two = await asyncio.gather(
            common.result("meet", "one"), common.result("meet", "two", slot=1)
        )

        assert one != two
        for number, text in ((1, "one"), (2, "two")):
            said = common.log(number)
            assert f"before {text}\n" in said
            assert f"during {text}\n" in said
            assert said.endswith(f"after {text}")
            assert ("two" if text == "one" else "one") not in said

    Common(attempts, mode).inside(story)


def test_hundreds_of_coroutines_run_beside_each_other_in_one_child(attempts: Attempts) -> None:
    many = 300

    async def story(common: Common) -> None:
        results = await asyncio.gather(
            *(common.result("gather", n, many, slot=n) for n in range(many))
        )

        assert results == list(range(many))
        assert common.log(1) == "run 0\ndone 0"
        assert common.log(many) == f"run {many - 1}\ndone {many - 1}"

    Common(attempts, "async", slots=many).inside(story)


@pytest.mark.parametrize(
    ("mode", "function", "said"),
    [
        ("thread", "spin", "got Stopped\n"),
        ("thread", "aspin", "got Stopped\n"),
        ("thread", "nap", "cancelled\n"),
        ("thread", "dozes", "got CancelledError\ntidied up"),
        ("async", "nap", "cancelled\n"),
        ("async", "spin", "got Stopped\n"),
    ],
)
def test_timeout_stops_one_run_and_leaves_the_others(
    attempts: Attempts, mode: str, function: str, said: str
) -> None:
    async def story(common: Common) -> None:
        pid = await common.result("pid")
        outcome = await common.run(function, timeout=0.05)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert common.log(2).startswith(said)
        assert await common.result("pid") == pid

    Common(attempts, mode).inside(story)


@pytest.mark.parametrize(
    ("mode", "function"),
    [("thread", "spin"), ("async", "nap"), ("thread", "mourns"), ("async", "mourns")],
)
def test_soft_timeout_is_raised_in_one_run(attempts: Attempts, mode: str, function: str) -> None:
    async def story(common: Common) -> None:
        outcome = await common.run(function, soft_timeout=0.05)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert "SoftTimeout" in (outcome.exception or "")

    Common(attempts, mode).inside(story)


def test_import_that_outlasts_a_soft_timeout_leaves_whole_modules(attempts: Attempts) -> None:
    # A package that was interrupted after its submodule does not get it as an attribute again.
    (attempts.directory / "slow").mkdir()
    (attempts.directory / "slow" / "part.py").write_text("whole = 1\n")
    (attempts.directory / "slow" / "__init__.py").write_text(
        "from .part import *\nimport time\nfor _ in range(60): time.sleep(0.005)\n"
        "whole = part.whole\n"
    )

    async def story(common: Common) -> None:
        common.write("import slow\ndef get(): return slow.whole\n")
        outcome = await common.run("get", soft_timeout=0.05)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert [await common.result("get", slot=slot) for slot in (0, 1, 2)] == [1, 1, 1]

    Common(attempts, "thread").inside(story)


@pytest.mark.parametrize(
    ("function", "said"),
    [("dozes", "got SoftTimeout\ntidied up"), ("aspin", "got SoftTimeout\n")],
)
def test_coroutine_in_a_thread_gets_its_soft_timeout_at_once(
    attempts: Attempts, function: str, said: str
) -> None:
    async def story(common: Common) -> None:
        await common.result("apid")
        outcome = await common.run(function, soft_timeout=0.05, timeout=25)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert common.log(2).startswith(said)
        assert "SoftTimeout" in (outcome.exception or "")
        assert outcome.duration < 20

    Common(attempts, "thread").inside(story)


@both
def test_each_run_knows_itself(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        common.write(MODULE + KNOWS)

        assert await common.result("knows") == "run0000000000001"
        assert await common.result("aknows", slot=1) == "run0000000000002"

    Common(attempts, mode).inside(story)


@both
def test_run_that_ignores_its_stop_ends_with_its_child_after_the_others(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        pid = await common.result("pid")
        deaf = asyncio.create_task(common.run("deaf", slot=0, timeout=0.02, stop_timeout=0.02))
        other = asyncio.create_task(common.run("spin", slot=1, timeout=30))
        await until(lambda: common.nursery.shared._all and any(  # type: ignore[union-attr]
            one.stuck for one in common.nursery.shared._all  # type: ignore[union-attr]
        ), what="the run is stuck")  # fmt: skip

        assert await common.result("pid", slot=2) != pid
        assert not deaf.done()
        assert alive(pid)
        common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await other).kind is OutcomeKind.REVOKED
        outcome = await deaf
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        assert not alive(pid)

    Common(attempts, mode).inside(story)


@pytest.mark.parametrize(
    ("mode", "function"), [("thread", "fails"), ("thread", "afails"), ("async", "fails"), ("async", "afails")]
)  # fmt: skip
def test_exception_is_reported_with_the_part_of_the_traceback_that_is_the_jobs(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        outcome = await common.run(function)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.EXCEPTION)
        assert (outcome.exception or "").startswith("LookupError")
        assert "LookupError: nothing there" in common.log(1)
        assert "python_shared" not in common.log(1)
        assert (await common.run("out")).exit_code == 5

    Common(attempts, mode).inside(story)


@pytest.mark.parametrize("name", ["Notes", "Trace", "Class", "Code", "Text", "Value"])
@pytest.mark.parametrize(
    ("mode", "function"), [("thread", "hostile"), ("async", "ahostile"), ("async", "hostile")]
)
def test_exception_that_cannot_be_looked_at_leaves_the_others_alone(
    attempts: Attempts, mode: str, function: str, name: str
) -> None:
    async def story(common: Common) -> None:
        before = await common.result("pid", slot=0)
        outcome = await common.run(function, name, slot=1)
        expected = Reason.RESULT if name == "Value" else Reason.EXCEPTION
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, expected)
        assert await common.result("pid", slot=0) == before

    Common(attempts, mode).inside(story)


@both
def test_death_of_the_child_fails_its_runs_and_the_next_gets_another(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        other = asyncio.create_task(common.run("spin", slot=1))
        await until(lambda: common.slots[1].started_at is not None)
        outcome = await common.run("dies")

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.EXIT)
        assert outcome.exit_code == 3
        assert "it shared with others ended" in ((await other).error or "")
        assert isinstance(await common.result("pid"), int)

    Common(attempts, mode).inside(story)


@both
def test_binary_output_goes_to_the_run_and_descriptor_output_does_not(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        await common.result("raw")

        assert common.log(1) == "raw\n"

    Common(attempts, mode).inside(story)


@both
def test_replaced_stdout_is_put_back(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        await common.result("steals")
        await common.result("says", "here")

        assert common.log(2) == "here\n"

    Common(attempts, mode).inside(story)


@both
@pytest.mark.parametrize("function", ["interrupted", "ainterrupted"])
def test_keyboard_interrupt_of_a_run_ends_that_run_alone(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        pid = await common.result("pid")

        outcome = await common.run(function)

        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.EXCEPTION)
        assert (outcome.exception or "").startswith("KeyboardInterrupt")
        assert await common.result("pid") == pid

    Common(attempts, mode).inside(story)


GREEDY = """
KEPT = []
def leaves(number):
    try:
        while True:
            KEPT.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for fd in KEPT[len(KEPT) - number:]:
            os.close(fd)
    return os.getpid()
def no_threads():
    threading.stack_size(1 << 46)
    return os.getpid()
def tells(text):
    print(text)
    return os.getpid()
"""


@both
@pytest.mark.parametrize("number", [0, 2])
def test_runs_whose_logs_an_interpreter_cannot_take_begin_in_another(
    attempts: Attempts, mode: str, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    async def story(common: Common) -> None:
        common.write(MODULE + GREEDY)
        beside = asyncio.create_task(common.run("nap", slot=3, timeout=20, stop_timeout=1))
        await until(lambda: common.slots[3].started_at is not None)
        full = await common.result("leaves", number)
        pids = await asyncio.gather(
            *(common.result("tells", f"I am {n}", slot=n) for n in range(3))
        )

        assert [common.log(3 + n) for n in range(3)] == [f"I am {n}\n" for n in range(3)]
        assert not beside.done()
        beside.cancel()
        await asyncio.wait([beside])
        if number == 0:
            assert full not in pids
            assert "takes no more runs: it has no descriptors left" in capfd.readouterr().err

    Common(attempts, mode, slots=4).inside(story)


@both
def test_run_for_which_no_thread_can_be_started_begins_in_another_interpreter(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        common.write(MODULE + GREEDY)
        full = await common.result("no_threads")
        pids = await asyncio.gather(
            *(common.result("tells", f"I am {n}", slot=n) for n in range(3))
        )

        assert set(pids) - {full}
        assert [common.log(2 + n) for n in range(3)] == [f"I am {n}\n" for n in range(3)]

    Common(attempts, mode).inside(story)


@both
def test_children_whose_kind_is_not_used_any_more_are_let_go(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        repose = Repose(0.05, shared=common.nursery.shared)

        def looked() -> set[int]:
            repose.look([], now=time.monotonic())
            return {pid for pid in pids if alive(pid)}

        before = {"SHOP": "one"}, {"SHOP": "two"}, {"SHOP": "three"}
        pids = [await common.result("pid", env=env) for env in before]
        assert await common.result("pid", env=before[0]) == pids[0]
        await until(lambda: looked() == {pids[0]}, what="the one that was used last stays")

        pids.append(await common.result("pid", env=before[1]))
        busy = asyncio.create_task(common.run("nap", slot=1, env=before[1], timeout=20))
        await until(lambda: common.slots[1].started_at is not None)
        await until(lambda: looked() == {pids[3]}, what="none stays beside one that is busy")
        assert await common.result("pid", env=before[1]) == pids[3]
        common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        await busy

    Common(attempts, mode).inside(story)


def test_interpreter_found_outdated_refuses_every_later_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = python_child.Modules()
    file = tmp_path / "jobs.py"
    modules.stamps[str(file)] = None
    call = {"cwd": str(tmp_path), "env": {}}
    assert modules.stale(call) is None
    file.write_text(MODULE)

    modules.scanned = float("-inf")

    # The second call comes before the next look at the files is due.
    assert [modules.stale(call), modules.stale(call)] == [f"{file} has changed"] * 2


def test_child_init_may_use_the_event_loop_of_the_jobs(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        assert await common.result("inits") == [await common.result("loop")]

    Common(attempts, "async", child_init="jobs:ainit").inside(story)


def test_child_init_is_called_once_for_all_threads(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        assert await common.result("inits") == [await common.result("pid", slot=1)]

    Common(attempts, "thread", child_init="jobs:init").inside(story)


def test_jobs_of_different_environments_do_not_share(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        cwd = str(attempts.directory)

        assert await common.result("environ", env={"SHOP": "a"}) == ["a", cwd]
        assert await common.result("environ", env={"SHOP": "b"}) == ["b", cwd]

    Common(attempts, "thread").inside(story)


@both
def test_changed_file_makes_new_runs_go_to_a_new_child(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        pid = await common.result("pid")
        common.file.write_text(MODULE + "\ndef fresh(): return 1\n")
        deadline = time.monotonic() + 10
        # A child in steady use looks for changes every fifth of a second.
        while (await common.run("fresh")).kind is not OutcomeKind.SUCCEEDED:
            assert time.monotonic() < deadline

        assert await common.result("pid") != pid

    Common(attempts, mode).inside(story)


@both
def test_child_is_replaced_after_its_number_of_runs(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        pids = [await common.result("pid") for _ in range(4)]

        assert pids[0] == pids[1] != pids[2] == pids[3]

    Common(attempts, mode, max_runs_per_child=2).inside(story)


@both
def test_shared_child_runs_in_the_oldest_python(attempts: Attempts, mode: str) -> None:
    python = find_python("3.9")
    if python is None or python == sys.executable:
        pytest.skip("there is no CPython 3.9 here")

    async def story(common: Common) -> None:
        await common.result("says", "hello", interpreter=python)

        assert common.log(1) == "hello\n"

    Common(attempts, mode).inside(story)


STOPS = """
import asyncio, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from jobctl import SoftTimeout, current

def looks():
    run = current()
    assert not run.should_stop()
    open(run.id, "w").close()
    try:
        while not run.should_stop(): time.sleep(0.005)
    except BaseException as error:
        print("got", type(error).__name__)
        raise
    print("told")
    return "tidy"

async def alooks():
    run = current()
    assert not run.should_stop()
    open(run.id, "w").close()
    try:
        while not run.should_stop(): await asyncio.sleep(0.005)
    except BaseException as error:
        print("got", type(error).__name__)
        raise
    print("told")
    return "tidy"

def forgets():
    run = current()
    run.should_stop()
    open(run.id, "w").close()
    try:
        while True: time.sleep(0.005)
    except BaseException as error:
        print("got", type(error).__name__)
        raise

async def aforgets():
    run = current()
    run.should_stop()
    open(run.id, "w").close()
    try:
        await asyncio.sleep(60)
    except BaseException as error:
        print("got", type(error).__name__)
        raise

def nothing(): pass

def catches():
    try:
        while True: time.sleep(0.005)
    except SoftTimeout as error:
        return ["tidy", str(error), current().should_stop()]

async def acatches():
    try:
        await asyncio.sleep(60)
    except SoftTimeout as error:
        await asyncio.sleep(0.01)
        return ["tidy", str(error), current().should_stop()]

def late():
    return acatches()

POOL = ThreadPoolExecutor(1)
MET = threading.Barrier(2, timeout=10)

def family(text):
    seen = []
    def body():
        MET.wait()
        sys.stdout.write(f"thread of {text}\\n")
        seen.append(current().id)
        MET.wait()
    class Own(threading.Thread):
        def run(self): body()
    for kind in (lambda: threading.Thread(target=body), Own):
        thread = kind()
        thread.start()
        thread.join()
    def task():
        sys.stdout.write(f"task of {text}\\n")
        return current().id
    with ThreadPoolExecutor(2) as own:
        seen += own.map(lambda _: task(), range(4))
    seen += [POOL.submit(task).result() for _ in range(3)]
    return [current().id, sorted(set(seen))]

async def afamily(text):
    loop = asyncio.get_running_loop()
    seen = [await loop.run_in_executor(None, lambda: (sys.stdout.write(f"task of {text}\\n"), current().id)[1])]
    seen += [await asyncio.to_thread(lambda: current().id)]
    seen += await asyncio.gather(*(asyncio.to_thread(lambda: current().id) for _ in range(9)))
    return [current().id, sorted(set(seen))]

def outlives(path):
    def body():
        while not os.path.exists(path): time.sleep(0.005)
        print("after the end")
        open(path + ".done", "w").close()
    threading.Thread(target=body, daemon=True).start()
"""


@both
@pytest.mark.parametrize("function", ["looks", "alooks"])
def test_function_that_asks_whether_to_stop_ends_by_itself(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        common.write(STOPS)
        begun = asyncio.create_task(common.run(function, stop_timeout=20))
        await until((attempts.directory / "run0000000000001").exists)
        common.slots[0].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

        assert (await begun).kind is OutcomeKind.REVOKED
        assert common.log(1) == "told\n"

    Common(attempts, mode).inside(story)


@both
@pytest.mark.parametrize(("function", "said"), [("forgets", "Stopped"), ("aforgets", "CancelledE")])
def test_function_that_asked_once_and_goes_on_is_stopped_after_its_grace(
    attempts: Attempts, mode: str, function: str, said: str
) -> None:
    async def story(common: Common) -> None:
        common.write(STOPS + "async def waits(): await asyncio.sleep(60)\n")
        other = asyncio.create_task(common.run("waits", slot=1))
        begun = asyncio.create_task(common.run(function, stop_timeout=0.1))
        (await until(lambda: common.slots[1].started_at is not None))
        await until((attempts.directory / "run0000000000002").exists)
        common.slots[0].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

        assert (await begun).kind is OutcomeKind.REVOKED
        assert common.log(2).startswith(f"got {said}")
        assert not other.done()
        common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        await other

    Common(attempts, mode).inside(story)


@both
@pytest.mark.parametrize("function", ["catches", "acatches", "late"])
def test_function_may_catch_its_soft_timeout_and_return(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        common.write(STOPS)
        await common.result("nothing")  # imports are under the limit too
        tidy, said, told = await common.result(function, soft_timeout=0.05, timeout=20)
        assert (tidy, told) == ("tidy", True)
        assert said == "soft_timeout has passed"

    Common(attempts, mode).inside(story)


@both
@pytest.mark.parametrize("version", VERSIONS)
def test_threads_and_executors_of_a_function_belong_to_its_run(
    attempts: Attempts, mode: str, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")

    async def story(common: Common) -> None:
        common.write(STOPS)
        ends = await asyncio.gather(
            common.result("family", "one", interpreter=python),
            common.result("family", "two", slot=1, interpreter=python),
        )
        for number, (mine, seen) in enumerate(ends, 1):
            assert seen == [mine]
            text = "two" if mine.endswith("2") else "one"
            said = common.log(number)
            assert said.count(f"thread of {text}\n") == 2
            assert said.count(f"task of {text}\n") == 7
            assert said.count("of") == 9

    Common(attempts, mode).inside(story)


def test_executors_of_the_loop_belong_to_the_run_that_asks(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        common.write(STOPS)
        for number in (1, 2, 3):
            mine, seen = await common.result("afamily", str(number))
            assert seen == [mine]
            assert common.log(number) == f"task of {number}\n"

    Common(attempts, "async").inside(story)


@both
def test_what_a_thread_prints_after_its_run_is_in_no_log_of_a_run(
    attempts: Attempts, mode: str
) -> None:
    path = attempts.directory / "end"

    async def story(common: Common) -> None:
        common.write(STOPS)
        outcome = await common.run("outlives", str(path))
        path.touch()
        await until(path.with_suffix(".done").exists)
        assert outcome.log_bytes == 0
        assert not common.has_log(1)

    Common(attempts, mode).inside(story)


@both
def test_import_that_was_interrupted_inside_a_function_costs_the_interpreter(
    attempts: Attempts, mode: str
) -> None:
    (attempts.directory / "slow").mkdir()
    (attempts.directory / "slow" / "part.py").write_text("whole = 1\n")
    (attempts.directory / "slow" / "__init__.py").write_text(
        "from .part import *\nimport os, time\n"
        "while not os.path.exists('go'): time.sleep(0.005)\nwhole = part.whole\n"
    )

    async def story(common: Common) -> None:
        common.write("def get():\n    import slow\n    return slow.whole\n")
        outcome = await common.run("get", soft_timeout=0.05)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)
        (attempts.directory / "go").touch()
        assert await common.result("get") == 1

    Common(attempts, mode).inside(story)


HARMS = """
import asyncio, logging, os, sys, threading, time
from jobctl import current
def warm(): pass
def logs():
    while True: logging.getLogger("shop").warning("a line")
def says(): logging.getLogger("shop").warning("one"); return "said"
def asks():
    while True:
        try: current().once("key")
        except RuntimeError as error:
            if "no store" not in str(error): raise
def traced():
    sys.settrace(lambda *_: None)
    try:
        for _ in range(100): str(_)
    finally: sys.settrace(None)
    return "done"
def spin():
    while True: time.sleep(0.001)
async def beats(path):
    n = 0
    while True:
        n += 1
        with open(path, "a") as file: file.write(f"{n}\\n")
        await asyncio.sleep(0.005)
async def tasks(path):
    kept = [asyncio.create_task(beats(path)) for _ in range(2)]
    for one in kept: await one
def works(path):
    while True:
        with open(path, "a") as file: file.write("x\\n")
        time.sleep(0.005)
async def threads(path): await asyncio.to_thread(works, path)
async def leaves(path, fails=False):
    asyncio.create_task(beats(path))
    await asyncio.sleep(0.02)
    if fails: raise OSError("no database")
    return 1
"""


@both
def test_interrupted_threads_leave_logging_to_others(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        common.write(HARMS)
        await common.result("warm")
        for _ in range(6):
            ends = await asyncio.gather(
                *(common.run("logs", slot=n, soft_timeout=0.05, timeout=20) for n in (0, 1))
            )
            assert {one.reason for one in ends} == {Reason.TIMEOUT}
            assert "SoftTimeout" in (ends[0].exception or "")
            assert await common.result("says", slot=2, timeout=10) == "said"

    Common(attempts, mode).inside(story)


def test_traced_function_ends_after_another_was_interrupted(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        common.write(HARMS)
        await common.result("warm")
        await common.run("spin", soft_timeout=0.05)
        assert await common.result("traced", timeout=10) == "done"

    Common(attempts, "thread").inside(story)


@pytest.mark.parametrize("function", ["tasks", "threads"])
@pytest.mark.parametrize("limit", [{"timeout": 0.1}, {"soft_timeout": 0.1}])
def test_nothing_of_a_run_goes_on_after_its_end(
    attempts: Attempts, function: str, limit: dict[str, float]
) -> None:
    async def story(common: Common) -> None:
        common.write(HARMS)
        await common.result("warm")
        path = attempts.directory / "beats"
        outcome = await common.run(function, str(path), **limit)
        assert outcome.reason is Reason.TIMEOUT
        size = path.stat().st_size
        assert size > 0
        await asyncio.sleep(0.1)
        assert path.stat().st_size == size

    Common(attempts, "async").inside(story)


LEFT = """
import asyncio, os, sys, time
loop = sys.modules["_jobctl_python_loop"]
loop.LEFT_GRACE, loop.LEFT_END = 0.2, 0.2
def warm(): return os.getpid()
def works(path):
    while True:
        with open(path, "a") as file: file.write("x\\n")
        time.sleep(0.005)
def deaf(path):
    while not os.path.exists("go"):
        try: works(path)
        except BaseException: pass
def short(path):
    time.sleep(0.05)
    open(path, "w").close()
async def stubborn(path):
    while not os.path.exists("go"):
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: open(path, "a").close()
async def fails(what, path):
    if what == "stubborn": asyncio.create_task(stubborn(path))
    else: asyncio.get_running_loop().run_in_executor(None, globals()[what], path)
    while what == "works" and not os.path.exists(path): await asyncio.sleep(0.005)
    await asyncio.sleep(0)
    raise OSError("no database")
"""


@pytest.mark.parametrize("what", ["short", "works", "deaf", "stubborn"])
def test_coroutine_that_fails_ends_whatever_it_leaves_behind(attempts: Attempts, what: str) -> None:
    path = attempts.directory / "left"

    async def story(common: Common) -> None:
        common.write(LEFT)
        pid = await common.result("warm")
        outcome = await common.run("fails", what, str(path))
        assert outcome.reason is Reason.EXCEPTION
        assert (outcome.exception or "").startswith("OSError")
        await until(path.exists)
        size = path.stat().st_size
        if what in ("short", "works"):
            await asyncio.sleep(0.1)
            assert path.stat().st_size == size
            assert await common.result("warm") == pid
        else:
            assert "goes on" in common.log(2)
            assert await common.result("warm") != pid
            await until(lambda: not alive(pid), what="its interpreter is gone")
        (attempts.directory / "go").touch()

    Common(attempts, "async").inside(story)


def test_tasks_outlive_a_coroutine_that_succeeded_and_no_other(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        common.write(HARMS)
        path = attempts.directory / "beats"
        assert await common.result("leaves", str(path)) == 1
        size = path.stat().st_size
        await until(lambda: path.stat().st_size > size, what="a client for others lives on")

        path = attempts.directory / "failed"
        assert (await common.run("leaves", str(path), 1)).reason is Reason.EXCEPTION
        size = path.stat().st_size
        await asyncio.sleep(0.1)
        assert path.stat().st_size == size

    Common(attempts, "async").inside(story)


HUNG = """
import os, time
def waits():
    with open("inits", "a") as file: file.write("x")
    while not os.path.exists("go"): time.sleep(0.005)
def fails():
    with open("inits", "a") as file: file.write("x")
    time.sleep(0.1)
    raise OSError("no database")
def pid(): return os.getpid()
"""


@both
def test_run_that_waits_for_child_init_can_be_revoked_at_once(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        common.write(HUNG)
        runs = [asyncio.create_task(common.run("pid", slot=n)) for n in range(3)]
        await until((attempts.directory / "inits").exists)
        common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await runs[1]).kind is OutcomeKind.REVOKED
        assert not runs[0].done()
        (attempts.directory / "go").touch()
        pids = {(await run).result for run in (runs[0], runs[2])}
        assert len(pids) == 1
        assert (attempts.directory / "inits").read_text() == "x"

    Common(attempts, mode, child_init="jobs:waits").inside(story)


@both
def test_all_that_wait_for_a_child_are_told_at_once_why_there_is_none(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        common.write(HUNG)
        ends = await asyncio.gather(*(common.run("pid", slot=n) for n in range(3)))
        assert {one.reason for one in ends} == {Reason.SPAWN}
        assert all("no database" in (one.error or "") for one in ends)
        assert (attempts.directory / "inits").read_text() == "x"

    Common(attempts, mode, child_init="jobs:fails").inside(story)


def test_child_dies_with_its_pool_whatever_keeps_it_busy(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        assert await common.result("death_signal") == signal.SIGKILL

    common = Common(attempts, "async")  # the thread that asks is the one that is told
    common.write(
        MODULE + "\nasync def death_signal():\n    import ctypes\n    found = ctypes.c_int()\n"
        "    ctypes.CDLL(None).prctl(2, ctypes.byref(found), 0, 0, 0)\n    return found.value\n"
    )
    common.inside(story)


ASYNC_HOOKS = """
import asyncio
async def fails():
    await asyncio.sleep(0)
    raise OSError("no database")
async def bye():
    await asyncio.sleep(0)
    open("bye", "w").close()
def pid(): return 1
"""


@pytest.mark.parametrize("mode", ["process", "thread", "async"])
def test_hooks_may_be_coroutines(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        common.write(ASYNC_HOOKS)
        assert await common.result("pid") == 1

    Common(attempts, mode, child_exit="jobs:bye").inside(story)
    assert (attempts.directory / "bye").exists()


@pytest.mark.parametrize("mode", ["process", "thread", "async"])
def test_hook_that_fails_is_named_though_it_is_a_coroutine(attempts: Attempts, mode: str) -> None:
    async def story(common: Common) -> None:
        common.write(ASYNC_HOOKS)
        outcome = await common.run("pid")
        assert outcome.reason is Reason.SPAWN
        assert "child_init = jobs:fails failed" in (outcome.error or "")

    Common(attempts, mode, child_init="jobs:fails").inside(story)


LATE = """
import asyncio, sys, threading, time
from jobctl import current

def nap(): time.sleep(0.6); return "whole"
async def anap(): await asyncio.sleep(0.6); return "whole"

def late():
    run = current()
    threading.Thread(target=lambda: (time.sleep(0.2), run.progress(50, "late"))).start()

async def alate():
    run = current()
    async def after():
        await asyncio.sleep(0.2)
        run.progress(50, "late")
    globals()["kept"] = asyncio.create_task(after())

def frame():
    child = sys.modules["_jobctl_child"]
    shared = child.RUNNING.get().shared
    shared.send(child.PROGRESS, {"seq": 4711, "percent": 1, "message": ""})

async def aframe(): frame()
"""


@both
@pytest.mark.parametrize("function", ["late", "frame"])
def test_progress_that_comes_too_late_costs_nobody_anything(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        common.write(LATE)
        prefix = "a" if mode == "async" else ""
        other = asyncio.create_task(common.result(f"{prefix}nap", slot=1))
        await common.result(prefix + function)
        assert await other == "whole"

    Common(attempts, mode).inside(story)


MOVES = """
import ctypes, os, sys, time

def init():
    number = len([name for name in os.listdir(".") if name.startswith("init")])
    open(f"init{number}", "w").close()
    while number and not os.path.exists("go"):
        time.sleep(0.01)

def nothing(): pass

def dies():
    library = ctypes.PyDLL(None)  # keeps the interpreter's lock: nothing else begins
    sys.setswitchinterval(60)
    os.mkfifo("here")
    library.open(b"here", os.O_WRONLY)  # until somebody reads
    library._exit(3)

def long():
    open("began", "w").close()
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["stopped", "timed out"])
def test_run_that_waits_for_another_interpreter_is_stopped_in_time(
    attempts: Attempts, how: str
) -> None:
    async def story(common: Common) -> None:
        common.write(MOVES)
        here = attempts.directory
        await common.result("nothing")
        dies = asyncio.create_task(common.run("dies"))
        await until((here / "here").exists, what="it blocks")
        limit = {"timeout": 0.3} if how == "timed out" else {}
        moves = asyncio.create_task(common.run("long", slot=1, stop_timeout=0.1, **limit))
        await until(lambda: common.slots[1].started_at is not None, what="it was handed over")
        (here / "here").read_bytes()
        assert (await dies).kind is OutcomeKind.FAILED
        await until((here / "init1").exists, what="another interpreter starts")
        if how == "stopped":
            common.slots[1].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
            outcome = await asyncio.wait_for(moves, 5)
            assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
            assert not (here / "began").exists()
            (here / "go").touch()
        else:
            await asyncio.sleep(0.4)  # its time is over before it has begun
            (here / "go").touch()
            outcome = await asyncio.wait_for(moves, 10)
            assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, Reason.TIMEOUT)

    Common(attempts, "thread", child_init="jobs:init").inside(story)


@both
def test_order_that_comes_before_the_call_keeps_the_function_from_beginning(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        common.write(MOVES)
        await common.result("nothing")
        job = JobDef(name="py", python="jobs:long", cwd=str(attempts.directory), stop_timeout=60.0)
        slot = common.slots[0]

        def stop(*_: object) -> None:
            slot.stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)

        outcome = await asyncio.wait_for(slot.execute(attempts.specify(job), on_start=stop), 20)
        assert (outcome.kind, outcome.reason) == (OutcomeKind.REVOKED, Reason.USER)
        assert not (attempts.directory / "began").exists()

    Common(attempts, mode).inside(story)


ENDS_LOOP = """
import asyncio, os
async def uses(): return await asyncio.to_thread(os.getpid)
async def ends_executor(): await asyncio.get_running_loop().shutdown_default_executor()
async def waits(): await asyncio.sleep(0.3); return "waited"
async def ends(): asyncio.get_running_loop().stop()
async def ends_later():
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
    await asyncio.sleep(0.1)
    return "went on"
"""


def test_event_loop_is_not_for_one_run_to_stop(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        common.write(ENDS_LOOP)
        waits = asyncio.create_task(common.result("waits"))
        outcome = await common.run("ends", slot=1)
        assert outcome.error is not None
        assert "this event loop is that of other runs too: return instead" in outcome.error
        assert await common.result("ends_later", slot=1) == "went on"
        assert await waits == "waited"

    Common(attempts, "async").inside(story)


def test_executor_of_the_loop_is_not_for_one_run_to_end(attempts: Attempts) -> None:
    async def story(common: Common) -> None:
        common.write(ENDS_LOOP)
        first = await common.result("uses")
        outcome = await common.run("ends_executor")
        assert "the executor of this event loop is that of other runs too" in (outcome.error or "")
        assert await common.result("uses") == first

    Common(attempts, "async").inside(story)


def test_interpreter_that_starts_when_its_pool_ends_is_not_begun_again(attempts: Attempts) -> None:
    here = attempts.directory
    (here / "slow.py").write_text(
        "import os, time\nopen(f'begun{os.getpid()}', 'w').close()\ntime.sleep(60)\n"
    )

    async def story(common: Common) -> None:
        run = asyncio.create_task(common.run("pid"))
        await until(lambda: list(here.glob("begun*")), what="it imports")
        common.slots[0].stop(kind=OutcomeKind.REVOKED, reason=Reason.USER)
        assert (await run).kind is OutcomeKind.REVOKED
        await common.nursery.close()
        await asyncio.sleep(0)
        assert len(list(here.glob("begun*"))) == 1
        # That it leaves no process is seen at the end.

    Common(attempts, "thread", preload=("slow",)).inside(story)


TIDY = """
import asyncio, time
from concurrent.futures import ThreadPoolExecutor
from jobctl import SoftTimeout, current
def warm(): pass
def tidy(): print("tidy"); return "tidy"
def plain():
    try:
        while True: time.sleep(0.005)
    except SoftTimeout:
        with ThreadPoolExecutor(1) as pool: return pool.submit(tidy).result()
async def later():
    try: await asyncio.sleep(60)
    except SoftTimeout: return await asyncio.to_thread(tidy)
async def cancelled():
    try: await asyncio.sleep(60)
    finally: await asyncio.to_thread(tidy)
"""


@both
@pytest.mark.parametrize("function", ["plain", "later"])
def test_function_may_tidy_up_in_other_threads_when_it_is_told_to_end(
    attempts: Attempts, mode: str, function: str
) -> None:
    async def story(common: Common) -> None:
        common.write(TIDY)
        await common.result("warm")
        assert await common.result(function, soft_timeout=0.05, timeout=20) == "tidy"

    Common(attempts, mode).inside(story)


@both
def test_coroutine_that_is_cancelled_may_tidy_up_in_another_thread(
    attempts: Attempts, mode: str
) -> None:
    async def story(common: Common) -> None:
        common.write(TIDY)
        await common.result("warm")
        outcome = await common.run("cancelled", timeout=0.05)
        assert outcome.reason is Reason.TIMEOUT
        assert common.log(2).startswith("tidy\n")

    Common(attempts, mode).inside(story)
