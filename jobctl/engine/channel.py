"""The line between supervisor and pool: JSON objects, one a line, over a socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

Message = dict[str, object]

RECEIVE_BYTES = 1 << 16


class Channel(asyncio.Protocol):
    """One end of the line.

    ``on_message`` gets every message in order, ``on_close`` is called once when the other end is
    gone. A line that is not a JSON object is dropped: both ends are ours, so it can only be the
    cut-off last line of a process that died.
    """

    def __init__(self, on_message: Callable[[Message], None], on_close: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._transport: asyncio.Transport | None = None
        self._pending = bytearray()

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_message: Callable[[Message], None],
        on_close: Callable[[], None],
    ) -> Channel:
        """Attach one end of a socket pair to the running loop."""
        channel = cls(on_message, on_close)
        await channel.attach(sock)
        return channel

    async def attach(self, sock: socket.socket) -> None:
        """Attach this channel, made directly, to one end of a socket pair."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=sock)

    def redirect(self, on_message: Callable[[Message], None], on_close: Callable[[], None]) -> None:
        """Hand what comes from now on to somebody else."""
        self._on_message = on_message
        self._on_close = on_close

    def send(self, message: Message) -> None:
        """Send one message; dropped silently when the other end is gone, as ``on_close`` tells."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close this end; idempotent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket has one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on the whole lines received so far."""
        seen = len(self._pending)
        self._pending += data
        while (end := self._pending.find(b"\n", seen)) >= 0:
            line = bytes(self._pending[:end])
            del self._pending[: end + 1]
            seen = 0
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the other end is gone."""
        if exc is not None:
            self._hear_last_words()
        self._on_close()

    def _hear_last_words(self) -> None:
        """Read what came before the end: who writes to the dead finds out before having read it."""
        assert self._transport is not None  # noqa: S101 - it was made
        fd = self._transport.get_extra_info("socket").fileno()
        with contextlib.suppress(OSError):
            while data := os.read(fd, RECEIVE_BYTES):
                self.data_received(data)
