from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from python_children import VERSIONS, Bench, find_python, staged, until

from jobctl.engine.python_host import ChildDiedError, PythonCall, StaleChildError
from jobctl.engine.python_spawn import CHILD_FILE
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


@every_python
@staged
async def test_function_returns_its_value_and_prints_to_the_log(bench: Bench) -> None:
    bench.write(
        "import sys\n"
        "def add(a, *, b):\n"
        "    print('out'); print('err', file=sys.stderr); print('no newline', end='')\n"
        "    return {'sum': a + b}\n"
    )
    reply = await bench.call("add", 2, kwargs={"b": 3})
    assert reply.ok
    assert json.loads(reply.result) == {"sum": 5}
    assert bench.output == "out\nerr\nno newline"
    assert (reply.exit_code, reply.recycle, reply.error) == (None, None, None)


@every_python
@staged
async def test_exception_is_shown_without_frames_of_jobctl(bench: Bench) -> None:
    bench.write(
        "class Trouble(ConnectionError): pass\n"
        "def fail(): deeper()\n"
        "def deeper(): raise Trouble('no route')\n"
    )
    reply = await bench.call("fail")
    assert reply.reason is Reason.EXCEPTION
    assert reply.exception == "jobs.Trouble"
    assert reply.bases[:3] == ("jobs.Trouble", "ConnectionError", "OSError")
    assert reply.error.splitlines()[-1] == "jobs.Trouble: no route"
    assert "in deeper" in reply.error
    assert "in fail" in bench.output
    assert "in deeper" in bench.output
    assert bench.output.splitlines()[-1] == "jobs.Trouble: no route"
    assert "python_child" not in bench.output
    assert "importlib" not in bench.output


@every_python
@staged
async def test_error_at_import_shows_only_the_module(bench: Bench) -> None:
    bench.write("def go(:\n", "broken.py")
    bench.write("import broken\n")
    reply = await bench.call("go")
    assert reply.exception == "SyntaxError"
    assert "importlib" not in bench.output
    assert "python_child" not in bench.output
    assert 'jobs.py", line 1' in bench.output


@every_python
@staged
async def test_coroutine_function_is_awaited(bench: Bench) -> None:
    bench.write(
        "import asyncio\n"
        "async def wait(n):\n"
        "    await asyncio.sleep(0)\n"
        "    if n: raise KeyError(n)\n"
        "    return 'waited'\n"
    )
    assert (await bench.call("wait", 0)).result == '"waited"'
    reply = await bench.call("wait", 7)
    assert reply.exception == "KeyError"
    assert "asyncio" not in bench.output.replace("import asyncio", "")


HOSTILE = (
    "def bad(self, *_): raise SystemExit(0)\n"
    "class Notes(Exception): __notes__ = property(bad)\n"
    "class Cause(Exception): __cause__ = property(bad)\n"
    "class Context(Exception): __context__ = property(bad)\n"
    "class Trace(Exception): __traceback__ = property(bad)\n"
    "class Class(Exception): __class__ = property(bad)\n"
    "class Text(Exception): __str__ = bad\n"
    "class With(Exception): with_traceback = bad\n"
    "class Code(SystemExit): code = property(bad)\n"
    "class Obj:\n    __str__ = __repr__ = __format__ = bad\n"
    "class Names(type): __getattribute__ = bad\n"
    "class Module(Exception): __module__ = property(bad)\n"
    "class Meta(Exception, metaclass=Names): pass\n"
    "class Value: __class__ = property(bad)\n"
    "def go(name):\n"
    "    if name == 'Obj': raise SystemExit(Obj())\n"
    "    if name == 'Key': raise KeyError(Obj())\n"
    "    raise globals()[name]()\n"
)
"""Exceptions that do harm when they are looked at."""


@pytest.mark.parametrize(
    ("name", "exception"),
    [
        *((name, f"jobs.{name}") for name in ("Notes", "Cause", "Context", "Trace", "Class")),
        *((name, f"jobs.{name}") for name in ("Text", "With", "Code", "Meta")),
        ("Module", "Module"),
        ("Obj", "SystemExit"),
        ("Key", "KeyError"),
    ],
)
@every_python
@staged
async def test_exception_that_cannot_be_looked_at_is_one_all_the_same(
    bench: Bench, name: str, exception: str
) -> None:
    bench.write(HOSTILE)
    reply = await bench.call("go", name)
    assert (reply.reason, reply.exception) == (Reason.EXCEPTION, exception)
    assert (reply.exit_code, reply.bases[0]) == (None, exception)
    assert exception in reply.error
    assert exception in bench.output
    again = await bench.call("go", name)
    assert again.reason is Reason.EXCEPTION
    assert len(bench.children) == 1


@every_python
@staged
async def test_long_error_keeps_place_class_and_beginning_of_the_message(bench: Bench) -> None:
    bench.write(
        "def go(): raise LookupError('begins ' + 'x' * 9000 + ' ends')\n"
        f"def wide(): raise LookupError('begins') {' ' * 9000} # far\n"
    )
    error = (await bench.call("go")).error
    assert len(error) < 4200
    assert "jobs.py" in error.splitlines()[0]
    assert "\nLookupError: begins xxx" in error
    assert error.endswith("xxx ends")
    error = (await bench.call("wide")).error
    assert error.splitlines()[-1] == "LookupError: begins"


@every_python
@staged
async def test_result_that_ends_the_program_when_looked_at_cannot_be_kept(bench: Bench) -> None:
    bench.write(HOSTILE + "def give(): return Value()\n")
    reply = await bench.call("give")
    assert (reply.reason, reply.exit_code) == (Reason.RESULT, None)
    assert "cannot be stored" in reply.error
    assert "cannot be stored" in bench.output


@every_python
@pytest.mark.parametrize(
    ("code", "reason", "exit_code", "output"),
    [
        ("", None, 0, ""),
        ("0", None, 0, ""),
        ("3", Reason.EXIT, 3, ""),
        ("257", Reason.EXIT, 1, ""),
        ("True", Reason.EXIT, 1, ""),
        ("-1", Reason.EXIT, 255, ""),
        ("2**80", Reason.EXIT, 255, ""),
        ("-(2**63) - 1", Reason.EXIT, 255, ""),
        ("'bad input'", Reason.EXIT, 1, "bad input\n"),
    ],
)
@staged
async def test_exit_means_what_it_means_in_a_script(
    bench: Bench, code: str, reason: Reason | None, exit_code: int, output: str
) -> None:
    bench.write(f"import sys\ndef go(): sys.exit({code})\n")
    reply = await bench.call("go")
    assert (reply.reason, reply.exit_code, bench.output) == (reason, exit_code, output)


@every_python
@staged
async def test_results_may_hold_values_json_does_not_know(bench: Bench) -> None:
    bench.write(
        "import collections, dataclasses, datetime, decimal, enum, pathlib, uuid\n"
        "class Colour(enum.Enum): RED = 'red'\n"
        "@dataclasses.dataclass\n"
        "class Point:\n    x: int\n    when: datetime.date\n"
        "def go():\n"
        "    when = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc)\n"
        "    return [when, when.date(), when.time(), datetime.timedelta(minutes=1),\n"
        "      uuid.UUID(int=1), decimal.Decimal('1.10'), b'\\xff', bytearray(b'a'),\n"
        "      pathlib.Path('/x'), {3, 1}, Colour.RED, Point(1, when.date()),\n"
        "      collections.deque([1]), (1, 2), 'ü', '\\ud800', {1: None}]\n"
    )
    reply = await bench.call("go")
    assert json.loads(reply.result) == [
        *("2026-01-02T03:04:00+00:00", "2026-01-02", "03:04:00", 60.0),
        *("00000000-0000-0000-0000-000000000001", "1.10", "/w==", "YQ=="),
        *("/x", [1, 3], "red", {"x": 1, "when": "2026-01-02"}),
        *([1], [1, 2], "ü", "\ud800", {"1": None}),
    ]


@every_python
@staged
async def test_what_a_job_changes_is_put_back(bench: Bench) -> None:
    bench.write(
        "import io, os, signal, sys\n"
        "def spoil():\n"
        "    os.environ['EXTRA'] = 'x'; del os.environ['HOME']; os.chdir('/'); os.umask(0o777)\n"
        "    signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "    signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.alarm(1000)\n"
        "    signal.setitimer(signal.ITIMER_PROF, 1000)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])\n"
        "    os.kill(os.getpid(), signal.SIGUSR2)\n"
        "    sys.stdout = io.StringIO(); print('swallowed'); sys.stderr.close(); os.close(1)\n"
        "    sys.argv.append('more')\n"
        "def look():\n"
        "    mask = os.umask(0); os.umask(mask)\n"
        "    print('seen'); print('seen too', file=sys.stderr)\n"
        "    return [os.environ.get('EXTRA'), os.environ['HOME'], os.getcwd(), mask, sys.argv,\n"
        "      signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,\n"
        "      signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL, signal.alarm(0),\n"
        "      signal.getitimer(signal.ITIMER_PROF), len(signal.pthread_sigmask(0, []))]\n"
    )
    clean = (await bench.call("look")).result
    assert (await bench.call("spoil")).recycle is None
    assert (await bench.call("look")).result == clean
    assert bench.output == "seen\nseen too\n"
    assert json.loads(clean)[2] == str(bench.cwd)


@pytest.mark.parametrize(
    "wrapper",
    [
        "io.TextIOWrapper(sys.stdout.buffer, 'utf-8')",
        "codecs.getwriter('utf-8')(sys.stdout.buffer)",
        "io.TextIOWrapper(sys.stdout.detach(), 'utf-8')",
        "open(1, 'w', closefd=True)",
        "None",
    ],
)
@staged
async def test_replaced_stdout_does_not_outlive_its_run(bench: Bench, wrapper: str) -> None:
    bench.write(
        "import codecs, io, sys\n"
        f"def go():\n    sys.stdout = {wrapper}\n    print('kept')\n"
        "def after(): print('after')\n"
    )
    assert (await bench.call("go")).ok
    assert bench.output == ("" if wrapper == "None" else "kept\n")
    for _ in range(3):
        assert (await bench.call("after")).ok
        assert bench.output == "after\n"


@staged
async def test_output_of_logging_and_of_subprocesses_is_in_the_log(bench: Bench) -> None:
    bench.write(
        "import logging, logging.handlers, subprocess\n"
        "stream = logging.StreamHandler()\n"
        "logging.getLogger().addHandler(logging.handlers.MemoryHandler(99, target=stream))\n"
        "def go(n):\n"
        "    logging.getLogger('x').warning('logged %s', n)\n"
        "    subprocess.run(['echo', f'child {n}'], check=True)\n"
    )
    for number in (1, 2):
        await bench.call("go", number)
        assert bench.output == f"child {number}\nlogged {number}\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("object()", "it holds a value of type object"),
        ("float('nan')", "not JSON compliant"),
        ("{(1, 2): 3}", "keys must be str"),
        ("(n for n in ())", "it holds a value of type generator"),
        ("loop", "Circular reference"),
        ("{1: 'a', '1': 'b'}", "the keys 1 and '1' of a dict are both '1' in it"),
        ("[{'a': ({None: 1, 'null': 2},)}]", "the keys None and 'null'"),
        ("__import__('collections').deque([{True: 1, 'true': 2}])", "the keys True and 'true'"),
        ("'x' * 2000", "the result is 2002 bytes of JSON, the limit is 1000"),
    ],
)
@staged
async def test_result_that_cannot_be_kept_is_explained(
    bench: Bench, value: str, message: str
) -> None:
    bench.write(f"loop = []\nloop.append(loop)\ndef go(): return {value}\ndef fine(): return 1\n")
    reply = await bench.call("go", max_result=1000)
    assert reply.reason is Reason.RESULT
    assert message in reply.error
    assert message in bench.output
    assert (reply.result, (await bench.call("fine")).result) == (None, "1")


@staged
async def test_numbers_that_are_keys_of_a_result_become_texts(bench: Bench) -> None:
    bench.write("def go(): return [{7: {2.5: 'a', 'b': 1}, None: [{}]}, {False: 0}]\n")
    assert (await bench.call("go")).result == '[{"7":{"2.5":"a","b":1},"null":[{}]},{"false":0}]'


@staged
async def test_large_arguments_and_results_pass(bench: Bench) -> None:
    bench.write("def go(text): return text + '!'\n")
    text = "ü" * 5_000_000
    reply = await bench.call("go", text, max_result=20_000_000)
    assert reply.result == f'"{text}!"'


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:go", "no module 'nowhere' for 'nowhere:go'"),
        ("jobs.sub:go", "no module 'jobs.sub'"),
        ("jobs:missing", "no function 'missing' in 'jobs'"),
        ("jobs:VALUE", "no function 'VALUE' in 'jobs'"),
    ],
)
@staged
async def test_missing_function_is_told_from_a_failing_one(
    bench: Bench, target: str, message: str
) -> None:
    bench.write("VALUE = 1\n")
    reply = await bench.call(target)
    assert reply.reason is Reason.SPAWN
    assert message in reply.error
    assert message in bench.output


@staged
async def test_module_missing_inside_the_job_is_an_exception(bench: Bench) -> None:
    bench.write("import nowhere\n")
    assert (await bench.call("go")).exception == "ModuleNotFoundError"


@staged
async def test_method_of_a_class_can_be_called(bench: Bench) -> None:
    bench.write("class Mail:\n    @staticmethod\n    def send(): return 'sent'\n")
    assert (await bench.call("Mail.send")).result == '"sent"'


@staged
async def test_directory_that_is_gone_is_not_a_failure_of_the_job(bench: Bench) -> None:
    bench.write("def go(): return 1\n")
    reply = await bench.call("go", cwd=str(bench.directory / "gone"))
    assert reply.reason is Reason.SPAWN
    assert "gone" in reply.error
    assert (await bench.call("go")).result == "1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class Retry(Exception):\n    in_ = 2.5", (Reason.EXCEPTION, 2.5, False, False)),
        (
            "class Retry(Exception):\n    in_ = timedelta(minutes=1)",
            (Reason.EXCEPTION, 60.0, False, False),
        ),
        ("class Skip(Exception): pass", (Reason.EXCEPTION, None, True, False)),
        ("class Fatal(Exception): pass", (Reason.EXCEPTION, None, False, True)),
    ],
)
@staged
async def test_exceptions_of_jobctl_are_known_by_their_names(
    bench: Bench, source: str, expected: tuple[object, ...]
) -> None:
    name = source.split()[1].partition("(")[0]
    bench.write(f"from datetime import timedelta\n{source}\n", "jobctl.py")
    bench.write(
        f"import jobctl\nclass Mine(jobctl.{name}): pass\ndef go(): raise Mine('because')\n"
    )
    reply = await bench.call("go")
    assert (reply.reason, reply.retry_in, reply.skip, reply.fatal) == expected
    assert "because" in reply.error
    assert "because" in bench.output


@staged
async def test_stdin_is_the_given_text_or_empty(bench: Bench) -> None:
    bench.write("import sys\ndef go(): return sys.stdin.read()\n")
    assert (await bench.call("go", stdin="a\nü\n")).result == '"a\\nü\\n"'
    assert (await bench.call("go")).result == '""'
    assert (await bench.call("go", stdin="again")).result == '"again"'


@staged
async def test_time_zone_of_the_call_is_in_force(bench: Bench) -> None:
    bench.write("import time\ndef go(): return time.strftime('%z', time.localtime(0))\n")
    for zone, offset in (("UTC", "+0000"), ("Asia/Tokyo", "+0900"), ("UTC", "+0000")):
        reply = await bench.call("go", env={**bench.env, "TZ": zone})
        assert reply.result == f'"{offset}"'


@staged
async def test_usage_is_that_of_the_call_alone(bench: Bench) -> None:
    bench.write(
        "import subprocess, sys, time\n"
        "def big():\n    data = bytearray(80_000_000)\n    time.sleep(0.01)\n"
        "def burn():\n    end = time.process_time() + 0.1\n    while time.process_time() < end: pass\n"
        "def small(): time.sleep(0.01)\n"
    )
    big = await bench.call("big")
    burnt = await bench.call("burn")
    small = await bench.call("small")
    assert big.usage.max_rss > 80_000_000 > small.usage.max_rss > 1_000_000
    assert 0 < big.rss < 80_000_000
    assert burnt.usage.user + burnt.usage.system >= 0.09
    assert small.usage.user + small.usage.system < 0.09
    assert small.duration >= 0.01
    assert small.started_at > burnt.started_at > 0


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("os._exit(9)", 9 << 8),
        ("ctypes.string_at(0)", signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGTERM)", signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGINT)", signal.SIGINT),
        ("raise KeyboardInterrupt", signal.SIGINT),
    ],
)
@staged
async def test_death_is_told_with_the_output_kept(bench: Bench, source: str, status: int) -> None:
    bench.write(f"import ctypes, os, signal\ndef go():\n    print('so far')\n    {source}\n")
    with pytest.raises(ChildDiedError) as caught:
        await bench.call("go")
    assert caught.value.started
    assert bench.reap() & 0xFF7F == status
    assert bench.output.startswith("so far\n")


@staged
async def test_job_may_handle_the_stop_signal(bench: Bench) -> None:
    bench.write(
        "import os, signal\n"
        "def go():\n"
        "    seen = []\n"
        "    signal.signal(signal.SIGTERM, lambda *_: seen.append('stopped'))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return seen\n"
    )
    assert (await bench.call("go")).result == '["stopped"]'


@staged
async def test_interrupt_between_calls_is_ignored(bench: Bench) -> None:
    bench.write("def go(): return 1\n")
    await bench.call("go")
    os.kill(bench.child.pid, signal.SIGINT)
    assert (await bench.call("go")).result == "1"


@pytest.mark.parametrize("end", ["return", "raise ValueError", "sys.exit(4)"])
@staged
async def test_forked_copy_ends_where_the_function_ends(bench: Bench, end: str) -> None:
    code = {"return": 0, "raise ValueError": 1, "sys.exit(4)": 4}[end]
    bench.write(
        "import os, sys\n"
        "def go():\n"
        "    pid = os.fork()\n"
        f"    if not pid: {end}\n"
        "    return os.waitpid(pid, 0)[1] >> 8\n"
    )
    assert (await bench.call("go")).result == str(code)
    assert (await bench.call("go")).result == str(code)


@staged
async def test_death_is_seen_although_a_copy_lives_on(bench: Bench) -> None:
    bench.write(
        "import os, signal\n"
        "def go():\n"
        "    ready, told = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if not pid:\n        os.write(told, b'x'); signal.pause()\n"
        "    os.read(ready, 1); print(pid, flush=True); os._exit(3)\n"
    )
    try:
        with pytest.raises(ChildDiedError):
            await bench.call("go")
    finally:
        os.kill(int(bench.output), signal.SIGKILL)


@staged
async def test_multiprocessing_works_in_a_job(bench: Bench) -> None:
    bench.write(
        "import multiprocessing\n"
        "def double(n): return 2 * n\n"
        "def go(how):\n"
        "    with multiprocessing.get_context(how).Pool(1) as pool: return pool.map(double, [1, 2])\n"
    )
    assert (await bench.call("go", "fork")).result == "[2,4]"
    assert (await bench.call("go", "spawn")).result == "[2,4]"


@staged
async def test_threads_left_behind_spoil_the_child(bench: Bench) -> None:
    bench.write(
        "import threading\n"
        "def go(): threading.Thread(target=threading.Event().wait, name='stuck').start()\n"
        "def fine(): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    assert (await bench.call("fine")).recycle is None
    reply = await bench.call("go")
    assert reply.ok
    assert "stuck" in reply.recycle
    with pytest.raises(StaleChildError):
        await bench.call("fine")
    bench.child.close()
    assert bench.reap() == 0


@staged
async def test_change_of_any_module_is_seen_by_the_next_call(bench: Bench) -> None:
    bench.write("import other\ndef go(): return other.VALUE\n")
    other = bench.write("VALUE = 1\n", "other.py")
    for _ in range(3):
        assert (await bench.call("go")).result == "1"
    other.write_text("VALUE = 22\n")
    saved = time.monotonic()
    await until(lambda: time.monotonic() - saved > 0.02)  # nobody submits a run sooner
    with pytest.raises(StaleChildError, match=r"other\.py has changed"):
        await bench.call("go")
    bench.child.close()
    bench.reap()
    bench.start()
    assert (await bench.call("go")).result == "22"


@staged
async def test_module_that_appears_later_is_found(bench: Bench) -> None:
    bench.write("def go(): return 1\n")
    await bench.call("go")
    assert (await bench.call("late:go")).reason is Reason.SPAWN
    bench.write("def go(): return 2\n", "late.py")
    assert (await bench.call("late:go")).result == "2"


@staged
async def test_same_module_name_elsewhere_is_another_module(bench: Bench) -> None:
    bench.write("def go(): return 'app'\n")
    elsewhere = bench.directory / "elsewhere"
    bench.write("def go(): return 'elsewhere'\n", "../elsewhere/jobs.py")
    assert (await bench.call("go")).result == '"app"'
    with pytest.raises(StaleChildError):
        await bench.call("go", cwd=str(elsewhere))
    assert (await bench.call("go")).result == '"app"'


@staged
async def test_python_path_of_the_call_is_searched(bench: Bench) -> None:
    bench.write("def go(): return 'lib'\n", "lib/found.py")
    reply = await bench.call("found:go", env={**bench.env, "PYTHONPATH": "lib"})
    assert reply.result == '"lib"'
    with pytest.raises(StaleChildError):
        await bench.call("found:go")


@staged
async def test_nothing_of_jobctl_is_on_the_search_path(bench: Bench) -> None:
    bench.write(
        "import sys\ndef go(): return [sys.path, sys.modules['__main__'].__dict__.get('main')]\n"
    )
    path, main = json.loads((await bench.call("go")).result)
    assert path[0] == str(bench.cwd)
    assert str(CHILD_FILE.parent) not in path
    assert "" not in path
    assert main is None


@staged
async def test_standard_library_is_not_taken_from_the_job(bench: Bench) -> None:
    bench.write("raise SystemExit('shadowed')\n", "json.py")
    bench.write("def go(): return 1\n")
    assert (await bench.call("go")).result == "1"


@staged
async def test_progress_arrives_while_the_call_runs(bench: Bench) -> None:
    bench.write(
        "import sys\n"
        "def go():\n"
        "    sys.modules['_jobctl_child'].CHILD.progress(40, 'resizing')\n"
        "    with open('../progress') as file: file.read()\n"
    )
    os.mkfifo(bench.directory / "progress")
    running = asyncio.ensure_future(bench.call("go"))
    await until(lambda: bench.progress)
    assert bench.progress == [(40.0, "resizing")]
    assert not running.done()
    (bench.directory / "progress").write_text("go on")
    assert (await running).ok


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))", "resource limits"),
        ("resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))", "resource limits"),
        ("resource.prlimit(0, resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))", "resource limits"),
        ("resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))", "resource limits"),
        ("os.nice(1)", "priority"),
        ("os.setpriority(os.PRIO_PROCESS, 0, os.nice(0) + 1)", "priority"),
        ("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))", "priority"),
        ("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", "CPUs"),
    ],
)
@staged
async def test_limits_a_function_sets_on_its_process_end_with_it(
    bench: Bench, change: str, why: str
) -> None:
    if why == "CPUs" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("there is one CPU, and so nothing to leave out")
    bench.write(f"import os, resource\ndef look(): pass\ndef go(): {change}\n")
    assert (await bench.call("look")).recycle is None
    reply = await bench.call("go")
    assert reply.ok
    assert why in (reply.recycle or "")
    with pytest.raises(StaleChildError, match=why):
        await bench.call("look")


@staged
async def test_limits_of_processes_that_a_function_starts_are_theirs_alone(bench: Bench) -> None:
    bench.write(
        "import os, resource, subprocess\n"
        "def lower(): os.nice(1); resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))\n"
        "def go():\n"
        "    with subprocess.Popen('read line', shell=True, stdin=-1, preexec_fn=lower) as more:\n"
        "        resource.prlimit(more.pid, resource.RLIMIT_NOFILE, (200, 300))\n"
        "        more.communicate(b'\\n')\n"
        "    return more.returncode\n"
    )
    reply = await bench.call("go")
    assert (reply.result, reply.recycle) == ("0", None)


@staged
async def test_disk_without_room_spoils_the_child(bench: Bench) -> None:
    bench.write("def go(): print('x' * 10, end='')\n\n")
    fd = os.open("/dev/full", os.O_WRONLY)
    call = PythonCall(run_id="r", target="jobs:go", env=bench.env, cwd=str(bench.cwd))
    reply = await bench.start().call(call, log_fd=fd)
    os.close(fd)
    assert "could not be written" in reply.recycle


@pytest.mark.parametrize("version", VERSIONS)
def test_child_imports_little_of_the_standard_library(version: str) -> None:
    interpreter = find_python(version)
    if interpreter is None:
        pytest.skip(f"no Python {version} on PATH or in pyenv")
    program = (
        "import sys; before = set(sys.modules)\n"
        "from importlib.machinery import SourceFileLoader as Loader\n"
        f"code = Loader('_c', {str(CHILD_FILE)!r}).get_code('_c')\n"
        "exec(code, {'__name__': '_c', '__file__': ''}); print(*sys.modules)"
    )
    said = subprocess.run(
        [interpreter, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"asyncio", "typing", "dataclasses", "inspect", "socket", "traceback", "threading"}
    assert not heavy & set(said.stdout.split())


@every_python
@staged
async def test_call_whose_log_cannot_be_taken_begins_in_another_interpreter(bench: Bench) -> None:
    bench.write("""
import os
KEPT = []
def leaves():
    try:
        while True:
            KEPT.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return len(KEPT) > 100
def says(): print("here")
""")
    assert (await bench.call("leaves")).result == "true"
    with pytest.raises(StaleChildError, match="no descriptors left"):
        await bench.call("says")
