"""The far side of a Python slot: a warm interpreter that runs one function call after the other.

Runs in any CPython from 3.9 on, in environments where jobctl is not installed, so it uses the
standard library only; and of that as little as it can, because its imports are paid at every
start. :mod:`jobctl.engine.python_host` starts it, and describes the wire.

Between two calls everything a script would find fresh is put back: standard streams, working
directory, environment, umask, signal handlers, alarm. What is not: imported modules and whatever
they keep. A forked copy that falls out of the job's function ends there, as a script would.
"""

from __future__ import annotations

import _contextvars  # As below: what the public module adds is not needed.
import _socket  # Without the 5 ms of the wrapper around it.
import _thread
import json
import os
import resource
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

    Rusage = resource.struct_rusage
else:
    import _signal  # The public module wraps every number in an enum, at three times the cost.

MAGIC = b"jc"
PROTOCOL = 1
HEADER = struct.Struct(">2sBBII")
"""Magic, protocol, kind, bytes of meta, bytes of body. Meta is JSON; the body is passed through."""
HELLO, CALL, DONE, PROGRESS, LINE, TALLY, BUNDLE, NEWS = 1, 2, 3, 4, 5, 6, 7, 8

RECEIVE_BYTES = 1 << 16  # more would be mapped and unmapped by the allocator for every frame
CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
SCAN_EVERY = 0.2
"""Seconds; a child in steady use looks for changed module files this often, an idle one always."""
CLOCK_GRAIN = 0.01
"""Seconds by which the time stamp of a file may lie behind its write."""
MAX_ERROR = 4096
MAX_NAME = 200
SHORT = 0.002
"""Seconds below which reading a call's peak of memory would cost too large a part of it."""
PAGE = resource.getpagesize()
NEWS_EVERY = 0.005
"""Seconds after which the host is told of answers of a bundle that goes on."""
LONELY = 0.02
"""Seconds; after a run that took longer a bundle goes on only if there is still a host.

The pool that follows a dead one relies on it, see ``tally.py``.
"""
KILOBYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ``ru_maxrss``."""

PACKAGES = ("/site-packages", "/dist-packages")
"""Directories whose own time stamp tells of every installation; their files are not watched."""
PACKAGE_PARTS = tuple(part + "/" for part in PACKAGES)
STANDARD_LIBRARY = os.path.dirname(os.__file__) + "/"
STREAMS = ("stdin", "stdout", "stderr")
HANDLED = [
    getattr(_signal, name)
    for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGCHLD")
]


def _in_order(values: Any) -> list[object]:
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def _base64(value: Any) -> str:
    import binascii

    return binascii.b2a_base64(value, newline=False).decode()


PLAIN: dict[tuple[str, str], Callable[[Any], object]] = {
    ("datetime", "datetime"): lambda value: value.isoformat(),
    ("datetime", "date"): lambda value: value.isoformat(),
    ("datetime", "time"): lambda value: value.isoformat(),
    ("datetime", "timedelta"): lambda value: value.total_seconds(),
    ("uuid", "UUID"): str,
    ("decimal", "Decimal"): str,
    ("enum", "Enum"): lambda value: value.value,
    ("collections", "deque"): list,
    ("builtins", "set"): _in_order,
    ("builtins", "frozenset"): _in_order,
    ("builtins", "bytes"): _base64,
    ("builtins", "bytearray"): _base64,
    ("builtins", "memoryview"): _base64,
}
"""How values that JSON does not know are written, by the name of the class or of one it extends:
asking by name spares the import of modules that the job may never have loaded."""


def plain(value: Any) -> object:
    """Return what JSON can say of ``value``; raises TypeError, naming its class."""
    cls = type(value)
    for base in cls.__mro__:
        convert = PLAIN.get((base.__module__, base.__qualname__))
        if convert is not None:
            return convert(value)
    if hasattr(cls, "__dataclass_fields__"):
        import dataclasses

        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if hasattr(cls, "__fspath__"):
        return os.fsdecode(value)
    raise TypeError("it holds a value of type " + _dotted(cls))


ENCODE = json.JSONEncoder(
    default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


MARK = b'{"$jobctl"'
"""How a result begins that is wrapped; see python_forms.py."""


class ResultError(Exception):
    """Raised when a result cannot be kept; the message is for people."""


class TargetError(Exception):
    """Raised when there is no function of the configured name."""


def encode_result(value: object, limit: int, form: Any = None) -> bytes:
    """Return ``value`` as JSON, or in another ``form`` wrapped in JSON; raises ResultError."""
    try:
        if form is not None:
            data: bytes = form.encode(value)
        else:
            text = ENCODE(value)
            try:
                data = text.encode()
            except UnicodeEncodeError:  # half of a surrogate pair: only the escaped form can say it
                data = json.dumps(json.loads(text)).encode()
            if data[:10] == MARK:
                data = beside("python_forms").wrap("json", data)  # nobody shall take it for one
    except Exception as error:
        raise ResultError(
            f"the result cannot be stored as {form.name if form else 'JSON'}: "
            + (str(error)[:MAX_NAME] or _dotted(type(error)))
            + "; return numbers, text, lists, dicts, dates or dataclasses, or store it elsewhere"
            " and return its name"
        ) from error
    if len(data) > limit:
        raise ResultError(
            f"the result is {len(data)} bytes of {form.name if form else 'JSON'}, the limit is {limit};"
            " store it elsewhere and return its name"
        )
    return data


def _dotted(cls: type) -> str:
    name = cls.__qualname__
    return (name if cls.__module__ == "builtins" else f"{cls.__module__}.{name}")[:MAX_NAME]


def _say(text: str) -> None:
    """Write a line of our own into the log of the run."""
    _write(f"jobctl: {text}\n")


def _write(text: str) -> None:
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        return  # the disk is full: the reply carries it too


class Running:
    """A call that runs, for :mod:`jobctl.context`."""

    __slots__ = ("call", "child", "context", "over", "started_at", "stop")

    def __init__(self, child: Child, call: dict[str, Any]) -> None:
        self.child = child
        self.call = call
        self.started_at = time.time()
        self.context: Any = None
        """Its :class:`jobctl.context.RunContext`, once somebody asked for it."""
        self.stop: bool | None = None
        """Whether it shall stop; ``None`` as long as nobody has asked for that."""
        self.over = False

    def limit(self, name: str) -> Any:
        """Return something of the job that few jobs have, else ``None``."""
        limits = self.call.get("limits")
        return limits.get(name) if limits else None

    def progress(self, percent: float, message: str = "") -> None:
        """Tell the host how far it is; without a host nobody hears it."""
        if not self.over and self.child.pid == os.getpid():
            meta = {"seq": self.call["seq"], "percent": percent, "message": message}
            try:  # noqa: SIM105 - contextlib is an import
                self.child.send(PROGRESS, meta)
            except (BrokenPipeError, ConnectionResetError):
                pass

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return what the pool answers."""
        if self.over:
            return {"error": "the run has ended; ask before its function returns"}
        child = self.child
        if child.asking is None:
            child.asking = beside("python_asks").Line(child.line)
        return child.asking.ask(question, plain)  # type: ignore[no-any-return]

    def stopping(self) -> bool:
        """Return whether it has been asked to stop."""
        return beside("python_stop").stopping(self, HANDLED)  # type: ignore[no-any-return]


RUNNING: _contextvars.ContextVar[Running | None] = _contextvars.ContextVar(
    "jobctl_running", default=None
)
"""The call of a thread or coroutine, where several run in one process."""


def running() -> Running | None:
    """Return the call that asks; a thread of its own belongs to the one that runs alone here."""
    found = RUNNING.get()
    return CHILD.running if found is None and CHILD is not None else found


def beside(name: str) -> Any:
    """Return the module of a file beside this one that not every child needs."""
    return _load("_jobctl_" + name, os.path.join(os.path.dirname(__file__), name + ".py"))


def _load(name: str, path: str) -> Any:
    found = sys.modules.get(name)
    if found is None:
        from importlib.machinery import SourceFileLoader

        found = type(sys)(name)
        found.__file__ = path
        code: Any = SourceFileLoader(name, path).get_code(name)
        exec(code, found.__dict__)  # noqa: S102 - a file of ours, as this one
        sys.modules[name] = found
    return found


def job(name: Any = None, /, **_keys: Any) -> Any:
    """Stand for ``jobctl.job`` where jobctl is not installed: the function stays what it is.

    It was declared where its module was discovered; a run only calls it.
    """
    return name if callable(name) else lambda function: function


class Provider:
    """Finds ``jobctl`` where it is not installed.

    It is :mod:`jobctl.context` under both names, and ``jobctl`` has :func:`job` besides.
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> Any:
        """Return a spec for the two names; asked after everybody else."""
        if name not in ("jobctl", "jobctl.context"):
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, Provider, is_package=name == "jobctl")  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: Any) -> Any:
        """Return the one module for both names."""
        folder = os.path.dirname(os.path.dirname(__file__))
        context = _load("jobctl.context", os.path.join(folder, "context.py"))
        if spec.name == "jobctl":
            module = type(sys)("jobctl")
            module.__dict__.update(
                {n: getattr(context, n) for n in context.__all__}, context=context, job=job
            )
            return module
        return context

    @staticmethod
    def exec_module(module: Any) -> None:
        """Do nothing: it has been loaded."""


class Modules:
    """Where the job's code comes from, and whether it is still what the files say."""

    def __init__(self) -> None:
        self.home = _current_directory()
        given = self._roots(None, os.environ)
        sys.path[:] = [entry for entry in sys.path if entry not in given]
        self.roots: tuple[str, ...] = ()
        self.seen = set(sys.modules)
        self.stamps = {entry: _stamp(entry) for entry in sys.path if entry.endswith(PACKAGES)}
        self.since, self.scanned = time.time(), time.monotonic()
        self.outdated: str | None = None

    def _roots(self, cwd: str | None, env: Mapping[str, str]) -> tuple[str, ...]:
        cwd = cwd or self.home
        more = env.get("PYTHONPATH")
        if not more:
            return (cwd,)
        return (cwd, *(os.path.normpath(os.path.join(cwd, p)) for p in more.split(":") if p))

    def stale(self, call: dict[str, Any]) -> str | None:
        """Return why ``call`` must not run in this interpreter; else prepare the search path."""
        roots = self._roots(call["cwd"], call["env"])
        if self.outdated:
            return self.outdated  # several calls may be on their way to a shared interpreter
        moved = roots != self.roots
        if moved or time.monotonic() - self.scanned >= SCAN_EVERY:
            changed = self._scan()
            if changed:
                self.outdated = changed
                return changed
        if moved:
            gone = tuple(root.rstrip("/") + "/" for root in self.roots if root not in roots)
            if gone and any(path.startswith(gone) for path in self.stamps):
                return "its modules come from another directory"
            sys.path[:] = [*roots, *(entry for entry in sys.path if entry not in self.roots)]
            self.roots = roots
        return None

    def _scan(self) -> str | None:
        """Return why the imported modules are out of date, or None."""
        started = time.time()
        changed = [path for path, stamp in self.stamps.items() if _stamp(path) != stamp]
        for path in self._new_files():
            self.stamps[path] = stamp = _stamp(path)
            if stamp is None or self.since - CLOCK_GRAIN < stamp[0] / 1e9 <= started:
                changed.append(path)  # before or after its import: nobody knows
        self.since, self.scanned = started, time.monotonic()
        return f"{changed[0]} has changed" if changed else None

    def _new_files(self) -> Iterator[str]:
        """Yield the files of the job's own modules imported since the last scan."""
        names = sys.modules.keys() - self.seen
        self.seen |= names
        for name in names:
            module = sys.modules.get(name)
            if isinstance(module, type(sys)):
                # Plain getattr would make modules that load lazily load.
                path = object.__getattribute__(module, "__dict__").get("__file__")
                if (
                    isinstance(path, str)
                    and not path.startswith(STANDARD_LIBRARY)
                    and not any(part in path for part in PACKAGE_PARTS)
                ):
                    yield path

    @staticmethod
    def target(name: str) -> Callable[..., object]:
        """Return the function ``package.module:attribute``; raises TargetError if there is none."""
        module, _, attribute = name.partition(":")
        if module not in sys.modules:
            sys.path_importer_cache.clear()  # directories may have new files since they were read
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            if error.name and (module + ".").startswith(error.name + "."):
                raise TargetError(f"no module {error.name!r} for {name!r}") from None
            raise
        found: Any = sys.modules[module]
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise TargetError(f"no function {attribute!r} in {module!r}")
        return found  # type: ignore[no-any-return]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


class Surroundings:
    """What a call sees of the process: streams, environment, directory, signal handlers."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.umask = os.umask(0o022)
        os.umask(self.umask)
        self.environ = os.environ
        self.env = dict(os.environ)
        self.env_raw: object = None
        self.encoding: str = getattr(sys.stdout, "encoding", None) or "utf-8"
        self.streams: list[Any] = [None, None, None]
        self.with_stdin = False
        self.detach()

    def attach(self, call: dict[str, Any], log: int) -> None:
        """Make everything as ``call`` wants it; raises OSError or ValueError where that fails."""
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        if call["stdin"] is not None:
            self._give_input(call["stdin"])
        os.chdir(call["cwd"] or self.home)
        self._set_environment(call["env"])
        sys.argv[:] = [call["target"]]
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def enter(self, call: dict[str, Any], log: int) -> None:
        """Do as :meth:`attach` for a call of a bundle; ``log`` stays open."""
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(call["cwd"] or self.home)
        self._set_environment(call["env"])
        sys.argv[:] = [call["target"]]
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def restore(self) -> str | None:
        """Do as :meth:`detach` between two calls of a bundle, whose log stays in place."""
        self._quiet()
        problem = self._flush()
        if not (self._untouched(1) and self._untouched(2) and self._untouched(0)):
            self._renew()
        os.umask(self.umask)
        return problem

    def _quiet(self) -> None:
        """Put signal handlers back, so that nothing of the last call interrupts what follows."""
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        _signal.alarm(0)
        for number in HANDLED:
            if _signal.getsignal(number) is not _signal.SIG_DFL:
                _signal.signal(number, _signal.SIG_DFL)
        if _signal.getsignal(_signal.SIGPIPE) is not _signal.SIG_IGN:
            _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)

    def detach(self) -> str | None:
        """Put back what a job may have changed; returns why that failed, or None."""
        self._quiet()
        problem = self._flush()
        self._renew()
        self.with_stdin = False
        os.umask(self.umask)
        return problem

    def _renew(self) -> None:
        """Let descriptors lead nowhere and replace the streams that a job has changed."""
        replaced = [number for number in (0, 1, 2) if not self._untouched(number)]
        for number in replaced:
            setattr(sys, STREAMS[number], None)  # collected, it may close the descriptor
        os.dup2(self.null, 1)
        os.dup2(self.null, 2)
        for number in replaced:
            if number == 0:
                os.dup2(self.null, 0)
            stream = self.streams[number] = self._open_stream(number)
            setattr(sys, STREAMS[number], stream)
            setattr(sys, f"__{STREAMS[number]}__", stream)

    def _flush(self) -> str | None:
        """Write out what is buffered: text that stays would end up in the log of the next run."""
        logging = sys.modules.get("logging")
        handlers = [ref() for ref in getattr(logging, "_handlerList", ())] if logging else []
        named = (getattr(sys, name, None) for name in STREAMS[1:])
        streams = (*handlers, *named, *self.streams[1:])
        problems = [_flush_stream(stream) for stream in streams]
        return next(filter(None, problems), None)

    def _untouched(self, number: int) -> bool:
        """Return False for streams that the next call needs anew."""
        if number == 0 and self.with_stdin:
            return False
        stream = self.streams[number]
        return stream is getattr(sys, STREAMS[number], None) and _usable(stream)

    def _open_stream(self, number: int) -> Any:
        """Return a text stream on a standard descriptor; by lines, so that logs can be followed."""
        mode = "r" if number == 0 else "w"
        errors = ("surrogateescape", "surrogateescape", "backslashreplace")[number]
        return open(number, mode, 1, encoding=self.encoding, errors=errors, closefd=False)

    def _give_input(self, text: str) -> None:
        self.with_stdin = True
        if hasattr(os, "memfd_create"):
            source = os.memfd_create("stdin")
        else:
            import tempfile

            source, name = tempfile.mkstemp()
            os.unlink(name)
        with open(source, "wb") as file:
            file.write(text.encode(errors="surrogateescape"))
            file.flush()
            os.lseek(source, 0, os.SEEK_SET)
            os.dup2(source, 0)

    def _set_environment(self, env: dict[str, str]) -> None:
        os.environ = environ = self.environ
        if getattr(environ, "_data", self) != self.env_raw:  # the job changed something, or first
            self.env = dict(environ)
        for name in self.env.keys() - env.keys():
            del environ[name]
        for name, value in env.items():
            if self.env.get(name) != value:
                environ[name] = value
        if self.env.get("TZ") != env.get("TZ"):
            time.tzset()
        self.env = env
        raw = getattr(environ, "_data", None)
        self.env_raw = raw.copy() if isinstance(raw, dict) else None


def _usable(stream: Any) -> bool:
    try:
        return stream is not None and not getattr(stream, "closed", False)
    except ValueError:  # its buffer was detached
        return False


def _flush_stream(stream: Any) -> str | None:
    try:
        if _usable(stream):
            stream.flush()
    except Exception as error:  # noqa: BLE001 - it may be any object of the job
        return f"output could not be written: {error}"[:MAX_ERROR]
    return None


class Child:
    """Takes calls from the socket and answers each in turn, until the host closes it."""

    def __init__(self, fd: int, modules: Modules) -> None:
        self.socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        self.pid = os.getpid()
        self.buffer = bytearray()
        self.descriptors: list[int] = []
        self.running: Running | None = None
        self.line: int | None = None
        """Where questions of jobs go to the pool."""
        self.asking: Any = None
        self.retired: str | None = None
        self.bundles: Bundles | None = None
        self.sending = _thread.allocate_lock()
        os.register_at_fork(after_in_child=self.socket.close)  # a copy must not keep it open
        self.modules = modules
        self.surroundings = Surroundings(self.modules.home)
        self.status = _open_meter("status", os.O_RDONLY)
        self.statm = _open_meter("statm", os.O_RDONLY)
        self.clear_refs = _open_meter("clear_refs", os.O_WRONLY)

    def serve(self) -> None:
        """Run until the socket ends."""
        version = ".".join(map(str, sys.version_info[:3]))
        self.send(HELLO, {"protocol": PROTOCOL, "python": version, "pid": self.pid})
        self.reset_peak()
        while True:
            frame = self._receive()
            if frame is None:
                return
            kind, meta, body = frame
            if kind == CALL:  # what a later host may say more is for a later child
                log = self.descriptors.pop(0)
                stale = self.retired or self.modules.stale(meta)
                if stale is not None:
                    os.close(log)
                    self.send(DONE, {"seq": meta["seq"], "stale": stale})
                    continue
                answer = self._run(meta, body, log)
                try:
                    self.send(DONE, *answer)
                except OSError:
                    leave(meta.get("reply_file"), framed(DONE, *answer))
                    raise
                self.reset_peak()
            elif kind == TALLY:
                self.bundles = Bundles(self, self.descriptors.pop(0), meta)
            elif kind == BUNDLE and self.bundles is not None:
                self.bundles.run(meta)
                self.reset_peak()
            elif kind == LINE:
                self.line = self.descriptors.pop(0)

    def send(self, kind: int, meta: dict[str, Any], body: bytes = b"") -> None:
        """Send one frame."""
        data = framed(kind, meta, body)
        with self.sending:  # a thread of the job may report progress meanwhile
            self.socket.sendall(data)

    def progress(self, percent: float, message: str = "") -> None:
        """Tell the host how far the running call is; without a host nobody hears it."""
        if self.running is not None:
            self.running.progress(percent, message)

    def _receive(self) -> tuple[int, dict[str, Any], bytearray] | None:
        while True:
            buffer = self.buffer
            if len(buffer) >= HEADER.size:
                _, _, kind, meta_size, body_size = HEADER.unpack_from(buffer)
                end = HEADER.size + meta_size + body_size
                if len(buffer) >= end:
                    start = HEADER.size + meta_size
                    meta = json.loads(buffer[HEADER.size : start].decode())
                    body = buffer[start:end]
                    del buffer[:end]
                    return kind, meta, body
            data, extra, _, _ = self.socket.recvmsg(RECEIVE_BYTES, 256, CLOSE_ON_EXEC)
            if not data:
                return None
            for _, _, raw in extra:
                self.descriptors += struct.unpack(f"{len(raw) // 4}i", raw)
            buffer += data

    def _run(self, call: dict[str, Any], body: bytearray, log: int) -> tuple[dict[str, Any], bytes]:
        reply: dict[str, Any] = {"seq": call["seq"], "started_at": time.time()}
        result = b""
        before = resource.getrusage(resource.RUSAGE_SELF)
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        try:
            self.surroundings.attach(call, log)
        except (OSError, ValueError) as error:
            reply.update(reason="spawn", error=f"{error}"[:MAX_ERROR])
            _say(f"not started: {error}")
        else:
            result = self._run_in_context(call, body, reply)
        if os.getpid() != self.pid:
            self._end_of_copy(reply)
        self.retired = reply["recycle"] = self.surroundings.detach() or _leftover_threads()
        reply["duration"] = time.monotonic() - started
        self._measure(reply, before, children)
        return reply, result

    def run_one(self, call: dict[str, Any], body: bytes, log: int, reply: dict[str, Any]) -> bytes:
        """Run one call of a bundle to the end of its function; returns its result as JSON."""
        result = b""
        try:
            self.surroundings.enter(call, log)
        except (OSError, ValueError) as error:
            reply.update(reason="spawn", error=f"{error}"[:MAX_ERROR])
            _say(f"not started: {error}")
        else:
            result = self._run_in_context(call, body, reply)
        if os.getpid() != self.pid:
            self._end_of_copy(reply)
        left = self.surroundings.restore() or _leftover_threads()
        if left:
            self.retired = left
        env = call["env"]
        reply["files"] = os.access(env["JOBCTL_RESULT_FILE"], os.F_OK) or os.access(
            env["JOBCTL_PROGRESS_FILE"], os.F_OK
        )
        return result

    def _run_in_context(
        self, call: dict[str, Any], body: bytes | bytearray, reply: dict[str, Any]
    ) -> bytes:
        self.running = run = Running(self, call)
        RUNNING.set(run)
        result = self._invoke(run, body, reply)
        run.over = True
        self.running = None
        RUNNING.set(None)
        return result

    def _invoke(self, run: Running, body: bytes | bytearray, reply: dict[str, Any]) -> bytes:
        """Call the function; returns its result as JSON and fills ``reply`` if there is none."""
        call = run.call
        try:
            wish = run.limit("result")
            form = beside("python_forms").Form(wish) if wish else None
            function = self.modules.target(call["target"])
            args, kwargs = json.loads(body)
            if run.limit("soft_timeout") is not None:
                limit = beside("python_stop").SoftLimit(run, run.limit("soft_timeout"))
                value = limit.call(function, args, kwargs)
            else:
                value = function(*args, **kwargs)
                if hasattr(type(value), "__await__"):
                    value = _run_awaitable(value)
            return b"" if value is None else encode_result(value, call["max_result"], form)
        except ResultError as error:
            reply.update(reason="result", error=str(error))
            _say(str(error))
        except TargetError as error:
            reply.update(reason="spawn", error=str(error))
            _say(str(error))
        except SystemExit as error:
            _exit_as_script(error.code, reply)
        except KeyboardInterrupt as error:
            beside("python_failure").describe(error, reply)
            self.interrupt()
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its outcome
            beside("python_failure").describe(error, reply, run.limit("expected") or ())
        return b""

    def interrupt(self) -> None:
        """End as an interrupted program does: by the signal."""
        self.surroundings.detach()
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)

    def _end_of_copy(self, reply: dict[str, Any]) -> NoReturn:
        """End a process that the job forked and let run out of its function."""
        self.surroundings.detach()
        os._exit(reply.get("exit_code", 0 if reply.get("reason") is None else 1))

    def reset_peak(self) -> None:
        """Let the kernel's peak of resident memory start anew, so that it is that of one call.

        The kernel walks through all memory for it, so it is done after an answer, when nobody waits.
        """
        if self.clear_refs is not None:
            try:
                os.pwrite(self.clear_refs, b"5", 0)
            except OSError:
                self.clear_refs = None  # the peak is then that of the child's whole life

    def resident(self) -> int | None:
        """Return the bytes this process holds in memory, as far as the kernel tells."""
        return None if self.statm is None else int(os.pread(self.statm, 64, 0).split()[1]) * PAGE

    def peak(self, reply: dict[str, Any], after: Rusage) -> int:
        """Return the most memory the call held; a short one is taken to hold what is left of it.

        Not ``ru_maxrss`` where it can be helped: it begins with the memory of whoever started this.
        """
        if self.status is None or self.statm is None:
            return after.ru_maxrss * KILOBYTE
        rss = reply["rss"] = int(os.pread(self.statm, 64, 0).split()[1]) * PAGE
        if reply["duration"] < SHORT:
            return rss
        text = os.pread(self.status, 4096, 0)
        return int(text.partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024

    def _measure(self, reply: dict[str, Any], before: Rusage, children: Rusage) -> None:
        """Add what the call used, and what the child holds now, in seconds and bytes."""
        after = resource.getrusage(resource.RUSAGE_SELF)
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        reply["usage"] = [
            after.ru_utime - before.ru_utime + reaped.ru_utime - children.ru_utime,
            after.ru_stime - before.ru_stime + reaped.ru_stime - children.ru_stime,
            self.peak(reply, after),
            after.ru_inblock - before.ru_inblock + reaped.ru_inblock - children.ru_inblock,
            after.ru_oublock - before.ru_oublock + reaped.ru_oublock - children.ru_oublock,
        ]


class Bundles:
    """Runs that came together: one after the other, each as if it were alone.

    A run begins only with a token, which the host may take back. What it answers is in a file that
    the host shares before the next one begins, so that no neighbour's crash loses it. See ``tally.py``.
    """

    HEADER = struct.Struct("<IIdQ")
    """Runs begun, runs answered, start of the last, end of the answers."""
    HEADER_AT = 8
    ANSWERS_AT = 4096

    def __init__(self, child: Child, tokens: int, meta: dict[str, Any]) -> None:
        import mmap

        self.child = child
        self.tokens = tokens
        self.spool: str = meta["spool"]
        self.answers = os.open(meta["tally"], os.O_RDWR | os.O_CLOEXEC)
        self.page = mmap.mmap(self.answers, self.ANSWERS_AT)
        self.shapes: dict[int, dict[str, Any]] = {}
        self.children = _open_meter(f"task/{child.pid}/children", os.O_RDONLY)
        self.log = -1
        self.begun = self.answered = 0
        self.end = self.ANSWERS_AT

    def run(self, meta: dict[str, Any]) -> None:
        """Run what has come, as far as there are tokens, and tell the host of the end."""
        child = self.child
        for number, shape in meta["shapes"]:
            self.shapes[number] = shape
        self.begun = self.answered = 0
        self.end = self.ANSWERS_AT
        news: dict[str, Any] = {"bundle": meta["bundle"], "end": True}
        stale = child.retired or child.modules.stale(self.shapes[meta["runs"][0][0]])
        if stale is not None:
            child.send(NEWS, {**news, "stale": stale})
            return
        last: tuple[str, tuple[dict[str, Any], bytes]] | None = None
        try:
            self._open_log()
        except OSError as error:
            child.send(
                NEWS,
                {**news, "stale": f"the log {error.filename} cannot be opened: {error.strerror}"},
            )
            return
        try:
            for one in self._each(meta):
                last = one
        finally:
            os.close(self.log)
        child.retired = child.retired or child.surroundings.detach()
        try:
            child.send(NEWS, {**news, "retired": child.retired, "rss": child.resident()})
        except OSError:
            if last is not None:
                leave(last[0], framed(DONE, *last[1]))
            raise

    def _each(self, meta: dict[str, Any]) -> Iterator[tuple[str, tuple[dict[str, Any], bytes]]]:
        """Run what may begin; yield where each answer is left without a host, and the answer."""
        child = self.child
        before = resource.getrusage(resource.RUSAGE_SELF)
        waited = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = time.monotonic()
        printed = False
        shown = ""
        for index, (number, run, attempt, epoch, more, arguments) in enumerate(meta["runs"]):
            if child.retired or not self._token():
                return
            if printed and not self._put_away(shown):
                return  # the host will find out, and charge nothing: nothing has begun
            shape = self.shapes[number]
            call = _call_of(shape, meta["seq"] + index, run, attempt, epoch, more)
            shown = f"{shape['logs']}/{run}.{attempt}.log"
            started = time.monotonic()
            self.begun = index + 1
            self._note(started)
            reply: dict[str, Any] = {"seq": call["seq"], "started_at": time.time()}
            result = child.run_one(call, arguments.encode(), self.log, reply)
            now = time.monotonic()
            reply["duration"] = now - started
            printed = self._measure(reply, before, waited)
            before, waited = reply.pop("after")
            self._write(index, reply, result)
            self._note(started)
            yield call["reply_file"], (reply, result)
            if now - started > LONELY and not self._has_host():
                return
            if now - told > NEWS_EVERY and index + 1 < len(meta["runs"]):
                told = now
                child.send(NEWS, {"bundle": meta["bundle"], "end": False})

    def _token(self) -> bool:
        try:
            return bool(os.read(self.tokens, 8))
        except BlockingIOError:
            return False

    def _has_host(self) -> bool:
        try:
            return self.child.socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _open_log(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self.log = os.open(self.spool, flags, 0o640)

    def _put_away(self, target: str) -> bool:
        """Give the output of a run its lasting name, and begin a new file for the next."""
        try:
            try:
                os.rename(self.spool, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), 0o750, exist_ok=True)
                os.rename(self.spool, target)
            os.close(self.log)
            self._open_log()
        except OSError as error:
            self.child.retired = f"the log {target} cannot be written: {error.strerror}"
            return False
        return True

    def _note(self, started: float) -> None:
        self.HEADER.pack_into(
            self.page, self.HEADER_AT, self.begun, self.answered, started, self.end
        )

    def _write(self, index: int, reply: dict[str, Any], result: bytes) -> None:
        more = {name: reply[name] for name in reply.keys() - _OF_EVERY_ANSWER} or None
        answer = [
            index, reply["started_at"], reply["duration"], *reply["usage"], reply["log"],
            reply["files"], result.decode() or None, more,
        ]  # fmt: skip
        data = (ENCODE_ANSWER(answer) + "\n").encode()
        view = memoryview(data)
        while view:
            done = os.pwrite(self.answers, view, self.end)
            self.end += done
            view = view[done:]
        self.answered = index + 1

    def _measure(self, reply: dict[str, Any], before: Rusage, waited: Rusage) -> bool:
        """Add what a run used and left to its reply; return whether it printed anything."""
        after = resource.getrusage(resource.RUSAGE_SELF)
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = self.child.peak(reply, after)
        reply["usage"] = [
            after.ru_utime - before.ru_utime + reaped.ru_utime - waited.ru_utime,
            after.ru_stime - before.ru_stime + reaped.ru_stime - waited.ru_stime,
            peak,
            after.ru_inblock - before.ru_inblock + reaped.ru_inblock - waited.ru_inblock,
            after.ru_oublock - before.ru_oublock + reaped.ru_oublock - waited.ru_oublock,
        ]
        reply["after"] = after, reaped
        reply["log"] = os.lseek(self.log, 0, os.SEEK_END)
        if not os.get_blocking(self.log):
            os.set_blocking(self.log, True)
        if self.children is not None and os.pread(self.children, 64, 0):
            self.child.retired = self.child.retired or "it left processes running"
        return bool(reply["log"])


_OF_EVERY_ANSWER = frozenset(
    ("seq", "started_at", "duration", "usage", "log", "files", "after", "rss")
)
ENCODE_ANSWER = json.JSONEncoder(separators=(",", ":")).encode


def _call_of(
    shape: dict[str, Any],
    seq: int,
    run: str,
    attempt: int,
    epoch: int,
    more: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Return a call as it would have come alone."""
    files = f"{shape['exchange']}.{run}.{attempt}"
    env = dict(shape["env"])
    env["JOBCTL_RUN_ID"] = run
    env["JOBCTL_ATTEMPT"] = str(attempt)
    env["JOBCTL_RESULT_FILE"] = files + ".result"
    env["JOBCTL_PROGRESS_FILE"] = files + ".progress"
    env["JOBCTL_SUPERVISOR"] = f"{shape['mark']}.{epoch}"
    call = dict(shape)
    call.update(seq=seq, run=run, env=env, reply_file=files + ".reply")
    if more:
        env.update(more[0])
        call["limits"] = more[1]
    return call


def framed(kind: int, meta: dict[str, Any], body: bytes = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    text = json.dumps(meta).encode()
    return HEADER.pack(MAGIC, PROTOCOL, kind, len(text), len(body)) + text + body


def leave(path: str | None, data: bytes) -> None:
    """Write an answer that nobody was there to take to where the next pool looks for it."""
    if path:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)


def _open_meter(name: str, flags: int) -> int | None:
    try:
        return os.open("/proc/self/" + name, flags | os.O_CLOEXEC)
    except OSError:
        return None


def _run_awaitable(value: Any) -> object:
    import asyncio

    async def wait() -> object:
        return await value

    return asyncio.run(wait())


def _exit_as_script(code: object, reply: dict[str, Any]) -> None:
    """Fill ``reply`` with what ``sys.exit(code)`` means at the end of a script."""
    if code is not None and not isinstance(code, int):
        _write(f"{code}\n")
        reply["error"] = f"{code}"[:MAX_ERROR]
        code = 1
    reply["exit_code"] = (code or 0) & 0xFF
    if reply["exit_code"]:
        reply["reason"] = "exit"


def _leftover_threads() -> str | None:
    threading = sys.modules.get("threading")
    if threading is None:
        return None
    left = [
        t.name for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()
    ]
    return f"threads still running: {', '.join(left)}"[:MAX_ERROR] if left else None


CHILD: Child | None = None
"""The one of this process."""


def call_hook(name: str, hook: str, modules: Modules) -> object:
    """Call ``hook`` (``module:function``), which is the pool's ``child_init`` or ``child_exit``."""
    modules.stale({"cwd": None, "env": os.environ})
    try:
        return modules.target(hook)()
    except BaseException:
        _say(f"{name} = {hook} failed:")
        raise


def main(fd: int, options: str = "{}", modules: Modules | None = None) -> None:
    """Serve the socket ``fd`` until the host closes it.

    ``options`` are JSON: ``init`` and ``exit``, the hooks of a child; ``preload``, which makes this
    a template; ``mode``, which makes it a child whose calls run beside each other.
    """
    global CHILD  # noqa: PLW0603 - a process is one child
    try:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        wishes = json.loads(options)
        if Provider not in sys.meta_path:  # a child of a template has it from there
            sys.meta_path.append(Provider)
        if "preload" in wishes:
            beside("python_template").serve(sys.modules[__name__], fd, wishes)
            return
        modules = modules or Modules()
        if wishes.get("mode") in ("thread", "async"):
            beside("python_shared").serve(sys.modules[__name__], fd, wishes, modules)
        if wishes.get("init"):
            value = call_hook("child_init", wishes["init"], modules)
            if hasattr(type(value), "__await__"):
                _run_awaitable(value)
        CHILD = Child(fd, modules)
        CHILD.serve()
        if wishes.get("exit"):
            call_hook("child_exit", wishes["exit"], modules)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the pool is gone, and with it whoever wants the answer
    except BaseException:  # noqa: BLE001 - nothing may unwind into whatever the job left behind
        sys.__excepthook__(*sys.exc_info())
        os._exit(70)
    if _leftover_threads():
        os._exit(0)  # the interpreter would wait for them
