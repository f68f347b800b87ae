"""The far side of a Python slot: a warm interpreter that runs one function call after the other.

Runs in any CPython from 3.9 on, in environments where jobctl is not installed, so it uses the
standard library only; and of that as little as it can, because its imports are paid at every
start. :mod:`jobctl.engine.python_host` starts it; :mod:`jobctl.engine.python_wire` describes the wire.

Between two calls everything a script would find fresh is put back: standard streams, working
directory, environment, umask, signal handlers, alarm. What is not: imported modules and whatever
they keep. A forked copy that falls out of the job's function ends there, as a script would.
"""

from __future__ import annotations

import _contextvars  # As below: what the public module adds is not needed.
import _socket  # Without the 5 ms of the wrapper around it.
import _thread
import errno
import json
import os
import resource
import struct
import sys
import time as _time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

    Rusage = resource.struct_rusage
else:
    import _signal  # The public module wraps every number in an enum, at three times the cost.

time: Any = type(sys)("time")
"""A copy: the clocks of the module are a job's to change, in tests of its own say."""
vars(time).update(vars(_time))

MAGIC = b"jc"
PROTOCOL = 1
HEADER = struct.Struct(">2sBBII")
"""Magic, protocol, kind, bytes of meta, bytes of body. Meta is JSON; the body is passed through."""
HELLO, CALL, DONE, PROGRESS, LINE, TALLY, BUNDLE, NEWS, ROUSE = 1, 2, 3, 4, 5, 6, 7, 8, 9

RECEIVE_BYTES = 1 << 16  # more would be mapped and unmapped by the allocator for every frame
CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
SCAN_EVERY = 0.2
"""Seconds; a child in steady use looks for changed module files this often, an idle one always."""
SCAN_PART = 20
"""For a run that comes alone it looks unless it just did: at most this part of the time goes there."""
CLOCK_GRAIN = 0.01
"""Seconds by which the time stamp of a file may lie behind its write."""
MAX_ERROR = 4096
MAX_NAME = 200
SHORT = 0.002
"""Seconds below which reading a call's peak of memory would cost too large a part of it."""
PAGE = resource.getpagesize()
KILOBYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ``ru_maxrss``."""

PACKAGES = ("/site-packages", "/dist-packages")
"""Directories whose own time stamp tells of every installation; their files are not watched."""
PACKAGE_PARTS = tuple(part + "/" for part in PACKAGES)
STANDARD_LIBRARY = os.path.dirname(os.__file__) + "/"
STREAMS = ("stdin", "stdout", "stderr")
ENVIRON = os.environ
"""The environment of the process, whatever a job puts in its place."""
PREPARED: dict[str, Any] = {}
"""What a template has made for its children: ``streams``, and the names of modules ``seen``."""
IMPORTED: dict[str, tuple[str, str, Any]] = {}
"""By target: name of the module, that of the function, and the module, which was imported."""
AROUND = "__jobctl_around__"
"""Of a function: what returns the one that runs call in its place; see :func:`dressed`."""
set_handler = _signal.signal
"""As it is, without the watch of python_signals.py."""


class Signs:
    """What tells that a run has done to its process what few runs do."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = False
        """Whether there is something to be put back that is not looked at else."""


SIGNS = Signs()


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


def _plain_part(value: Any) -> object:
    found = plain(value)
    _check_keys(found)
    return found


_encode = json.JSONEncoder(
    default=_plain_part, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
LEAVES = frozenset({str, int, float, bool, type(None)})
TEXT_KEYS = frozenset({str})


def encode(value: object) -> str:
    """Return ``value`` as JSON, numbers that are keys as texts; raises what its parts raise.

    Raises ValueError for two keys of a dict that would be one then.
    """
    if type(value) not in LEAVES:
        _check_keys(value)
    return _encode(value)


def encode_bytes(value: object) -> bytes:
    """Return ``value`` as JSON that every reader takes; raises as :func:`encode`, and ValueError."""
    text = encode(value)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only the escaped form can say it
        data = json.dumps(json.loads(text)).encode()
    if len(data) > SURELY_READABLE:
        beside("python_readback").check_json(data)
    return data


def _check_keys(value: Any) -> None:
    waiting, seen = [value], set()
    for part in waiting:
        if isinstance(part, dict):
            if not TEXT_KEYS.issuperset(map(type, part)):
                _check_texts(part)
            parts: Any = part.values()
        elif isinstance(part, (list, tuple)):
            parts = part
        else:
            continue
        # Found without Python code for each value: most hold nothing nested.
        if not LEAVES.issuperset(map(type, parts)) and id(part) not in seen:
            seen.add(id(part))  # the encoder tells of what holds itself
            waiting += [inner for inner in parts if isinstance(inner, (dict, list, tuple))]


def _check_texts(value: dict[Any, Any]) -> None:
    seen: dict[str, object] = {}
    for key in value:
        if isinstance(key, str):
            text = str.__str__(key)
        elif key is None or isinstance(key, (int, float)):
            text = json.dumps(key)
        else:
            continue  # refused by the encoder
        if text in seen:
            raise ValueError(
                f"the keys {seen[text]!r} and {key!r} of a dict are both {text!r} in it"
            )
        seen[text] = key


NO_ARGUMENTS = "[[],{}]"
"""How runs of a bundle without arguments come."""
SURELY_READABLE = 1000
"""Bytes of JSON that neither nest too deeply nor hold too long a number for a reader."""
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
            data = encode_bytes(value)
            if data[:10] == MARK:
                data = beside("python_forms").wrap("json", data)  # nobody shall take it for one
    except KeyboardInterrupt:  # from outside: the job is stopped
        raise
    except BaseException as error:  # SystemExit too: it is not the function's any more
        raise ResultError(
            f"the result cannot be stored as {form.name if form else 'JSON'}: {_words(error)}"
            "; return numbers, text, lists, dicts, dates or dataclasses, or store it elsewhere"
            " and return its name"
        ) from error
    if len(data) > limit:
        raise ResultError(
            f"the result is {len(data)} bytes of {form.name if form else 'JSON'}, the limit is {limit};"
            " store it elsewhere and return its name"
        )
    return data


def _dotted(cls: type) -> str:
    return beside("python_failure").dotted(cls)  # type: ignore[no-any-return]


def _words(error: BaseException) -> str:
    """Return what an exception says, or its name where that is nothing or raises in turn."""
    try:
        said = f"{error}\n"[:MAX_NAME].rstrip()
    except BaseException:  # noqa: BLE001 - it may be any object of the job
        said = ""
    return said or _dotted(type(error))


def say(text: str) -> None:
    """Write a line of our own into the log of the run."""
    _write(f"jobctl: {text}\n")


def _write(text: str) -> None:
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        return  # the disk is full: the reply carries it too


class Running:
    """A call that runs, for :mod:`jobctl.context`."""

    __slots__ = ("_row", "child", "context", "limits", "over", "said", "started_at", "stop")

    def __init__(
        self,
        child: Child,
        said: dict[str, Any],
        limits: dict[str, Any] | None,
        row: tuple[Any, ...] | None = None,
        started_at: float = 0.0,
    ) -> None:
        self.child = child
        self.said = said
        """The call, or with ``row`` what it has in common with others of its bundle."""
        self.limits = limits
        self._row = row
        self.started_at = started_at or time.time()
        self.context: Any = None
        """Its :class:`jobctl.context.RunContext`, once somebody asked for it."""
        self.stop: bool | None = None
        """Whether it shall stop; ``None`` as long as nobody has asked for that."""
        self.over = False

    @property
    def call(self) -> dict[str, Any]:
        """The whole call; few runs of a bundle are asked for it, so it is made up then."""
        if self._row is not None:
            self.said, self._row = beside("python_bundle").call_of(self.said, *self._row), None
        return self.said

    def limit(self, name: str) -> Any:
        """Return something of the job that few jobs have, else ``None``."""
        return self.limits.get(name) if self.limits else None

    def progress(self, percent: float, message: str = "") -> None:
        """Tell the host how far it is; without one, whoever takes the run over reads it."""
        if not self.over and self.child.pid == os.getpid():
            meta = {"seq": self.call["seq"], "percent": percent, "message": message}
            try:
                self.child.send(PROGRESS, meta)
            except (BrokenPipeError, ConnectionResetError):
                leave_progress(self.call["env"]["JOBCTL_PROGRESS_FILE"], percent, message)

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
        return beside("python_stop").stopping(self)  # type: ignore[no-any-return]


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
    full = "_jobctl_" + name
    found = sys.modules.get(full)
    return found or _load(full, os.path.join(os.path.dirname(__file__), name + ".py"))


def _load(name: str, path: str) -> Any:
    found = sys.modules.get(name)
    if found is None:
        from importlib.machinery import SourceFileLoader

        found = type(sys)(name)
        found.__file__ = path
        code: Any = SourceFileLoader(name, path).get_code(name)
        exec(code, found.__dict__)  # noqa: S102 - a file of ours, as this one
        if name.startswith("_jobctl_") and "time" in found.__dict__:
            found.__dict__["time"] = time
        sys.modules[name] = found
    return found


class Provider:
    """Finds ``jobctl`` where it is not installed; see :mod:`jobctl.provided`."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> Any:
        """Return a spec for the two names; asked after everybody else."""
        if name not in ("jobctl", "jobctl.context"):
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, Provider, is_package=name == "jobctl")  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: Any) -> Any:
        """Return the module of that name."""
        folder = os.path.dirname(os.path.dirname(__file__))
        return _load("_jobctl_provided", os.path.join(folder, "provided.py")).module(spec.name)

    @staticmethod
    def exec_module(module: Any) -> None:
        """Do nothing: it has been loaded."""


class Modules:
    """Where the job's code comes from, and whether it is still what the files say."""

    def __init__(self) -> None:
        self.home = _current_directory()
        self.umask = os.umask(0o022)
        """That of the job; ``child_init`` may set another."""
        os.umask(self.umask)
        given = self._roots(None, os.environ)
        sys.path[:] = [entry for entry in sys.path if entry not in given]
        self.roots: tuple[str, ...] = ()
        self.seen: set[str] = PREPARED.get("seen") or set(sys.modules)
        self.stamps = {entry: _stamp(entry) for entry in sys.path if entry.endswith(PACKAGES)}
        self.since, self.scanned = time.time(), time.monotonic()
        self.scan_cost = 1e-5
        """Seconds that a look takes, less what it was kept from the CPU."""
        self.outdated: str | None = None

    def _roots(self, cwd: str | None, env: Mapping[str, str]) -> tuple[str, ...]:
        cwd = cwd or self.home
        more = env.get("PYTHONPATH")
        if not more:
            return (cwd,)
        return (cwd, *(os.path.normpath(os.path.join(cwd, p)) for p in more.split(":") if p))

    def stale(self, call: dict[str, Any], *, alone: bool = True) -> str | None:
        """Return why ``call`` must not run in this interpreter; else prepare the search path."""
        roots = self._roots(call["cwd"], call["env"])
        if self.outdated:
            return self.outdated  # several calls may be on their way to a shared interpreter
        moved = roots != self.roots
        if moved or self._due(alone=alone):
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

    def look(self) -> None:
        """Look whether files have changed, if the next call would have to."""
        if not self.outdated and self._due(alone=True):
            self.outdated = self._scan()

    def _due(self, *, alone: bool) -> bool:
        pause = min(SCAN_EVERY, SCAN_PART * self.scan_cost) if alone else SCAN_EVERY
        return bool(time.monotonic() - self.scanned >= pause)

    def _scan(self) -> str | None:
        """Return why the imported modules are out of date, or None."""
        started, begun = time.time(), time.monotonic()
        changed = [path for path, stamp in self.stamps.items() if _stamp(path) != stamp]
        for path in self._new_files():
            self.stamps[path] = stamp = _stamp(path)
            if stamp is None or self.since - CLOCK_GRAIN < stamp[0] / 1e9 <= started:
                changed.append(path)  # before or after its import: nobody knows
        self.since, self.scanned = started, time.monotonic()
        self.scan_cost = min(self.scanned - begun, 2 * self.scan_cost)
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
        known = IMPORTED.get(name)
        if known is not None:  # the module, that is: the function may be another by now
            module, attribute, there = known
            found = getattr(there, attribute, None)
            if sys.modules.get(module) is there and callable(found):
                return found  # type: ignore[no-any-return]
        return Modules._import(name)

    @staticmethod
    def _import(name: str) -> Callable[..., object]:
        module, _, attribute = name.partition(":")
        if module not in sys.modules:
            sys.path_importer_cache.clear()  # directories may have new files since they were read
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            if error.name and (module + ".").startswith(error.name + "."):
                raise TargetError(
                    f"no module {error.name!r} for {name!r} in cwd ({sys.path[0]}), PYTHONPATH, "
                    f"or what is installed for {sys.executable}"
                ) from None
            raise
        if CHILD is not None:
            CHILD.surroundings.threads.note()
        found: Any = sys.modules[module]
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise TargetError(f"no function {attribute!r} in {module!r}")
        if "." not in attribute:
            IMPORTED[name] = module, attribute, sys.modules[module]
        return found  # type: ignore[no-any-return]


def dressed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a run calls: the function, in what its decorators have put around runs alone.

    Whoever calls the function itself gets nothing of that.
    """
    known: Any = getattr(function, "__dict__", None)
    around = known.get(AROUND) if known else None
    return function if around is None else around(function)


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

    def __init__(self, home: str, umask: int) -> None:
        self.home = home
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.null_device = os.fstat(self.null).st_rdev
        self.umask = umask
        self.signals = beside("python_signals").Signals()
        self.threads = beside("python_streams").Threads()
        self.lent: Any = None
        """The environment of C, once there was a call that came alone."""
        self.environ = ENVIRON
        self.env: dict[str, str] = {}
        self.env_raw: object = None  # it is read when a call comes
        self.encoding: str = getattr(sys.stdout, "encoding", None) or "utf-8"
        self.streams: list[Any] = PREPARED.get("streams") or [None, None, None]
        self.with_stdin = False
        self.detach()

    def attach(self, call: dict[str, Any], log: int) -> None:
        """Make everything as ``call`` wants it; raises OSError or ValueError where that fails."""
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.dup2(self.null, 0)
        if call["stdin"] is not None:
            self._give_input(call["stdin"])
        os.chdir(call["cwd"] or self.home)
        self._set_environment(call["env"])
        sys.argv = [call["target"]]
        set_handler(_signal.SIGINT, _signal.default_int_handler)

    def restore(self) -> str | None:
        """Do as :meth:`detach` between two calls of a bundle, whose log stays in place."""
        SIGNS.seen = False
        self.signals.put_back()
        problem = self._flush()
        if not (self._untouched(1) and self._untouched(2) and self._untouched(0)):
            self._renew()
        return problem or self.threads.talked()

    def detach(self) -> str | None:
        """Put back what a job may have changed; returns why that failed, or None."""
        SIGNS.seen = False
        self.signals.look()
        if self.lent is not None:
            self.lent.flush()
        problem = self._flush() or self.threads.talked()
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
            self.streams[number] = beside("python_streams").open_stream(number, self.encoding)

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
        if number == 0 and (self.with_stdin or not self.no_input()):
            return False
        name = STREAMS[number]
        stream = self.streams[number]
        shown = getattr(sys, name, None) is stream
        if not shown or not _usable(stream):
            return False
        if stream.changed:
            stream.put_back(number, self.encoding)
        setattr(sys, f"__{name}__", stream)
        return not stream.changed

    def no_input(self) -> bool:
        """Return whether descriptor 0 leads nowhere, as it does without ``stdin``."""
        try:
            return os.fstat(0).st_rdev == self.null_device
        except OSError:
            return False

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
        if self.lent is None:
            self.lent = beside("python_lent").Lent()
        touched = not self.lent.untouched()
        os.environ = environ = self.environ
        if getattr(environ, "_data", self) != self.env_raw:  # the job changed something, or first
            self.env = dict(environ)
        for name in self.env.keys() - env.keys():
            del environ[name]
        for name, value in env.items():
            if self.env.get(name) != value:
                environ[name] = value
        if touched:
            self.lent.settle({os.fsencode(name): os.fsencode(value) for name, value in env.items()})
        else:
            self.lent.keep()
        if touched or self.env.get("TZ") != env.get("TZ"):
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
    except BaseException as error:  # noqa: BLE001 - it may be any object of the job
        return f"output could not be written: {_words(error)}"
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
        self.bundles: Any = None
        self.sending = _thread.allocate_lock()
        os.register_at_fork(after_in_child=self.socket.close)  # a copy must not keep it open
        self.modules = modules
        self.surroundings = Surroundings(self.modules.home, modules.umask)
        self.status = open_meter("status", os.O_RDONLY)
        self.statm = open_meter("statm", os.O_RDONLY)
        self.held = b"", 0
        """What that said last, and the bytes of memory it meant."""
        self.clear_refs = open_meter("clear_refs", os.O_WRONLY)
        self.limits = beside("python_limits").Limits(sys.modules[__name__])
        self.sent: tuple[str | None, tuple[dict[str, Any], bytes]] | None = None
        """The last answer to a call that came alone, until the host shows that it has read it: the
        file it belongs to when the host is gone, meta and body."""

    def serve(self) -> None:
        """Run until the socket ends."""
        version = ".".join(map(str, sys.version_info[:3]))
        self.send(HELLO, {"protocol": PROTOCOL, "python": version, "pid": self.pid})
        self.reset_peak()
        try:
            while True:
                frame = self._receive()
                if frame is None:
                    return
                self._take(*frame)
        except ConnectionResetError:
            # So the kernel tells that the host is gone and had not read all that came from here.
            if self.sent is not None:
                path, (meta, body) = self.sent
                leave(path, framed(DONE, meta, body))
            raise
        finally:
            if self.bundles is not None:
                self.bundles.close()

    def _take(self, kind: int, meta: dict[str, Any], body: bytearray) -> None:
        """Carry out one frame; what a later host may say more is for a later child."""
        if kind in (BUNDLE, CALL):
            self.sent = None
        if kind == BUNDLE and self.bundles is not None:
            self.bundles.run(meta)
            self.surroundings.signals.look()  # what the last run has done in C
            self.reset_peak()
        elif kind == CALL:
            self._answer(meta, body, self.descriptors.pop(0) if self.descriptors else None)
        elif kind == TALLY:
            tokens = self.descriptors.pop(0)
            self.bundles = beside("python_bundle").Bundles(self, tokens, meta)
        elif kind == LINE:
            self.line = self.descriptors.pop(0)
        elif kind == ROUSE and self.bundles is not None:
            self.bundles.get_ready()

    def _answer(self, call: dict[str, Any], body: bytearray, log: int | None) -> None:
        """Run a call that came alone, unless it must not run here, and send what came of it."""
        stale = FULL if log is None else self.retired or self.modules.stale(call)
        if log is None or stale is not None:
            if log is not None:
                os.close(log)
            self.send(DONE, {"seq": call["seq"], "stale": stale})
            return
        answer = self._run(call, body, log)
        try:
            self.send(DONE, *answer)
        except OSError:
            leave(call.get("reply_file"), framed(DONE, *answer))
            raise
        self.sent = call.get("reply_file"), answer
        self.reset_peak()

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
            say(f"not started: {error}")
        else:
            result = self.run_in_context(Running(self, call, call.get("limits")), body, reply)
        if os.getpid() != self.pid:
            self.end_of_copy(reply)
        self.retired = reply["recycle"] = (
            self.surroundings.detach()
            or self.surroundings.threads.left(self.surroundings.streams)
            or self.limits.changed()
            or self.modules.outdated
        )
        reply["duration"] = time.monotonic() - started
        self._measure(reply, before, children)
        return reply, result

    def run_in_context(
        self, run: Running, body: bytes | bytearray | str, reply: dict[str, Any]
    ) -> bytes:
        """Call the function as the one that runs here; returns what :meth:`invoke` does."""
        self.running = run
        RUNNING.set(run)
        result = self.invoke(run, body, reply)
        run.over = True
        self.running = None
        RUNNING.set(None)
        return result

    def invoke(self, run: Running, body: bytes | bytearray | str, reply: dict[str, Any]) -> bytes:
        """Call the function; returns its result as JSON and fills ``reply`` if there is none.

        What threads and event loops share comes here too, with a call that is over.
        """
        said, limits = run.said, run.limits
        try:
            wish = limits.get("result") if limits else None
            form = beside("python_forms").Form(wish) if wish else None
            function = dressed(self.modules.target(said["target"]))
            args, kwargs = ((), {}) if body == NO_ARGUMENTS else json.loads(body)
            if limits and limits.get("soft_timeout") is not None:
                limit = beside("python_stop").SoftLimit(run, limits["soft_timeout"])
                value = limit.call(function, args, kwargs)
            else:
                value = function(*args, **kwargs)
                if value is not None and hasattr(type(value), "__await__"):
                    value = _run_awaitable(value)
            if value is None or (limits and limits.get("drop_result")):
                return b""
            return encode_result(value, said["max_result"], form)
        except ResultError as error:
            reply.update(reason="result", error=str(error))
            say(str(error))
        except TargetError as error:
            reply.update(reason="spawn", error=str(error))
            say(str(error))
        except SystemExit as error:
            _exit_as_script(error, reply)
        except KeyboardInterrupt as error:
            beside("python_failure").describe(error, reply)
            self.interrupt()
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its outcome
            expected, named = run.limit("expected") or (), run.limit("named") or ()
            beside("python_failure").describe(error, reply, expected=expected, named=named)
        return b""

    def interrupt(self) -> None:
        """End as an interrupted program does: by the signal."""
        self.surroundings.detach()
        set_handler(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)

    def end_of_copy(self, reply: dict[str, Any]) -> NoReturn:
        """End a process that the job forked and let run out of its function."""
        self.surroundings.detach()
        os._exit(reply.get("exit_code", 0 if reply.get("reason") is None else 1))

    def reset_peak(self) -> None:
        """Let the kernel's peak of resident memory start anew, so that it is that of one call.

        That takes about as long as two other system calls, however much memory there is.
        """
        if self.clear_refs is not None:
            try:
                os.pwrite(self.clear_refs, b"5", 0)
            except OSError:
                self.clear_refs = None  # the peak is then that of the child's whole life

    def resident(self) -> int | None:
        """Return the bytes this process holds in memory, as far as the kernel tells."""
        return None if self.statm is None else int(os.pread(self.statm, 64, 0).split()[1]) * PAGE

    def peak(self, duration: float, after: Rusage) -> int:
        """Return the most memory the call held; a short one is taken to hold what is left of it.

        Not ``ru_maxrss`` where it can be helped: it begins with the memory of whoever started this.
        """
        if self.status is None or self.statm is None:
            return after.ru_maxrss * KILOBYTE
        if duration < SHORT:
            said = os.pread(self.statm, 64, 0)
            if said != self.held[0]:  # mostly it is what it was
                self.held = said, int(said.split(None, 2)[1]) * PAGE
            return self.held[1]
        text = os.pread(self.status, 4096, 0)
        return int(text.partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024

    def _measure(self, reply: dict[str, Any], before: Rusage, children: Rusage) -> None:
        """Add what the call used, and what the child holds now, in seconds and bytes."""
        after = resource.getrusage(resource.RUSAGE_SELF)
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        reply["rss"] = self.resident()
        reply["usage"] = [
            after.ru_utime - before.ru_utime + reaped.ru_utime - children.ru_utime,
            after.ru_stime - before.ru_stime + reaped.ru_stime - children.ru_stime,
            self.peak(reply["duration"], after),
            after.ru_inblock - before.ru_inblock + reaped.ru_inblock - children.ru_inblock,
            after.ru_oublock - before.ru_oublock + reaped.ru_oublock - children.ru_oublock,
        ]


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


def leave_progress(path: str, percent: float, message: str) -> None:
    """Write how far a run is, as a command would, when nobody is there to be told."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(f"{percent} {' '.join(message.split())}\n".encode(errors="replace"))
    except OSError:
        pass  # it is lost, as it would be without the file


def open_meter(name: str, flags: int) -> int | None:
    """Return a descriptor of a file of this process that the kernel keeps, if it does."""
    try:
        return os.open("/proc/self/" + name, flags | os.O_CLOEXEC)
    except OSError:
        return None


def _run_awaitable(value: Any) -> object:
    import asyncio

    async def wait() -> object:
        return await value

    return asyncio.run(wait())


def _exit_as_script(error: SystemExit, reply: dict[str, Any]) -> None:
    """Fill ``reply`` with what ``sys.exit(code)`` means at the end of a script."""
    try:
        code = error.code
        if code is not None and not isinstance(code, int):
            said = f"{code}\n"
            _write(said)
            reply["error"] = said[:-1][:MAX_ERROR]
            code = 1
        number = 0 if code is None else int.__int__(code)
    except BaseException:  # noqa: BLE001 - class and code may be any object of the job
        beside("python_failure").describe(error, reply)
        return
    # The same as the interpreter, which has a C long for it.
    reply["exit_code"] = number & 0xFF if -(2**63) <= number < 2**63 else 0xFF
    if reply["exit_code"]:
        reply["reason"] = "exit"


FULL = "it has no descriptors left"
"""Why an interpreter takes no more calls for which there came no log."""
CLOSED = (
    "the function has closed descriptors of its interpreter, as os.closerange() does, so nobody can"
    " be told what came of it; close only what you have opened"
)


def give_up(error: BaseException) -> NoReturn:
    """End an interpreter that cannot answer any more, and say why."""
    if isinstance(error, OSError) and error.errno == errno.EBADF:
        say(CLOSED)
    else:
        sys.__excepthook__(type(error), error, error.__traceback__)
    os._exit(70)


CHILD: Child | None = None
"""The one of this process."""


def call_hook(
    name: str, hook: str, modules: Modules, wait: Callable[[Any], object] = _run_awaitable
) -> None:
    """Call ``hook`` (``module:function``), which is the pool's ``child_init`` or ``child_exit``.

    ``wait`` sees a coroutine to its end.
    """
    say(f"{name} = {hook} begins")  # the host reads it if this process ends before it is ready
    modules.stale({"cwd": None, "env": os.environ})
    try:
        value = modules.target(hook)()
        if hasattr(type(value), "__await__"):
            wait(value)
    except TargetError as error:
        say(f"{name} = {hook} failed: {error}")
        os._exit(70)
    except BaseException:
        say(f"{name} = {hook} failed:")
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
        beside("python_signals").watch()
        if wishes.get("init"):
            call_hook("child_init", wishes["init"], modules)
        CHILD = Child(fd, modules)
        CHILD.serve()
        if wishes.get("exit"):
            call_hook("child_exit", wishes["exit"], modules)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the pool is gone, and with it whoever wants the answer
    except BaseException as error:  # noqa: BLE001 - nothing may unwind into whatever the job left behind
        give_up(error)
    threads = None if CHILD is None else CHILD.surroundings.threads.left([])
    if threads is not None:
        os._exit(0)  # the interpreter would wait for them
