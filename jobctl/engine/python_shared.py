"""The far side of a shared child: an interpreter in which many calls run beside each other.

Each call has a thread of its own, or is a task of one event loop. What it prints through
``sys.stdout``, ``sys.stderr`` or ``logging`` goes to the log of its run, known by a context
variable; what is written to the descriptors themselves, and by threads that a job starts, goes to
the log of the daemon. Environment and directory are those of the process.

Loaded by :mod:`jobctl.engine.python_child`, by its path; standard library, CPython 3.9 or later.
:mod:`jobctl.engine.sharing` is the other end.
"""

from __future__ import annotations

import _socket
import contextvars
import io
import json
import os
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import signal as _signal
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any
else:
    import _signal

CANCEL, COMMON = 32, 33
"""Kinds of frames that only a shared child gets: stop a run, and where else output goes."""
PARTIAL_MOST = 8192
"""Characters of an unfinished line that are kept back."""
NO_ARGUMENTS = b"[[], {}]"
AGAIN_AFTER = 0.05
"""Seconds until a call is interrupted again whose interruption was lost."""


class Stopped(BaseException):
    """Raised inside a function whose run is stopped."""


Stopped.__module__ = "jobctl"


class Run:
    """One call that is under way."""

    def __init__(self, shared: Shared, call: dict[str, Any], body: bytes, log: int) -> None:
        self.shared = shared
        self.call = self.said = call
        limits: dict[str, Any] = call.get("limits") or {}
        self.limits = {name: limits[name] for name in limits if name != "soft_timeout"}
        """Without what the host sees to, since there is no signal for one thread."""
        self.body = body
        self.log = log
        self.context: Any = None
        """What ``jobctl.current()`` keeps."""
        self.started_at = time.time()
        self.over = False
        self.asked: str | None = None
        """How it was asked to stop: ``stop`` or ``soft``."""
        self.cancel: Callable[[], object] | None = None
        self.partial = ["", ""]
        self.lock = threading.RLock()

    def write(self, number: int, text: str) -> None:
        """Write to the log of the run, by whole lines."""
        with self.lock:
            text = self.partial[number] + text
            end = len(text) if len(text) > PARTIAL_MOST else text.rfind("\n") + 1
            self.partial[number] = text[end:]
            if end:
                self.write_bytes(text[:end].encode(errors="backslashreplace"))

    def write_bytes(self, data: bytes) -> None:
        """Write to the log at once; a full disk loses it, as with any other output of a job."""
        try:
            while data and self.log >= 0:
                data = data[os.write(self.log, data) :]
        except OSError:
            pass

    def flush(self) -> None:
        """Write out lines that have no end."""
        with self.lock:
            rest, self.partial = "".join(self.partial), ["", ""]
            self.write_bytes(rest.encode(errors="backslashreplace"))

    def close(self) -> None:
        """Write out the rest and let go of the log."""
        self.flush()
        with self.lock:
            os.close(self.log)
            self.log = -1

    def progress(self, percent: float, message: str = "") -> None:
        """Tell the host how far it is."""
        meta = {"seq": self.call["seq"], "percent": percent, "message": message}
        self.shared.send(self.shared.child.PROGRESS, meta)

    def limit(self, name: str) -> Any:
        """Return something of the job that few jobs have, else ``None``."""
        return self.limits.get(name)

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return what the pool answers; in an event loop, others wait meanwhile."""
        shared = self.shared
        if self.over:
            return {"error": "the run has ended; ask before its function returns"}
        with shared.counting:
            if shared.asking is None:
                shared.asking = shared.child.beside("python_asks").Line(shared.line)
        return shared.asking.ask(question, shared.child.plain)  # type: ignore[no-any-return]

    def stopping(self) -> bool:
        """Return whether it was asked to stop."""
        return self.asked is not None


class _Bytes(io.RawIOBase):
    """The ``buffer`` of a stream."""

    def __init__(self, number: int, runs: contextvars.ContextVar[Any]) -> None:
        super().__init__()
        self.number, self.runs = number, runs

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def write(self, data: Any) -> int:
        data = bytes(data)
        run = self.runs.get()
        if run is None:
            return os.write(self.number, data)
        run.flush()
        run.write_bytes(data)
        return len(data)


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``: writes to the log of the run that writes."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, number: int, runs: contextvars.ContextVar[Any]) -> None:
        super().__init__()
        self.number, self.runs = number, runs
        self.buffer = _Bytes(number, runs)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def write(self, text: str) -> int:
        run = self.runs.get()
        if run is None:
            os.write(self.number, text.encode(errors="backslashreplace"))
        else:
            run.write(self.number - 1, text)
        return len(text)

    def flush(self) -> None:
        run = self.runs.get()
        if run is not None:
            run.flush()


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
        self.sending = threading.Lock()
        self.runs: dict[str, Run] = {}
        self.counting = threading.Lock()
        self.line: int | None = None
        """Where questions of jobs go to the pool."""
        self.asking: Any = None
        self.running = child.RUNNING
        self.streams = Stream(1, self.running), Stream(2, self.running)
        self.statm = child.open_meter("statm", os.O_RDONLY)
        self.put_back_streams()
        child._write = child.beside("python_failure")._write = self._write
        sys.unraisablehook = self._on_unraisable

    def put_back_streams(self) -> None:
        """Make the streams ours again, whatever a job put there."""
        sys.stdout = sys.__stdout__ = self.streams[0]  # type: ignore[misc, assignment]
        sys.stderr = sys.__stderr__ = self.streams[1]  # type: ignore[misc, assignment]

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
        data, extra, _, _ = self.socket.recvmsg(size, 4096, self.child.CLOSE_ON_EXEC | flags)
        if not data:
            return None
        for _, _, raw in extra:
            self.descriptors += struct.unpack(f"{len(raw) // 4}i", raw)
        self.buffer += data
        return self._frames()

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
            log = self.descriptors.pop(0)
            stale = self.modules.stale(meta)
            if stale is not None:
                os.close(log)
                self.send(self.child.DONE, {"seq": meta["seq"], "stale": stale})
                return
            run = self.runs[meta["run"]] = Run(self, meta, body, log)
            self.begin(run)
        elif kind == CANCEL and meta["run"] in self.runs:
            run = self.runs[meta["run"]]
            run.asked = meta["how"]
            if run.cancel is not None:
                run.cancel()
        elif kind == self.child.LINE:
            self.line = self.descriptors.pop(0)
        elif kind == COMMON:
            common = self.descriptors.pop(0)
            os.dup2(common, 1)
            os.dup2(common, 2)
            os.close(common)

    def begin(self, run: Run) -> None:
        """Start a call; it must not keep the caller."""
        raise NotImplementedError

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
        except BaseException:  # noqa: BLE001 - without an answer the run would never end
            sys.__excepthook__(*sys.exc_info())
            os._exit(70)

    def finish(self, run: Run, value: object, error: BaseException | None, cpu: float) -> None:
        """Answer for a call that is over."""
        # The class itself is asked: what it says of itself may be any code of the job.
        if run.asked == "soft" and not issubclass(type(error), (Exception, type(None))):
            trace = self.child.beside("python_failure").TRACE.__get__(error)
            error = soft_timeout()("soft_timeout has passed").with_traceback(trace)
        reply: dict[str, Any] = {"seq": run.call["seq"], "started_at": run.started_at}
        reply["duration"] = time.time() - run.started_at
        token = self.running.set(run)
        try:
            result = self.child.Child.invoke(_Finished(value, error), run, NO_ARGUMENTS, reply)
        finally:
            self.running.reset(token)
        run.over = True
        self.put_back_streams()
        run.close()
        reply["usage"] = [cpu, 0.0, 0, 0, 0]
        if self.statm is not None:
            reply["rss"] = int(os.pread(self.statm, 64, 0).split()[1]) * self.child.PAGE
        del self.runs[run.call["run"]]
        try:
            self.send(self.child.DONE, reply, result)
        except OSError:
            os._exit(0)  # the pool is gone, and with it whoever wants the answer

    def call(self, run: Run) -> object:
        """Call the function of a run, in its context; returns what it returned, or an awaitable."""
        function = self.modules.target(run.call["target"])
        args, kwargs = json.loads(run.body)
        return function(*args, **kwargs)


class Threads(Shared):
    """A child that runs each call in a thread; threads are used again."""

    def __init__(self, child: Any, fd: int, modules: Any) -> None:
        super().__init__(child, fd, modules)
        import queue

        self.waiting: Any = queue.SimpleQueue()
        self.idle = 0

    def serve(self) -> None:
        """Run until the socket ends."""
        self.hello()
        while True:
            frames = self.receive()
            if frames is None:
                return
            for kind, meta, body in frames:
                self.handle(kind, meta, body)

    def begin(self, run: Run) -> None:
        with self.counting:
            fresh = self.idle == 0
            self.idle -= not fresh
        self.waiting.put(run)
        if fresh:
            threading.Thread(target=self._work, name="jobctl run", daemon=True).start()

    def ask_again(self, run: Run) -> None:
        """Interrupt a call once more, from whatever thread, unless it is over."""
        if run.cancel is not None:
            run.cancel()

    def _work(self) -> None:
        while True:
            run = self.waiting.get()
            self._execute(run)
            with self.counting:
                self.idle += 1

    def _execute(self, run: Run) -> None:
        """Call the function; an order to stop may reach this thread at any instruction."""
        value: object = None
        error: BaseException | None = None
        before = time.thread_time()
        over = threading.Event()
        ident = threading.get_ident()

        def interrupt() -> None:
            with run.lock:
                if not over.is_set():
                    _raise_in(ident, soft_timeout() if run.asked == "soft" else Stopped)

        token = self.running.set(run)
        try:
            try:
                # Whole before anybody may interrupt: half a module would be there for all others.
                self.modules.target(run.call["target"])
                run.cancel = interrupt
                if run.asked is not None:
                    raise Stopped
                value = self.call(run)
                if hasattr(type(value), "__await__"):
                    stop = self.child.beside("python_stop")
                    value = stop.ThreadWait(run, interrupt, soft_timeout).call(value)
            finally:
                with run.lock:
                    over.set()
                if run.asked is not None:
                    _raise_in(ident, None)
        except BaseException as caught:  # noqa: BLE001 - whatever a job raises is its outcome
            error = caught
            over.set()
            _raise_in(ident, None)
        self.running.reset(token)
        self._finish(run, value, error, time.thread_time() - before)


class Loop(Shared):
    """A child that runs coroutines in one event loop, and plain functions in threads beside it."""

    async def serve(self) -> None:
        """Run until the socket ends."""
        import asyncio

        self.loop = asyncio.get_running_loop()
        self.over = self.loop.create_future()
        self.tasks: set[asyncio.Task[None]] = set()
        self.loop.add_reader(self.socket.fileno(), self._on_readable)
        self.hello()
        await self.over
        self.loop.remove_reader(self.socket.fileno())

    def _on_readable(self) -> None:
        try:
            frames = self.receive(_socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            frames = None
        if frames is None:
            if not self.over.done():
                self.over.set_result(None)
            return
        for kind, meta, body in frames:
            self.handle(kind, meta, body)

    def begin(self, run: Run) -> None:
        token = self.running.set(run)  # the task copies the context it is made in
        task = self.loop.create_task(self._execute(run))
        self.running.reset(token)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        run.cancel = task.cancel

    def ask_again(self, run: Run) -> None:
        """Interrupt a call once more, from whatever thread, unless it is over."""
        self.loop.call_soon_threadsafe(lambda: run.cancel and run.cancel())

    async def _execute(self, run: Run) -> None:
        value: object = None
        error: BaseException | None = None
        try:
            value = await self._value(run)
        except BaseException as caught:  # noqa: BLE001 - whatever a job raises is its outcome
            error = caught
        run.cancel = None
        self._finish(run, value, error, 0.0)

    async def _value(self, run: Run) -> object:
        function = self.modules.target(run.call["target"])
        if _is_async(function):
            return await self.call(run)  # type: ignore[misc]
        value = await _in_thread(lambda: self.call(run))
        return await value if hasattr(type(value), "__await__") else value


def _is_async(function: Any) -> bool:
    import inspect

    made = inspect.unwrap(function)
    return inspect.iscoroutinefunction(made) or inspect.iscoroutinefunction(
        getattr(made, "__call__", None)  # noqa: B004 - asked of the method, not whether there is one
    )


async def _in_thread(work: Callable[[], object]) -> Any:
    """Return what ``work`` returns in a thread of its own; however many of them there are."""
    import asyncio

    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    context = contextvars.copy_context()
    end: list[Any] = [None, None]

    def body() -> None:
        try:
            end[0] = context.run(work)
        except BaseException as caught:  # noqa: BLE001 - it is the outcome of the run
            end[1] = caught
        loop.call_soon_threadsafe(over.set_result, None)

    thread = threading.Thread(target=body, name="jobctl run", daemon=True)
    thread.start()
    while not over.done():
        try:
            await asyncio.wait([over])
        except asyncio.CancelledError:  # noqa: PERF203 - once or twice in the life of a run
            # A thread cannot be left behind: its run has not ended before it has.
            if thread.ident is not None and not over.done():
                _raise_in(thread.ident, Stopped)
    if end[1] is not None:
        raise end[1]
    return end[0]


def soft_timeout() -> type[BaseException]:
    """Return the class that jobs know."""
    from jobctl import SoftTimeout

    return SoftTimeout


def _raise_in(ident: int, error: type[BaseException] | None) -> None:
    """Have ``error`` raised in a thread at its next instruction; ``None``: take that back."""
    import ctypes

    what = ctypes.py_object() if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), what)


def serve(child: Any, fd: int, wishes: dict[str, Any], modules: Any) -> None:
    """Serve the socket ``fd`` until the host closes it; runs that are under way then are lost."""
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    modules.stale({"cwd": None, "env": os.environ})
    if wishes["mode"] == "async":
        shared: Shared = Loop(child, fd, modules)
        import asyncio

        asyncio.run(_life(child, shared, wishes, modules))
    else:
        shared = Threads(child, fd, modules)
        _hook(child, "init", wishes, modules, child._run_awaitable)
        shared.serve()
        if not shared.runs:
            _hook(child, "exit", wishes, modules, child._run_awaitable)
    os._exit(0)


def _hook(
    child: Any, name: str, wishes: dict[str, Any], modules: Any, wait: Callable[[Any], object]
) -> None:
    if wishes.get(name):
        value = child.call_hook("child_" + name, wishes[name], modules)
        if hasattr(type(value), "__await__"):
            wait(value)


async def _life(child: Any, shared: Any, wishes: dict[str, Any], modules: Any) -> None:
    waits: list[Coroutine[Any, Any, object]] = []
    _hook(child, "init", wishes, modules, waits.append)
    for one in waits:
        await one
    await shared.serve()
    if shared.runs:
        os._exit(0)
    waits.clear()
    _hook(child, "exit", wishes, modules, waits.append)
    for one in waits:
        await one
