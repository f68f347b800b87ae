"""Where pools find their supervisor again: a socket in the state directory.

A pool that lost its line to the supervisor (it was killed, or replaced itself by a newer version)
calls here until somebody answers. The pool speaks first: ``hello`` with its owner id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING

from jobctl.engine.channel import Channel
from jobctl.store import sockets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.engine.channel import Message

_log = logging.getLogger(__name__)

NAME = "supervisor.sock"
_CREDENTIALS = struct.Struct("3i")


class Rendezvous:
    """The supervisor's end: hands every caller's line to ``on_hello`` with what it said first."""

    def __init__(self, state_dir: Path, on_hello: Callable[[Channel, Message], None]) -> None:
        self._path = state_dir / NAME
        self._on_hello = on_hello
        self._socket: socket.socket | None = None
        self._greeting: set[Channel] = set()

    def open(self) -> None:
        """Listen; the lock of the state directory makes us the only one who may. Raises ``OSError``."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        sockets.bind_unix(listener, str(self._path))
        self._path.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)  # noqa: FBT003 - the only form it has
        self._socket = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close(self) -> None:
        """Listen no more; lines that were handed on stay."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()
        for channel in self._greeting:
            channel.close()

    def _accept(self) -> None:
        assert self._socket is not None  # noqa: S101 - only read while open
        try:
            caller, _ = self._socket.accept()
        except OSError as error:
            _log.debug("a caller went away: %s", error)
            return
        credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[1] not in {os.geteuid(), 0}:
            caller.close()
            return
        caller.setblocking(False)  # noqa: FBT003 - as above
        greeting = asyncio.ensure_future(self._greet(caller))
        greeting.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _greet(self, caller: socket.socket) -> None:
        channel: Channel

        def on_message(message: Message) -> None:
            self._greeting.discard(channel)
            if message.get("say") == "hello":
                self._on_hello(channel, message)
            else:
                channel.close()

        channel = Channel(on_message, lambda: self._greeting.discard(channel))
        self._greeting.add(channel)
        await channel.attach(caller)


def call(state_dir: Path) -> socket.socket:
    """Return a line to the supervisor of ``state_dir``; raises ``OSError`` while there is none."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(1.0)
        sockets.connect_unix(sock, str(state_dir / NAME))
        sock.setblocking(False)  # noqa: FBT003 - as above
    except BaseException:
        sock.close()
        raise
    return sock
