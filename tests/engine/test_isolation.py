"""What one run does to its interpreter and the next one finds: in a bundle, and one at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from python_bundler import MORE, RESULT, Bundler
from python_children import VERSIONS, find_python, staged

from jobctl.engine import python_child

if TYPE_CHECKING:
    from pathlib import Path


class Stage(Bundler):
    """Plays runs of ``jobs`` in one interpreter, in one of two ways."""

    def __init__(self, directory: Path, interpreter: str, *, together: bool) -> None:
        super().__init__(directory, interpreter)
        self.together = together
        self.said: list[str] = []
        """The logs of the last runs."""
        self.retired: str | None = None
        """Why the interpreter takes no more, if so."""

    async def play(self, *names: str) -> list[Any]:
        """Return the results of functions without arguments, called one after the other."""
        if self.together:
            return await self._play_together(names)
        results, self.said = [], []
        for name in names:
            reply = await self.call(name)
            assert reply.error is None, reply.error
            self.retired = reply.recycle
            self.said.append(self.output)
            results.append(json.loads(reply.result or "null"))
        return results

    async def _play_together(self, names: tuple[str, ...]) -> list[Any]:
        answers = await self.bundle(*((name, []) for name in names))
        assert self.end is not None
        self.retired = self.end.result()["retired"]
        assert [answer[MORE] for answer in answers] == [None] * len(answers)
        (self.directory / "spool").rename(self.directory / "last")
        logs = [self.directory / "logs" / f"r{n}.1.log" for n in range(len(names) - 1)]
        logs.append(self.directory / "last")
        self.said = [path.read_text() if path.exists() else "" for path in logs]
        for path in logs:
            path.unlink(missing_ok=True)
        return [answer[RESULT] and json.loads(answer[RESULT]) for answer in answers]


@pytest.fixture(params=[True, False], ids=["in a bundle", "alone"])
def together(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=VERSIONS)
def bench(tmp_path: Path, request: pytest.FixtureRequest, *, together: bool) -> Stage:
    interpreter = find_python(request.param)
    if interpreter is None:
        pytest.skip(f"no Python {request.param} here")
    return Stage(tmp_path, interpreter, together=together)


@staged
async def test_variables_set_behind_the_back_of_python_end_with_their_run(bench: Stage) -> None:
    bench.write("""
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
def below():
    said = subprocess.run(["/usr/bin/printenv"], stdout=subprocess.PIPE).stdout.decode()
    return sorted(line for line in said.splitlines() if line.startswith(("LEFT", "HOME")))
def puts():
    os.putenv("LEFT_BY_PUTENV", "1")
def sets():
    libc.setenv(b"LEFT_BY_C", b"1", 1)
    libc.setenv(b"HOME", b"elsewhere", 1)
def clears():
    libc.clearenv()
    libc.setenv(b"LEFT_ALONE", b"1", 1)
""")
    found = await bench.play("below", "puts", "below", "sets", "below", "clears", "below", "below")

    assert found[::2] + found[-1:] == [[f"HOME={bench.directory}"]] * 5
    assert not bench.retired


@staged
async def test_output_that_c_keeps_back_is_in_the_log_of_its_run(bench: Stage) -> None:
    bench.write("""
import ctypes
libc = ctypes.CDLL(None)
def says():
    libc.printf(b"said in C")
def silent(): pass
""")
    for _ in range(2):
        await bench.play("says", "silent", "says", "silent")
        assert bench.said == ["said in C", "", "said in C", ""]


THREADS = """
import logging, threading, time
logging.basicConfig(format="%(message)s")
go, done = threading.Event(), threading.Event()
def talk():
    go.wait()
    HOW
    done.set()
def leaves():
    threading.Thread(target=talk, name="talker", daemon=True).start()
def wakes():
    print("mine")
    go.set()
    done.wait()
def silent(): pass
"""


@pytest.mark.parametrize(
    "how", ["print('not yours', flush=True)", "logging.warning('not yours')"], ids=["print", "log"]
)
@staged
async def test_daemon_thread_that_talks_into_another_run_is_left_out_and_ends_its_interpreter(
    bench: Stage, how: str
) -> None:
    bench.write(THREADS.replace("HOW", how))
    await bench.play("leaves", "silent", "wakes")

    assert "mine" in bench.said[-1]
    assert "not yours" not in "".join(bench.said)
    assert "'talker', a thread that an earlier run left" in bench.said[-1]
    assert "talker" in (bench.retired or "")


@staged
async def test_daemon_thread_of_a_module_talks_into_any_run(bench: Stage) -> None:
    """As those of a pool of threads that it keeps: who they work for cannot be told."""
    bench.write(THREADS.replace("HOW", "print('theirs', flush=True)") + "\nleaves()\n")
    await bench.play("silent", "wakes")

    assert sorted(bench.said[-1].split()) == ["mine", "theirs"]
    assert not bench.retired


@staged
async def test_silent_daemon_threads_keep_their_interpreter(bench: Stage) -> None:
    bench.write(THREADS.replace("HOW", "pass"))
    await bench.play("leaves", "leaves", "wakes")

    assert [text.strip() for text in bench.said] == ["", "", "mine"]
    assert not bench.retired


HANDLERS = """
import faulthandler, signal, socket, sys
near, far = socket.socketpair()
near.setblocking(False)
numbers = [signal.SIGRTMIN + 2, signal.SIGWINCH, signal.SIGVTALRM, signal.SIGTERM, signal.SIGXFSZ]
def sets():
    for number in numbers[:-1]:
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.set_wakeup_fd(near.fileno())
    faulthandler.dump_traceback_later(0.05, repeat=True)
def seen():
    return [int(signal.getsignal(n)) for n in numbers] + [signal.set_wakeup_fd(-1)]
def waits():
    signal.sigtimedwait([], 0.1)
"""


@staged
async def test_handlers_of_all_signals_and_what_goes_with_them_are_put_back(bench: Stage) -> None:
    bench.write(HANDLERS)
    found = await bench.play("seen", "sets", "seen", "seen", "waits")

    assert found[0] == [0, 0, 0, 0, 1, -1]
    assert found[2] == found[3] == found[0]
    assert "".join(bench.said) == ""


IGNORING = """
import ctypes, signal
libc = ctypes.CDLL(None)
libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 2]
def ignores():
    for number in numbers:
        libc.signal(number, 1)
    libc.signal(signal.SIGPIPE, 0)
def seen():
    with open("/proc/self/status") as file:
        ignored = next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn"))
    return [ignored >> number - 1 & 1 for number in [*numbers, signal.SIGPIPE]]
"""


@staged
async def test_signals_ignored_by_c_code_are_not_for_whoever_comes_after_those_runs(
    bench: Stage,
) -> None:
    bench.write(IGNORING)
    [before] = await bench.play("seen")
    await bench.play("ignores")
    [after] = await bench.play("seen")

    assert after == before == [0, 0, 0, 1]


STREAMS = """
import sys
def spoils_names():
    sys.__stderr__ = sys.__stdout__ = sys.__stdin__ = None
def spoils_streams():
    sys.stdout.reconfigure(encoding="ascii", errors="strict", newline="\\r\\n", line_buffering=False)
    sys.stderr.reconfigure(newline="\\r\\n")
    sys.stdin.reconfigure(errors="strict")
def seen():
    streams = sys.stdin, sys.stdout, sys.stderr
    print("\\u20ac")
    print("\\u20ac", file=sys.stderr)
    return [
        [one is other for one, other in zip(streams, (sys.__stdin__, sys.__stdout__, sys.__stderr__))],
        [[one.encoding, one.errors, one.line_buffering, one.write_through] for one in streams],
    ]
"""


@pytest.mark.parametrize("spoils", ["spoils_names", "spoils_streams"])
@staged
async def test_streams_that_were_set_up_otherwise_are_put_back(bench: Stage, spoils: str) -> None:
    bench.write(STREAMS)
    before, _, after = await bench.play("seen", spoils, "seen")

    assert before == after
    assert before[0] == [True, True, True]
    assert bench.said == ["€\n€\n", "", "€\n€\n"]
    assert not bench.retired


@staged
async def test_peak_of_memory_is_that_of_a_run_alone_however_long_it_takes(bench: Stage) -> None:
    bench.write("""
import time
def holds():
    whole = bytearray(60 << 20)
def works():
    until = time.monotonic() + 0.005
    while time.monotonic() < until: pass
""")
    if bench.together:
        answers = await bench.bundle(*[(name, []) for name in ("works", "holds", "works")])
        peaks, durations = [answer[5] for answer in answers], [answer[2] for answer in answers]
    else:
        replies = [await bench.call(name) for name in ("works", "holds", "works")]
        peaks = [reply.usage.max_rss for reply in replies]
        durations = [reply.duration for reply in replies]

    assert durations[2] > python_child.SHORT
    assert peaks[2] - peaks[0] < 30 << 20
