"""What a function learns of its run, and by which exceptions it says how that goes on."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from python_children import VERSIONS, Bench, find_python, staged, until

from jobctl import context
from jobctl.engine.python_host import ChildDiedError
from jobctl.model.run import Reason

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    version = getattr(request, "param", None)
    if version is None:
        return Bench(tmp_path)
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} on PATH or in pyenv")
    return Bench(tmp_path, interpreter)


every_python = pytest.mark.parametrize("bench", VERSIONS, indirect=True)


def of_run(bench: Bench, **more: str) -> dict[str, str]:
    """Return the environment of a run."""
    return {
        **bench.env,
        "JOBCTL_RUN_ID": "r",
        "JOBCTL_JOB": "shop",
        "JOBCTL_ATTEMPT": "2",
        "JOBCTL_MAX_ATTEMPTS": "4",
        "JOBCTL_QUEUE": "night",
        "JOBCTL_TRIGGER": "schedule",
        "JOBCTL_SCHEDULED_AT": "2026-03-01T02:30:00+01:00",
        **more,
    }


@every_python
@staged
async def test_declared_functions_run_where_jobctl_is_not_installed(bench: Bench) -> None:
    bench.write(
        "from jobctl import current, job\n"
        "@job\n"
        "def plain(x): return x + 1\n"
        "@job('shop.named', retries=3, timeout='2m')\n"
        "def named(x): return plain(x) + 1\n"
        "@job(retries=1)\n"
        "async def later(x): return [current().job, named(x)]\n"
    )
    env = of_run(bench)
    replies = [await bench.call(name, 1, env=env) for name in ("plain", "named", "later")]
    assert [reply.error for reply in replies] == [None, None, None]
    assert [json.loads(reply.result) for reply in replies] == [2, 3, ["shop", 3]]


@every_python
@staged
async def test_function_learns_everything_of_its_run(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "def facts():\n"
        "    run = current()\n"
        "    assert run is current()\n"
        "    return [run.id, run.job, run.attempt, run.max_attempts, run.queue, run.trigger,\n"
        "            run.tags, run.scheduled_at, 50 < run.remaining() <= 60, repr(run)]\n"
    )
    limits = {"timeout": 60.0, "tags": {"customer": "7"}}
    reply = await bench.call("facts", env=of_run(bench), limits=limits)
    assert reply.error is None
    assert json.loads(reply.result) == [
        "r", "shop", 2, 4, "night", "schedule", {"customer": "7"}, "2026-03-01T02:30:00+01:00",
        True, "<run r of shop, attempt 2>",
    ]  # fmt: skip


@staged
async def test_run_without_limits_has_no_deadline_tags_or_instant(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "def facts():\n"
        "    run = current()\n"
        "    return [run.deadline, run.remaining(), run.tags, run.scheduled_at, run.max_attempts]\n"
    )
    env = of_run(bench, JOBCTL_SCHEDULED_AT="", JOBCTL_MAX_ATTEMPTS="-1")
    reply = await bench.call("facts", env=env)
    assert json.loads(reply.result) == [None, None, {}, None, None]


@every_python
@staged
async def test_exceptions_say_how_the_run_goes_on(bench: Bench) -> None:
    bench.write(
        "import datetime, jobctl\n"
        "from jobctl.context import Retry\n"
        "assert jobctl.Retry is Retry\n"
        "class Later(Retry): pass\n"
        "def go(n):\n"
        "    if n == 0: raise jobctl.Retry('busy', in_='1m30s')\n"
        "    if n == 1: raise Retry(in_=datetime.timedelta(seconds=7))\n"
        "    if n == 2: raise Later('sub')\n"
        "    if n == 3: raise jobctl.Skip('nothing new')\n"
        "    if n == 4: raise jobctl.Fatal('no such customer')\n"
        "    if n == 5: raise jobctl.Retry(in_='soon')\n"
    )
    replies = [await bench.call("go", n) for n in range(6)]
    assert [(r.again, r.skip, r.fatal, r.retry_in) for r in replies] == [
        (True, False, False, 90.0),
        (True, False, False, 7.0),
        (True, False, False, None),
        (False, True, False, None),
        (False, False, True, None),
        (False, False, False, None),
    ]
    asked = "its function asked for another attempt"
    assert [r.error for r in replies[:4]] == ["busy", asked, "sub", "nothing new"]
    assert "no such customer" in replies[4].error
    assert "'soon' is not a duration" in replies[5].error
    assert [r.traceback is None for r in replies] == [True, True, True, True, False, False]


@every_python
@staged
async def test_exceptions_without_a_text_say_what_they_mean(bench: Bench) -> None:
    bench.write(
        "import jobctl\n"
        "class Late(jobctl.Fatal): pass\n"
        "def go(name): raise globals().get(name) or getattr(jobctl, name)\n"
    )
    replies = {n: await bench.call("go", n) for n in ("Skip", "Retry", "Fatal", "Late")}
    told = {name: reply.error.splitlines()[-1] for name, reply in replies.items()}
    fatal = "its function failed for good, and gave no reason"
    assert told == {
        "Skip": "skipped by its function",
        "Retry": "its function asked for another attempt",
        "Fatal": f"jobctl.Fatal: {fatal}",
        "Late": f"jobs.Late: {fatal}",
    }


@every_python
@staged
async def test_a_module_of_the_same_name_is_not_hidden(bench: Bench) -> None:
    bench.write("def current(): return 'their own'\n", name="jobctl.py")
    bench.write("from jobctl import current\ndef go(): return current()\n")
    assert (await bench.call("go")).result == '"their own"'


@staged
async def test_threads_and_copies_of_a_function_have_its_run(bench: Bench) -> None:
    bench.write(
        "import contextvars, threading\n"
        "from jobctl import current\n"
        "def go():\n"
        "    seen = []\n"
        "    thread = threading.Thread(target=lambda: seen.append(current().id))\n"
        "    thread.start(); thread.join()\n"
        "    return seen\n"
        "async def later():\n"
        "    import asyncio\n"
        "    return await asyncio.gather(*(one() for _ in range(2)))\n"
        "async def one(): return current().id\n"
    )
    assert json.loads((await bench.call("go", run_id="one")).result) == ["one"]
    assert json.loads((await bench.call("later", run_id="two")).result) == ["two", "two"]


@staged
async def test_a_run_that_is_over_hears_and_says_nothing_more(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "kept = []\n"
        "def keep(): kept.append(current())\n"
        "def use():\n"
        "    kept[0].progress(50)\n"
        "    try: kept[0].once('key')\n"
        "    except Exception as error: return [type(error).__name__, str(error), current().id]\n"
    )
    await bench.call("keep", run_id="one")
    reply = await bench.call("use", run_id="two")
    name, error, run_id = json.loads(reply.result)
    assert (name, run_id) == ("AskError", "two")
    assert "has ended" in error
    assert bench.progress == []


@every_python
@staged
async def test_progress_that_is_no_number_is_refused_where_it_is_told(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "def go(percent):\n"
        "    try: current().progress(float(percent))\n"
        "    except ValueError as error: return str(error)\n"
    )
    for percent in ("nan", "inf", "-inf"):
        reply = await bench.call("go", percent)
        assert json.loads(reply.result).startswith(
            f"progress takes a number from 0 to 100, not {percent}; "
        )
    assert bench.progress == []


@staged
async def test_progress_reaches_the_pool_cut_and_within_bounds(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "def go():\n"
        "    current().progress(140, 'x' * 300); current().progress(-1)\n"
    )
    await bench.call("go")
    await until(lambda: len(bench.progress) == 2)
    assert bench.progress == [(100.0, "x" * 200), (0.0, "")]


@staged
async def test_without_a_store_questions_say_why_they_have_no_answer(bench: Bench) -> None:
    bench.write(
        "from jobctl import current\n"
        "def ask(): return current().once('key')\n"
        "def bad(): return current().once('')\n"
    )
    reply = await bench.call("ask")
    assert reply.exception == "jobctl.AskError"
    assert "jobctl run" in reply.error
    assert (await bench.call("bad")).exception == "ValueError"


@staged
async def test_logger_writes_to_the_log_of_the_run_that_uses_it(bench: Bench) -> None:
    bench.write(
        "import logging\n"
        "from jobctl import current\n"
        "def go(word): current().logger.info('says %s', word)\n"
        "def configured():\n"
        "    logging.basicConfig(format='own %(message)s', level='INFO')\n"
        "    current().logger.info('once')\n"
    )
    for word in ("one", "two"):
        await bench.call("go", word, env=of_run(bench))
        assert bench.output.rstrip().endswith(f"INFO says {word}")
        assert bench.output.count("says") == 1
    await bench.call("configured", env=of_run(bench))
    assert bench.output == "own once\n"


@staged
async def test_function_that_asks_whether_to_stop_survives_the_signal(bench: Bench) -> None:
    bench.write(
        "import os, time\n"
        "from jobctl import current\n"
        "def go():\n"
        "    run = current()\n"
        "    first = run.should_stop()\n"
        "    open('here', 'w').close()\n"
        "    while not run.should_stop(): time.sleep(0.001)\n"
        "    return [first, 'tidy']\n"
        "def waits():\n"
        "    open('there', 'w').close()\n"
        "    time.sleep(60)\n"
    )
    for number in (signal.SIGTERM, signal.SIGUSR1):
        limits = {} if number == signal.SIGTERM else {"stop_signal": int(number)}
        (bench.cwd / "here").unlink(missing_ok=True)
        child = bench.child or bench.start()
        call = _begin(bench, "go", limits=limits)
        await until((bench.cwd / "here").exists)
        os.kill(child.pid, number)
        assert json.loads((await call).result) == [False, "tidy"]
    # The next call knows nothing of it, and is ended by the signal as ever.
    call = _begin(bench, "waits")
    await until((bench.cwd / "there").exists)
    os.kill(child.pid, signal.SIGTERM)
    with pytest.raises(Exception, match="ended"):
        await call
    assert os.WTERMSIG(bench.reap()) == signal.SIGTERM


def _begin(bench: Bench, target: str, **fields: Any) -> Any:
    return asyncio.ensure_future(bench.call(target, **fields))


@every_python
@staged
async def test_soft_timeout_is_raised_inside_the_function(bench: Bench) -> None:
    bench.write(
        "import asyncio, time\n"
        "from jobctl import SoftTimeout, current\n"
        "def tidy():\n"
        "    try: time.sleep(60)\n"
        "    except SoftTimeout as error: return [str(error), current().should_stop()]\n"
        "def spins():\n"
        "    while True: pass\n"
        "async def tidy_later():\n"
        "    try: await asyncio.sleep(60)\n"
        "    except SoftTimeout: await asyncio.sleep(0); return 'tidy'\n"
        "async def waits(): await asyncio.gather(asyncio.sleep(60), asyncio.sleep(61))\n"
        "def quick(): return 1\n"
    )
    limits = {"soft_timeout": 0.05}
    reply = await bench.call("tidy", limits=limits)
    assert json.loads(reply.result) == ["soft_timeout of 0.05 s has passed", True]
    reply = await bench.call("spins", limits=limits)
    assert (reply.reason, reply.exception) == (Reason.TIMEOUT, "jobctl.SoftTimeout")
    assert "in spins" in reply.traceback
    assert "python_stop" not in reply.traceback
    reply = await bench.call("tidy_later", limits=limits)
    assert (reply.error, reply.result) == (None, '"tidy"')
    reply = await bench.call("waits", limits=limits)
    assert (reply.reason, reply.exception) == (Reason.TIMEOUT, "jobctl.SoftTimeout")
    assert (await bench.call("quick", limits=limits)).result == "1"
    assert bench.child.calls == 5  # in the same interpreter


@every_python
@staged
async def test_import_that_is_interrupted_inside_a_function_costs_the_interpreter(
    bench: Bench,
) -> None:
    bench.write("def go():\n    import slow\ndef quick(): return 1\n")
    bench.write("import time\ntime.sleep(60)\n", name="slow.py")
    assert (await bench.call("quick")).recycle is None
    reply = await bench.call("go", limits={"soft_timeout": 0.05})
    assert reply.reason is Reason.TIMEOUT
    assert "an import was interrupted" in reply.recycle


@every_python
@staged
async def test_traceback_has_causes_notes_and_members_of_groups(bench: Bench) -> None:
    bench.write(
        "def go():\n"
        "    try: {}['key']\n"
        "    except KeyError as error: raise ValueError('unknown') from error\n"
        "def notes():\n"
        "    error = ValueError('noted'); error.add_note('while paying'); raise error\n"
        "def group(): raise ExceptionGroup('both', [ValueError('one'), OSError('two')])\n"
        "def deep(): raise ValueError('x' * 50_000)\n"
    )
    reply = await bench.call("go")
    assert "KeyError: 'key'" in reply.traceback
    assert "direct cause" in reply.traceback
    assert reply.traceback.endswith("ValueError: unknown")
    assert reply.traceback in bench.output
    reply = await bench.call("deep")
    assert len(reply.traceback) < 8300
    assert "characters left out" in reply.traceback
    assert len(bench.output) > 50_000
    if "3.9" not in bench.key.interpreter and "3.10" not in bench.key.interpreter:
        assert "while paying" in (await bench.call("notes")).traceback
        reply = await bench.call("group")
        assert "ValueError: one" in reply.traceback
        assert "OSError: two" in reply.traceback


@staged
async def test_expected_exceptions_take_one_line(bench: Bench) -> None:
    bench.write(
        "class OutOfStock(LookupError): pass\n"
        "class SoldOut(OutOfStock): pass\n"
        "def go(): raise SoldOut('no 42 left')\n"
    )
    for name in ("jobs.SoldOut", "jobs.OutOfStock", "OutOfStock", "LookupError"):
        reply = await bench.call("go", limits={"expected": [name]})
        assert reply.reason is Reason.EXCEPTION
        assert (reply.error, reply.traceback) == ("jobs.SoldOut: no 42 left", None)
        assert bench.output == "jobctl: jobs.SoldOut: no 42 left\n"
    reply = await bench.call("go", limits={"expected": ["KeyError"]})
    assert reply.traceback is not None


@staged
async def test_exception_is_kept_when_the_job_broke_its_stderr(bench: Bench) -> None:
    bench.write(
        "import sys\n"
        "class Broken:\n"
        "    def write(self, text): raise RuntimeError('no')\n"
        "def go(): sys.stderr = Broken(); raise ValueError('why')\n"
    )
    reply = await bench.call("go")
    assert reply.exception == "ValueError"
    assert "ValueError: why" in bench.output
    assert "Broken" in reply.recycle


def test_outside_of_a_run_there_is_none() -> None:
    with pytest.raises(context.NotRunning, match=r"current\(None\)"):
        context.current()
    assert context.current(None) is None


def test_a_run_can_be_bound_for_a_test_of_a_job() -> None:
    class Link:
        def __init__(self) -> None:
            self.said: list[object] = []

        def progress(self, percent: float, message: str) -> None:
            self.said.append((percent, message))

        def ask(self, question: dict[str, Any]) -> dict[str, Any]:
            self.said.append(question)
            return {"yes": True, "id": "new"}

        def stopping(self) -> bool:
            return True

    link = Link()
    with context.bound(context.RunContext(link, id="r", job="j")) as run:
        assert context.current() is run
        run.progress(5, "begun")
        assert run.should_stop()
        assert run.once("k", ttl="1h")
        assert run.submit("other", 1, width=2, _in="1m", _id="key") == "new"
        with run.finish_once("k") as mine:
            assert mine
    assert context.current(None) is None
    assert link.said[0] == (5.0, "begun")
    assert link.said[1] == {"run": "r", "ask": "once", "step": "first", "key": "k", "ttl": 3600.0}
    assert link.said[2] == {
        "run": "r", "ask": "submit", "job": "other", "args": (1,), "kwargs": {"width": 2},
        "with": {"in": 60.0, "id": "key"},
    }  # fmt: skip
    assert [one["step"] for one in link.said[3:]] == ["begin", "finish"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, r"argument 1: a set cannot be passed as it is"),
        ([{"a": b"x"}], r"argument 1\[0\]\['a'\]: a bytes cannot be passed as it is"),
        ({"a": {1: 2}}, r"argument 1\['a'\]: the key 1 is no text"),
        (dt.date(2026, 1, 2), "argument 1: a date cannot be passed as it is"),
    ],
)
def test_submit_of_a_run_takes_what_a_client_takes(value: object, words: str) -> None:
    class Link:
        def ask(self, question: dict[str, Any]) -> dict[str, Any]:
            return {"id": "new"} if question["ask"] == "submit" else {}

    run = context.RunContext(Link(), id="r", job="j")  # type: ignore[arg-type]
    with pytest.raises(context.AskError, match=words):
        run.submit("other", value)
    with pytest.raises(context.AskError, match=words.replace("argument 1", "given")):
        run.submit("other", given=value)
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(context.AskError, match="nested too deeply"):
        run.submit("other", loop)
    assert run.submit("other", [1, 2.5, None, True, (), {"a": {"b": "c"}}]) == "new"


def test_names_for_jobs_cost_nothing_until_they_are_used() -> None:
    program = """
import sys, jobctl
print("jobctl.context" in sys.modules)
jobctl.Retry
print("jobctl.context" in sys.modules, "logging" in sys.modules)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "True", "False"]


@every_python
@staged
async def test_function_that_closes_descriptors_of_its_interpreter_is_told_so(
    bench: Bench,
) -> None:
    bench.write("import os\ndef go(): os.closerange(3, 200)\n")
    with pytest.raises(ChildDiedError):
        await bench.call("go")
    await until(lambda: "has closed descriptors of its interpreter" in bench.output)
    assert "Traceback" not in bench.output
