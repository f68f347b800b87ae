"""The near side of a Python slot: starts warm interpreters and hands them calls.

The wire is a stream socket pair. A frame is ``>2sBBII`` (magic ``jc``, protocol, kind, bytes of
meta, bytes of body), meta as JSON, then the body: for ``CALL`` the JSON of ``[args, kwargs]``, for
``DONE`` that of the result, so that neither is encoded twice. The child opens with ``HELLO``. Every
``CALL`` brings the descriptor of its log, and ``LINE`` one end of the socket by which jobs ask; see
:mod:`jobctl.engine.python_desk`. Calls and answers carry a number; a child takes its calls
one after the other, but nothing here depends on that order except who is blamed for a death.

The slot owns the process: it waits for the pid, and kills. Nothing here reaps.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import signal
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jobctl.engine.python_call import (
    ChildDiedError,
    ChildKey,
    PythonCall,
    PythonReply,
    SpawnError,
    StaleChildError,
    child_key,
)
from jobctl.engine.python_spawn import resolve_interpreter, spawn
from jobctl.engine.usage import cpu_of
from jobctl.model.run import Reason, Usage
from jobctl.store.compact import dump, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ChildDiedError",
    "ChildKey",
    "PythonCall",
    "PythonChild",
    "PythonReply",
    "SpawnError",
    "StaleChildError",
    "child_key",
    "resolve_interpreter",
]

PROTOCOL = 1
MAGIC = b"jc"
HEADER = struct.Struct(">2sBBII")
HELLO, CALL, DONE, PROGRESS, LINE, TALLY, BUNDLE, NEWS, ROUSE = 1, 2, 3, 4, 5, 6, 7, 8, 9

MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What reading a frame that no child of ours wrote may raise."""
MAX_META = 1 << 20
"""Bytes; a child bounds every text of its answers to a few kilobytes."""
RECEIVE_BYTES = 1 << 16
"""More would be mapped and unmapped by the allocator for every frame."""
START_TIMEOUT = 60.0
"""Seconds until an interpreter must have said hello; a cold disk takes a few."""
ENCODE = json.JSONEncoder(separators=(",", ":")).encode
WAKE_UP = memoryview(HEADER.pack(MAGIC, PROTOCOL, ROUSE, 2, 0) + b"{}")


class Listener(Protocol):
    """Who is told of a bundle that is under way."""

    def on_news(self, meta: dict[str, Any]) -> None:
        """Take what the child says: more answers, or with ``end`` that it has come to its end."""

    def on_death(self) -> None:
        """Know that the child has ended before the bundle."""

    def on_progress(self, seq: int, percent: float, message: str) -> None:
        """Take how far a run of it says it is."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that has been sent."""

    future: asyncio.Future[PythonReply]
    max_result: int
    on_progress: Callable[[float, str], None] | None


class PythonChild:
    """A warm interpreter with this end of its socket. Made by :meth:`start`."""

    def __init__(
        self,
        pid: int,
        sock: socket.socket,
        *,
        output: int,
        interpreter: str,
        pidfd: int | None = None,
        options: str = "{}",
    ) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid) if pidfd is None else pidfd
        self.calls = 0
        """Calls sent so far."""
        self.python: str | None = None
        """Its version, once it has said hello."""
        self.start_cost = 0.0
        """Seconds of CPU it had used by then; by the clock with ``child_init``, which may wait."""
        self._interpreter = interpreter
        self._options = options
        self._output = output
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._made = self._loop.time()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._late = self._loop.call_later(START_TIMEOUT, self._break, "it did not start in time")
        self._waiting: dict[int, _Waiting] = {}
        self._listener: Listener | None = None
        self._received = bytearray()
        self._unsent: deque[tuple[memoryview, int | None]] = deque()
        self._closed = False
        self._loop.add_reader(sock, self._receive)

    @classmethod
    def start(cls, key: ChildKey, *, env: Mapping[str, str], options: str = "{}") -> PythonChild:
        """Start an interpreter in a session of its own; it gets ready while others work.

        ``env`` is the environment of its start; every call brings its own. ``options`` are what
        :func:`jobctl.engine.python_child.main` is told. From here on the caller
        must wait for ``pid`` and, after :meth:`close`, close ``pidfd``. Raises SpawnError.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        output = os.memfd_create("output")
        try:
            pid = spawn(key, env=env, fd=theirs.fileno(), output=output, options=options)
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
        ours.settimeout(0)
        return cls(pid, ours, output=output, interpreter=key.interpreter, options=options)

    @property
    def open(self) -> bool:
        """Whether it takes calls, as far as anybody knows."""
        return self.python is not None and not self._closed

    async def ready(self) -> None:
        """Return when it takes calls; raises SpawnError if it ended instead."""
        await asyncio.shield(self._ready)

    async def call(
        self,
        call: PythonCall,
        *,
        log_fd: int,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> PythonReply:
        """Run ``call`` there, its output going to ``log_fd``, which stays the caller's.

        Several calls may be on their way. Cancelling stops the wait, not the function: kill the
        child for that. Raises SpawnError when it never got ready, StaleChildError when it needs
        replacing first, ChildDiedError, and OSError when ``log_fd`` cannot be sent.
        """
        if not self._ready.done():
            await self.ready()
        self._ready.result()
        if self._closed:
            raise ChildDiedError("the child had ended", started=False)
        self.calls = seq = self.calls + 1
        meta = {
            "seq": seq,
            "run": call.run_id,
            "target": call.target,
            "env": dict(call.env),
            "cwd": call.cwd,
            "stdin": call.stdin,
            "max_result": call.max_result,
            "reply_file": call.reply_file,
        }
        if call.limits:
            meta["limits"] = dict(call.limits)
        body = ENCODE([call.args, dict(call.kwargs)]).encode()
        future: asyncio.Future[PythonReply] = self._loop.create_future()
        self._waiting[seq] = _Waiting(future, call.max_result, on_progress)
        try:
            self._send(CALL, meta, body=body, fd=log_fd)
        except OSError:
            del self._waiting[seq]
            raise
        return await future

    def share(self, tally: str, *, spool: str, tokens: int) -> None:
        """Tell the child by which file and descriptor bundles are counted, and where they print."""
        self._send(TALLY, {"tally": tally, "spool": spool}, body=b"", fd=tokens)

    def bundle(self, number: int, runs: Any, *, shapes: Any, listener: Listener) -> None:  # noqa: ANN401 - JSON
        """Hand over several runs at once; the child must be ready and have nothing else to do.

        ``runs`` and ``shapes`` are as :class:`Bundles` of the child reads them. The sequence number
        of a run is that of the first and its place. Raises ChildDiedError.
        """
        if self._closed:
            raise ChildDiedError("the child had ended", started=False)
        self._listener = listener
        seq = self.calls + 1
        self.calls += len(runs)
        self._send(
            BUNDLE,
            {"bundle": number, "seq": seq, "shapes": shapes, "runs": runs},
            body=b"",
            fd=None,
        )

    def rouse(self) -> None:
        """Let a child that has nothing to do get ready: in a moment it will get a bundle, probably."""
        if self._closed or self._unsent:
            return
        try:
            sent = self._socket.send(WAKE_UP)
        except OSError:
            return  # it is about to be found out, or is not asleep
        if sent < len(WAKE_UP):
            self._unsent.append((WAKE_UP[sent:], None))
            self._loop.add_writer(self._socket, self._on_writable)

    def give_line(self, fd: int) -> None:
        """Send the child its end of the line by which its functions ask; ``fd`` stays the caller's."""
        if not self._closed:
            self._send(LINE, {}, body=b"", fd=fd)

    def say(self, kind: int, meta: dict[str, Any], *, fd: int | None = None) -> None:
        """Send a frame that has no answer; raises OSError when ``fd`` cannot be sent."""
        if not self._closed:
            self._send(kind, meta, body=b"", fd=fd)

    def close(self) -> None:
        """Let the child end by itself; calls without an answer raise ChildDiedError."""
        while not self._closed and self._receive():
            pass  # an answer may have come with the news of its death
        self._end("its slot let go of it")

    def _send(self, kind: int, meta: dict[str, Any], *, body: bytes, fd: int | None) -> None:
        text = dump(meta).encode()
        head = HEADER.pack(MAGIC, PROTOCOL, kind, len(text), len(body)) + text
        data = memoryview(head + body)
        if self._unsent:
            self._unsent.append((data, None if fd is None else os.dup(fd)))
            return
        sent = self._write(data, fd)
        if sent < len(data):
            # The descriptor travels with the first byte.
            self._unsent.append((data[sent:], None if sent or fd is None else os.dup(fd)))
            self._loop.add_writer(self._socket, self._on_writable)

    def _write(self, data: memoryview, fd: int | None) -> int:
        """Return how much of ``data`` was taken; a broken socket takes it all."""
        try:
            if fd is None:
                return self._socket.send(data)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            return self._socket.sendmsg([data], rights)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return len(data)  # its end is read from the other direction, after its last answers

    def _on_writable(self) -> None:
        while self._unsent:
            data, fd = self._unsent.popleft()
            try:
                sent = self._write(data, fd)
            except OSError as error:
                self._unsent.appendleft((data, fd))
                self._break(f"a call could not be sent: {error}")
                return
            if fd is not None and sent:
                os.close(fd)
                fd = None
            if sent < len(data):
                self._unsent.appendleft((data[sent:], fd))
                return
        self._loop.remove_writer(self._socket)

    def _receive(self) -> bool:
        """Handle what has come, up to a limit; returns False when there was nothing."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end(f"its socket failed: {error}")
            return False
        if not data:
            self._end("it ended")
            return False
        self._received += data
        try:
            while self._take_frame():
                pass
        except MALFORMED as error:
            self._break(f"it wrote something else to its socket ({error!r})")
        return True

    def _take_frame(self) -> bool:
        """Handle the first whole frame received; returns False when there is none."""
        received = self._received
        if len(received) < HEADER.size:
            return False
        magic, protocol, kind, meta_size, body_size = HEADER.unpack_from(received)
        largest = max((w.max_result for w in self._waiting.values()), default=0)
        if magic != MAGIC or meta_size > MAX_META or body_size > largest:
            raise ValueError("not a frame")
        if protocol != PROTOCOL:
            raise ValueError(f"protocol {protocol}: restart the daemon after an upgrade")
        start = HEADER.size + meta_size
        if len(received) < start + body_size:
            return False
        meta: Any = parse(received[HEADER.size : start].decode())
        body = received[start : start + body_size].decode()
        del received[: start + body_size]
        self._handle(kind, meta, body)
        return True

    def _handle(self, kind: int, meta: dict[str, Any], body: str) -> None:
        if kind == HELLO and not self._ready.done():
            self.python = str(meta["python"])
            waited = bool(json.loads(self._options).get("init"))
            self.start_cost = self._loop.time() - self._made if waited else cpu_of(self.pid)
            self._late.cancel()
            self._ready.set_result(None)
        elif kind == DONE:
            future = self._waiting[meta["seq"]].future
            stale = meta.get("stale")
            reply = None if stale else _reply(meta, body)
            del self._waiting[meta["seq"]]
            if future.cancelled():
                return
            if reply is None:
                future.set_exception(StaleChildError(str(stale)))
            else:
                future.set_result(reply)
        elif kind == NEWS and self._listener is not None:
            listener, ended = self._listener, bool(meta["end"])
            if ended:
                self._listener = None
            listener.on_news(meta)
        elif kind == PROGRESS and self._listener is not None:
            self._listener.on_progress(
                int(meta["seq"]), float(meta["percent"]), str(meta["message"])
            )
        elif kind == PROGRESS:
            hear = self._waiting[meta["seq"]].on_progress
            if hear is not None:
                self._loop.call_soon(hear, float(meta["percent"]), str(meta["message"]))

    def _break(self, why: str) -> None:
        """Kill a child that cannot be understood; the slot still waits for its pid."""
        if not self._closed:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self._end(why)

    def _end(self, why: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._late.cancel()
        # By number: of a socket the loop would spell out all it knows, only to drop it.
        self._loop.remove_reader(self._socket.fileno())
        if self._unsent:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for _, fd in self._unsent:
            if fd is not None:
                os.close(fd)
        self._unsent.clear()
        if not self._ready.done():
            self._ready.set_exception(self._start_failure(why))
            self._ready.exception()  # nobody may be waiting for it
        os.close(self._output)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_death()
        waiting, self._waiting = list(self._waiting.values()), {}
        for place, one in enumerate(waiting):
            if not one.future.done():
                one.future.set_exception(ChildDiedError(why, started=place == 0))

    def _start_failure(self, why: str) -> SpawnError:
        size = os.fstat(self._output).st_size
        said = os.pread(self._output, 2000, max(0, size - 2000)).decode(errors="replace").strip()
        remedy = "interpreter must name a CPython 3.9 or later that this user can run"
        hook = json.loads(self._options).get("init")
        if "jobctl: child_init" in said:
            remedy = "mend the function, or child_init of the pool"
        elif hook:
            remedy = (
                f"child_init = {hook} of the pool must return within a minute, or else {remedy}"
            )
        return SpawnError(f"{self._interpreter} did not become ready: {said or why}; {remedy}")


def left_reply(data: bytes) -> PythonReply | None:
    """Return the answer that a child left in a file (a ``DONE`` frame); ``None`` if there is none."""
    try:
        magic, protocol, kind, meta_size, body_size = HEADER.unpack_from(data)
        if (magic, protocol, kind) != (MAGIC, PROTOCOL, DONE):
            return None
        start = HEADER.size + meta_size
        if len(data) != start + body_size:
            return None
        return _reply(json.loads(data[HEADER.size : start]), data[start:].decode())
    except (*MALFORMED, struct.error):
        return None


def answered(answer: list[Any]) -> PythonReply:
    """Return what the answer to a run of a bundle says; raises as :func:`left_reply` does not."""
    _, started_at, duration, user, system, rss, read, wrote, _, _, result, more = answer
    meta = {
        **(more or {}),
        "started_at": started_at,
        "duration": duration,
        "usage": [user, system, rss, read, wrote],
    }
    return _reply(meta, result or "")


def _reply(meta: dict[str, Any], body: str) -> PythonReply:
    """Return what a DONE frame says; raises whatever its parts raise when they are not right."""
    usage = meta["usage"]
    reason = meta.get("reason")
    return PythonReply(
        reason=None if reason is None else Reason(reason),
        result=body or None,
        exception=meta.get("exception"),
        bases=tuple(meta.get("bases", ())),
        error=meta.get("error"),
        exit_code=meta.get("exit_code"),
        retry_in=meta.get("retry_in"),
        again=bool(meta.get("again")),
        skip=bool(meta.get("skip")),
        fatal=bool(meta.get("fatal")),
        traceback=meta.get("traceback"),
        recycle=meta.get("recycle"),
        started_at=float(meta["started_at"]),
        duration=float(meta["duration"]),
        usage=Usage(
            user=float(usage[0]),
            system=float(usage[1]),
            max_rss=int(usage[2]),
            read_blocks=int(usage[3]),
            write_blocks=int(usage[4]),
        ),
        rss=meta.get("rss"),
    )
