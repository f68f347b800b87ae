"""The near side of a Python slot: starts warm interpreters and hands them calls.

What goes over the socket is in :mod:`jobctl.engine.python_wire`. Calls and answers carry a number; a
child takes its calls one after the other, but nothing here depends on that order except who is blamed
for a death.

The slot owns the process: it waits for the pid, and kills. Nothing here reaps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jobctl.engine.processes import end_unwatched
from jobctl.engine.python_answers import reply_of
from jobctl.engine.python_call import (
    ChildDiedError,
    ChildKey,
    PythonCall,
    PythonReply,
    SpawnError,
    StaleChildError,
    child_key,
)
from jobctl.engine.python_spawn import resolve_interpreter, spawn, start_failure
from jobctl.engine.python_wire import BUNDLE, CALL, DONE, HELLO, LINE, NEWS, PROGRESS, TALLY, Wire
from jobctl.engine.usage import cpu_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobctl.engine.processes import Exit, Processes

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

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds until an interpreter must have said hello; a cold disk takes a few."""
LATE = "it did not start in time"
ENCODE = json.JSONEncoder(separators=(",", ":")).encode


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
        self.on_other: Callable[[int, dict[str, Any]], None] | None = None
        """Who is told of frames of another kind."""
        self._interpreter = interpreter
        self._forked = pidfd is not None
        self._options = options
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._made = self._loop.time()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._late = self._loop.call_later(START_TIMEOUT, self._break, LATE)
        self._waiting: dict[int, _Waiting] = {}
        self._largest = 0
        """Most bytes of a result that any call may have since none was waited for."""
        self._listener: Listener | None = None
        self._closed = False
        self._wire = Wire(
            sock,
            largest=lambda: self._largest,
            on_frame=self._handle,
            on_end=self._end,
            on_nonsense=self._break,
        )

    @classmethod
    def start(cls, key: ChildKey, *, env: Mapping[str, str], options: str = "{}") -> PythonChild:
        """Start an interpreter in a session of its own; it gets ready while others work.

        ``env`` is the environment of its start; every call brings its own. ``options`` are what
        :func:`jobctl.engine.python_child.main` is told. From here on the caller
        must wait for ``pid`` and, after :meth:`close`, close ``pidfd``. Raises SpawnError.
        """
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            undo.callback(ours.close)
            with theirs:
                output = os.memfd_create("output")
                undo.callback(os.close, output)
                pid = spawn(key, env=env, fd=theirs.fileno(), output=output, options=options)
                undo.callback(end_unwatched, pid)
            ours.settimeout(0)
            child = cls(pid, ours, output=output, interpreter=key.interpreter, options=options)
            undo.pop_all()
        return child

    def watched(self, processes: Processes) -> asyncio.Future[Exit]:
        """Return a future for its end; raises OSError, and is gone then."""
        try:
            return processes.wait(self.pid)
        except OSError:
            end_unwatched(self.pid)
            self.close()
            os.close(self.pidfd)
            raise

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
        _, reply = self.hand_over(call, log_fd=log_fd, on_progress=on_progress)
        return await reply

    def hand_over(
        self,
        call: PythonCall,
        *,
        log_fd: int,
        on_progress: Callable[[float, str], None] | None = None,
        soon: bool = False,
    ) -> tuple[int, asyncio.Future[PythonReply]]:
        """Send a call to a child that is ready; returns its number and its answer to come.

        ``soon``: together with others that are handed over in this moment. Raises as :meth:`call`,
        the answer too. Who gives the answer another end is heard: what the child says of it later
        is passed over.
        """
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
        self._waiting[seq] = _Waiting(future, on_progress)
        self._largest = max(self._largest, call.max_result)
        try:
            (self._wire.send_soon if soon else self._wire.send)(CALL, meta, body, log_fd)
        except OSError:
            del self._waiting[seq]
            raise
        return seq, future

    def share(self, tally: str, *, spool: str, tokens: int) -> None:
        """Tell the child by which file and descriptor bundles are counted, and where they print."""
        self._wire.send(TALLY, {"tally": tally, "spool": spool}, fd=tokens)

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
        self._wire.send(BUNDLE, {"bundle": number, "seq": seq, "shapes": shapes, "runs": runs})

    def rouse(self) -> None:
        """Let a child that has nothing to do get ready: in a moment it will get a bundle, probably."""
        if not self._closed:
            self._wire.rouse()

    def give_line(self, fd: int) -> None:
        """Send the child its end of the line by which its functions ask; ``fd`` stays the caller's."""
        if not self._closed:
            self._wire.send(LINE, {}, fd=fd)

    def say(self, kind: int, meta: dict[str, Any], *, fd: int | None = None) -> None:
        """Send a frame that has no answer; raises OSError when ``fd`` cannot be sent."""
        if not self._closed:
            self._wire.send(kind, meta, fd=fd)

    def close(self) -> None:
        """Let the child end by itself; calls without an answer raise ChildDiedError."""
        while not self._closed and self._wire.receive():
            pass  # an answer may have come with the news of its death
        self._end("its slot let go of it")

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
            reply = None if stale else reply_of(meta, body)
            del self._waiting[meta["seq"]]
            if not self._waiting:
                self._largest = 0
            if future.done():
                return
            if reply is None:
                future.set_exception(StaleChildError(str(stale)))
            else:
                future.set_result(reply)
        else:
            self._hear(kind, meta)

    def _hear(self, kind: int, meta: dict[str, Any]) -> None:
        """Pass on what a child says of itself."""
        if kind == NEWS and self._listener is not None:
            listener, ended = self._listener, bool(meta["end"])
            if ended:
                self._listener = None
            listener.on_news(meta)
        elif kind == PROGRESS and self._listener is not None:
            self._listener.on_progress(
                int(meta["seq"]), float(meta["percent"]), str(meta["message"])
            )
        elif kind == PROGRESS:
            # What a call has left may tell a moment too late.
            one = self._waiting.get(int(meta["seq"]))
            if one is not None and one.on_progress is not None:
                percent, message = float(meta["percent"]), str(meta["message"])
                self._loop.call_soon(one.on_progress, percent, message)
        elif self.on_other is not None:
            self.on_other(kind, meta)

    def _break(self, why: str) -> None:
        """Kill a child that cannot be understood; the slot still waits for its pid."""
        if not self._closed:
            log.warning("interpreter %d is killed: %s", self.pid, why)
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self._end(why)

    def _end(self, why: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._late.cancel()
        self._wire.close()
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
        late = START_TIMEOUT if why == LATE else None
        text = start_failure(
            self._output, interpreter=self._interpreter, forked=self._forked, late=late
        )
        return SpawnError(text)
