"""The near side of a template: clean interpreters that fork the warm children of a pool.

The wire is a pair of sequenced packets. The template opens with one message, ``{"python": …,
"threads": …}``. Each message to it, ``{"env", "cwd", "umask", "options"}``, brings two descriptors:
the child's end of its socket, and where it prints until its first call. What becomes of it is told
on the child's own socket, as one line: ``pid N`` by the child, ``stale WHY`` or ``failed ERRNO WHY``
by the template. The child goes on at a ``g``, once its pool watches it, and says ``s`` when it leads a
session of its own; from then on the socket is that of any child.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jobctl.engine.processes import end_unwatched
from jobctl.engine.python_call import ChildKey, SpawnError
from jobctl.engine.python_host import PythonChild
from jobctl.engine.python_spawn import set_priority, spawn, start_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.engine.processes import Exit, Processes

PRELOAD_PATIENCE = 120.0
"""Seconds until a template must be ready."""
FORK_PATIENCE = 10.0
"""Seconds until a template must have forked."""
IMPORT_PATIENCE = 1.0
"""Seconds in which a template that still imports may end by itself: there is no work in it."""


class TemplateUselessError(Exception):
    """Raised when children are better started without the template."""


class StaleTemplateError(Exception):
    """Raised when a template must be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """A child that was forked, its end, and what nobody else may wait for."""

    child: PythonChild
    exit: asyncio.Future[Exit]


class Template:
    """One template process; made by :meth:`start`."""

    def __init__(
        self,
        pid: int,
        sock: socket.socket,
        *,
        output: int,
        interpreter: str,
        processes: Processes,
    ) -> None:
        self.pid = pid
        self._interpreter = interpreter
        self._socket = sock
        self._output = output
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self._exit = processes.wait(pid)
        self._closed = False
        self.users = 0
        """Children that are being made of it."""
        self._hello = asyncio.ensure_future(self._await_hello())
        self._hello.add_done_callback(lambda task: task.cancelled() or task.exception())

    @classmethod
    def start(
        cls,
        key: ChildKey,
        *,
        env: Mapping[str, str],
        preload: tuple[str, ...],
        processes: Processes,
    ) -> Template:
        """Start a template in this process' own session; raises SpawnError."""
        options = json.dumps({"preload": preload})
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(ours.close)
            with theirs:
                output = os.memfd_create("output")
                undo.callback(os.close, output)
                pid = spawn(
                    key, env=env, fd=theirs.fileno(), output=output, options=options, session=False
                )
                undo.callback(end_unwatched, pid)
            ours.settimeout(0)
            template = cls(
                pid, ours, output=output, interpreter=key.interpreter, processes=processes
            )
            undo.pop_all()
        return template

    @property
    def alive(self) -> bool:
        """Whether it may be asked for children."""
        return not (self._closed or self._exit.done())

    async def ready(self) -> int:
        """Return how many threads it has, once it takes requests.

        Raises SpawnError, and :class:`StaleTemplateError` when it was let go meanwhile.
        """
        try:
            return await asyncio.shield(self._hello)
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise StaleTemplateError("it was let go before it was ready") from None
            raise

    async def fork(self, key: ChildKey, *, env: Mapping[str, str], options: str) -> Warmed:
        """Return a new child.

        Raises SpawnError, TemplateUselessError, or :class:`StaleTemplateError`.
        """
        request = {"env": dict(env), "cwd": key.cwd, "umask": key.umask, "options": options}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(0)
        try:
            output = os.memfd_create("output")
        except OSError:
            ours.close()
            theirs.close()
            raise
        try:
            self._ask(json.dumps(request).encode(), theirs.fileno(), output)
        except BaseException:
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
        birth = asyncio.ensure_future(self._born(ours, nice=key.nice))
        try:
            async with asyncio.timeout(FORK_PATIENCE):
                pid, pidfd, exit_ = await asyncio.shield(birth)
        except TimeoutError:
            birth.add_done_callback(partial(_let_go, ours, output))
            raise StaleTemplateError("it does not answer") from None
        except BaseException:
            # One that is born all the same has to be waited for, by whoever is told of it: us.
            birth.add_done_callback(partial(_let_go, ours, output))
            raise
        child = PythonChild(
            pid,
            ours,
            output=output,
            interpreter=key.interpreter,
            pidfd=pidfd,
            options=options,
        )
        return Warmed(child=child, exit=exit_)

    async def _born(
        self, sock: socket.socket, *, nice: int | None
    ) -> tuple[int, int, asyncio.Future[Exit]]:
        """Return pid, descriptor and end of a child that says who it is."""
        word, _, rest = (await self._line(sock)).partition(" ")
        if word == "stale":
            raise StaleTemplateError(rest)
        if word == "failed":
            number, _, why = rest.partition(" ")
            raise SpawnError(f"the template could not fork: {why}", cause=int(number))
        if word != "pid":
            raise SpawnError("the template could not fork: it ended")
        pid = int(rest)
        try:
            pidfd = os.pidfd_open(pid)  # it waits for its word: later it may have gone
        except OSError:
            end_unwatched(pid)
            raise
        try:
            exit_ = self._processes.wait(pid)
        except OSError:
            os.close(pidfd)
            end_unwatched(pid)
            raise
        try:
            set_priority(pid, nice)
            await self._loop.sock_sendall(sock, b"g")
            if await self._loop.sock_recv(sock, 1) == b"s":
                return pid, pidfd, exit_
        except BaseException:
            os.close(pidfd)
            raise
        os.close(pidfd)
        raise SpawnError("the forked interpreter ended at once")

    def close(self) -> asyncio.Future[Exit]:
        """Let it end; returns when that is done."""
        if not self._closed:
            self._closed = True
            patience = FORK_PATIENCE if self._hello.done() else IMPORT_PATIENCE
            self._hello.cancel()
            # What waits for its first word lets go of it a turn later: of whatever has its number then.
            self._loop.remove_reader(self._socket)
            self._socket.close()
            os.close(self._output)
            if not self._exit.done():
                late = self._loop.call_later(patience, self._kill)
                self._exit.add_done_callback(lambda _: late.cancel())
        return self._exit

    def _kill(self) -> None:
        if not self._exit.done():
            os.kill(self.pid, signal.SIGKILL)

    def _ask(self, message: bytes, *descriptors: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            self._socket.sendmsg([message], rights)
        except (BrokenPipeError, ConnectionResetError):
            raise StaleTemplateError("it ended") from None
        except OSError as error:  # too large for one message, or too many of them under way
            raise TemplateUselessError(str(error)) from None

    async def _line(self, sock: socket.socket) -> str:
        said = b""
        while not said.endswith(b"\n"):
            data = await self._loop.sock_recv(sock, 4096)
            if not data:
                break
            said += data
        return said.decode(errors="replace").strip()

    async def _await_hello(self) -> int:
        late = None
        try:
            async with asyncio.timeout(PRELOAD_PATIENCE):
                data = await self._loop.sock_recv(self._socket, 4096)
        except TimeoutError:
            self._kill()
            late, data = PRELOAD_PATIENCE, b""
        except OSError:
            data = b""  # it ended
        if not data:
            text = start_failure(
                self._output, interpreter=self._interpreter, forked=False, late=late
            )
            raise SpawnError(text)
        return int(json.loads(data)["threads"])


def _let_go(
    sock: socket.socket, output: int, birth: asyncio.Future[tuple[int, int, asyncio.Future[Exit]]]
) -> None:
    """Let a child go that nobody wants: it ends by the end of its socket."""
    sock.close()
    os.close(output)
    if not birth.cancelled() and birth.exception() is None:
        os.close(birth.result()[1])


def _is_cancelled() -> bool:
    """Return whether somebody has cancelled the task that asks."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
