"""The far side of a shared child: an interpreter in which many calls run beside each other.

Each call has a thread of its own, or is a task of one event loop. What it prints through
``sys.stdout``, ``sys.stderr`` or ``logging`` goes to the log of its run, known by a context
variable; what is written to the descriptors themselves goes to the log of the daemon. Environment
and directory are those of the process.

Loaded by :mod:`jobctl.engine.python_child`, by its path; standard library, CPython 3.9 or later.
:mod:`jobctl.engine.sharing` is the other end.
"""

from __future__ import annotations

import _socket
import faulthandler
import json
import os
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any

    from jobctl.engine.python_shared_run import Run
else:
    import _signal

CANCEL, COMMON, ENTRIES, PING, PONG = 32, 33, 34, 35, 36
"""Kinds of frames that only a shared child has: stop a run, where else output goes, the file of
:mod:`jobctl.engine.python_entries`, a question whether it still does anything, and the answer."""
WHERE_SIGNAL = 11
"""After ``SIGRTMIN``: makes it print where each thread is, even if none gets to run."""
DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG``."""
NO_ARGUMENTS = b"[[], {}]"
NO_THREAD = "it cannot start another thread"
AGAIN_AFTER = 0.05
"""Seconds until a call is interrupted again whose interruption was lost."""


class _Finished:
    """Stands for the modules of a child when a call is over: its target gives what came of it."""

    def __init__(self, value: object, error: BaseException | None) -> None:
        self.value, self.error = value, error
        self.modules = self

    def target(self, _: str) -> Callable[..., object]:
        return self.give

    def give(self) -> object:
        if self.error is not None:
            raise self.error
        return self.value

    def interrupt(self) -> None:
        """Go on: the interpreter is not this run's alone, so only its own call has ended."""


class Shared:
    """What threads and event loop have in common: frames in, frames out."""

    def __init__(self, child: Any, fd: int, modules: Any) -> None:
        self.child = child
        self.modules = modules
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        os.register_at_fork(after_in_child=self.socket.close)
        self.buffer = bytearray()
        self.descriptors: list[int] = []
        self.full = False
        """Whether descriptors were lost on their way, for want of room in this process."""
        self.sending = threading.Lock()
        self.runs: dict[str, Run] = {}
        self.counting = threading.Lock()
        self.line: int | None = None
        """Where questions of jobs go to the pool."""
        self.asking: Any = None
        self.entries: int | None = None
        self.entry = child.beside("python_entries")
        self.interrupts = child.beside("python_interrupt")
        self.running = child.RUNNING
        own = child.beside("python_shared_run")
        self.make_run = own.Run
        self.streams = own.Stream(1, self.running), own.Stream(2, self.running)
        self.statm = child.open_meter("statm", os.O_RDONLY)
        self.put_back_streams()
        child._write = child.beside("python_failure")._write = self._write
        sys.unraisablehook = self._on_unraisable
        child.beside("python_heirs").install(self.running, self.interrupts.shielded)
        faulthandler.register(_signal.SIGRTMIN + WHERE_SIGNAL, file=2, all_threads=True)

    def put_back_streams(self) -> None:
        """Make the streams ours again, whatever a job put there."""
        sys.stdout = sys.__stdout__ = self.streams[0]  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.streams[1]  # type: ignore[misc]

    @staticmethod
    def _write(text: str) -> None:
        sys.__stderr__.write(text)  # type: ignore[union-attr]

    def hello(self) -> None:
        """Say that calls may come."""
        version = ".".join(map(str, sys.version_info[:3]))
        meta = {"protocol": self.child.PROTOCOL, "python": version, "pid": os.getpid()}
        self.send(self.child.HELLO, meta)

    def send(self, kind: int, meta: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        data = self.child.framed(kind, meta, body)
        with self.sending:
            self.socket.sendall(data)

    def receive(self, flags: int = 0) -> Iterator[tuple[int, dict[str, Any], bytes]] | None:
        """Return the frames that came whole with what can be read now; ``None`` at the end."""
        size = self.child.RECEIVE_BYTES
        data, extra, said, _ = self.socket.recvmsg(size, 4096, self.child.CLOSE_ON_EXEC | flags)
        if not data:
            return None
        for _, _, raw in extra:
            self.descriptors += struct.unpack(f"{len(raw) // 4}i", raw)
        if said & _socket.MSG_CTRUNC and not self.full:
            self._fill_up()
        if self.full:
            while self.descriptors:
                os.close(self.descriptors.pop())
        self.buffer += data
        return self._frames()

    def _fill_up(self) -> None:
        """Take no more calls: from here on nobody knows which descriptor belongs to which."""
        self.full = True
        self.modules.outdated = self.modules.outdated or self.child.FULL
        text = f"jobctl: interpreter {os.getpid()} takes no more runs: {self.child.FULL}\n"
        try:  # noqa: SIM105 - contextlib is an import
            os.write(2, text.encode())
        except OSError:
            pass

    def _descriptor(self) -> int | None:
        """Return what came with a frame, ``None`` where that was lost."""
        return None if self.full else self.descriptors.pop(0)

    def _frames(self) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        header, buffer = self.child.HEADER, self.buffer
        while len(buffer) >= header.size:
            _, _, kind, meta_size, body_size = header.unpack_from(buffer)
            start = header.size + meta_size
            if len(buffer) < start + body_size:
                return
            meta, body = (
                json.loads(buffer[header.size : start]),
                bytes(buffer[start : start + body_size]),
            )
            del buffer[: start + body_size]
            yield kind, meta, body

    def handle(self, kind: int, meta: dict[str, Any], body: bytes) -> None:
        """Carry out one frame."""
        if kind == self.child.CALL:
            log = self._descriptor()
            stale = (
                self.child.FULL if log is None else self.modules.stale(meta, alone=not self.runs)
            )
            if log is None or stale is not None:
                if log is not None:
                    os.close(log)
                self.send(self.child.DONE, {"seq": meta["seq"], "stale": stale})
                return
            run = self.runs[meta["run"]] = self.make_run(self, meta, body, log)
            self.begin(run)
        elif kind == CANCEL and meta["run"] in self.runs:
            self.runs[meta["run"]].order(meta["how"])
        elif kind == PING:
            self.send(PONG, meta)
        elif kind == ENTRIES:
            self.entries = self._descriptor()
        elif kind == self.child.LINE:
            self.line = self._descriptor()
        elif kind == COMMON:
            common = self._descriptor()
            if common is not None:
                os.dup2(common, 1)
                os.dup2(common, 2)
                os.close(common)

    def begin(self, run: Run) -> None:
        """Start a call; it must not keep the caller."""
        raise NotImplementedError

    def enter(self, run: Run) -> bool:
        """Return whether a call may begin, which is noted then; else the host has taken it back."""
        seq = run.call["seq"]
        if self.entries is None or self.entry.mark(self.entries, seq, withdrawn=False):
            run.started_at, run.began = time.time(), time.monotonic()
            return True
        self.refuse(run, "it was taken back")
        return False

    def refuse(self, run: Run, why: str) -> None:
        """Let a call begin elsewhere."""
        run.over = True
        run.close()
        del self.runs[run.call["run"]]
        self.send(self.child.DONE, {"seq": run.call["seq"], "stale": why})

    def ask_again(self, run: Run) -> None:
        """Interrupt a call once more, from whatever thread, unless it is over."""
        raise NotImplementedError

    def _on_unraisable(self, lost: Any) -> None:
        """Interrupt a call again when that came to nothing.

        What is raised while Python calls back by itself, for a weak reference or in ``__del__``,
        gets nowhere; at the end of each import there is such a moment.
        """
        run = self.running.get()
        asked = run is not None and run.asked is not None
        # By its name: this may be a moment in which nothing can be imported.
        if asked and lost.exc_type.__name__ in {"Stopped", "SoftTimeout"}:
            timer = threading.Timer(AGAIN_AFTER, self.ask_again, (run,))
            timer.daemon = True
            timer.start()
        else:
            sys.__unraisablehook__(lost)

    def _finish(self, run: Run, value: object, error: BaseException | None, cpu: float) -> None:
        try:
            self.finish(run, value, error, cpu)
        except BaseException as wrong:  # noqa: BLE001 - without an answer the run would never end
            self.child.give_up(wrong)

    def finish(self, run: Run, value: object, error: BaseException | None, cpu: float) -> None:
        """Answer for a call that is over."""
        # The class itself is asked: what it says of itself may be any code of the job.
        if run.asked == "soft" and not issubclass(type(error), (Exception, type(None))):
            trace = self.child.beside("python_failure").TRACE.__get__(error)
            error = self.interrupts.soft_timeout()("soft_timeout has passed").with_traceback(trace)
        reply: dict[str, Any] = {"seq": run.call["seq"], "started_at": run.started_at}
        reply["duration"] = time.monotonic() - run.began
        token = self.running.set(run)
        try:
            result = self.child.Child.invoke(_Finished(value, error), run, NO_ARGUMENTS, reply)
        finally:
            self.running.reset(token)
        run.over = True
        self.put_back_streams()
        run.close()
        reply["usage"] = [cpu, 0.0, 0, 0, 0]
        reply["recycle"] = self.modules.outdated
        if self.statm is not None:
            reply["rss"] = int(os.pread(self.statm, 64, 0).split()[1]) * self.child.PAGE
        del self.runs[run.call["run"]]
        try:
            self.send(self.child.DONE, reply, result)
        except OSError:
            os._exit(0)  # the pool is gone, and with it whoever wants the answer

    @staticmethod
    def started(work: Callable[[], None]) -> bool:
        """Start a thread; returns False when the system has none to give."""
        try:
            threading.Thread(target=work, name="jobctl run", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def call(self, run: Run) -> object:
        """Call the function of a run, in its context; returns what it returned, or an awaitable."""
        function = self.child.dressed(self.modules.target(run.call["target"]))
        args, kwargs = json.loads(run.body)
        return function(*args, **kwargs)


def serve(child: Any, fd: int, wishes: dict[str, Any], modules: Any) -> None:
    """Serve the socket ``fd`` until the host closes it; runs that are under way then are lost."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    if not child.PREPARED:  # what a template has forked would die with that
        _die_with_parent()
    modules.stale({"cwd": None, "env": os.environ})
    if wishes["mode"] == "async":
        shared: Any = child.beside("python_loop").Loop(child, fd, modules)
        import asyncio

        asyncio.run(_life(child, shared, wishes, modules))
    else:
        shared = child.beside("python_threads").Threads(child, fd, modules)
        _hook(child, "init", wishes, modules)
        shared.serve()
        if not shared.runs:
            _hook(child, "exit", wishes, modules)
    os._exit(0)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the pool dies, whatever keeps it busy then."""
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)


def _hook(child: Any, name: str, wishes: dict[str, Any], modules: Any) -> None:
    if wishes.get(name):
        child.call_hook("child_" + name, wishes[name], modules)


async def _life(child: Any, shared: Any, wishes: dict[str, Any], modules: Any) -> None:
    await _awaited_hook(child, "init", wishes, modules)
    await shared.serve()
    if shared.runs:
        os._exit(0)
    await _awaited_hook(child, "exit", wishes, modules)


async def _awaited_hook(child: Any, name: str, wishes: dict[str, Any], modules: Any) -> None:
    """Call a hook in the loop of the jobs."""
    waits: list[Coroutine[Any, Any, object]] = []
    if wishes.get(name):
        child.call_hook("child_" + name, wishes[name], modules, waits.append)
    if not waits:
        return
    try:
        await waits[0]
    except BaseException:
        child.say(f"child_{name} = {wishes[name]} failed:")
        raise
