"""The frames between a Python slot and its interpreter.

The wire is a stream socket pair. A frame is ``>2sBBII`` (magic ``jc``, protocol, kind, bytes of
meta, bytes of body), meta as JSON, then the body: for ``CALL`` the JSON of ``[args, kwargs]``, for
``DONE`` that of the result, so that neither is encoded twice. The child opens with ``HELLO``. Every
``CALL`` brings the descriptor of its log, and ``LINE`` one end of the socket by which jobs ask; see
:mod:`jobctl.engine.python_desk`.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from jobctl.store.compact import dump, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
TOGETHER_MOST = 64
"""Frames that are sent together: their descriptors have to fit into one message."""
WAKE_UP = memoryview(HEADER.pack(MAGIC, PROTOCOL, ROUSE, 2, 0) + b"{}")


class Wire:
    """The pool's end of the socket of one interpreter.

    ``largest`` tells how many bytes a body may have now; ``on_frame`` takes kind, meta and body of each
    frame, ``on_end`` why nothing more comes, and ``on_nonsense`` why what came cannot be gone on with.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        largest: Callable[[], int],
        on_frame: Callable[[int, Any, str], None],
        on_end: Callable[[str], None],
        on_nonsense: Callable[[str], None],
    ) -> None:
        self._socket = sock
        self._largest = largest
        self._on_frame = on_frame
        self._on_end = on_end
        self._on_nonsense = on_nonsense
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        """With the descriptors that go with the first byte, which are ours."""
        self._together: list[tuple[bytes, int]] = []
        """Frames that are sent before this turn of the loop is over, each with its descriptor."""
        self._loop.add_reader(sock, self.receive)

    def send(
        self, kind: int, meta: dict[str, Any], body: bytes = b"", fd: int | None = None
    ) -> None:
        """Send a frame, now or when there is room, and with it ``fd``, which stays the caller's.

        Raises OSError when ``fd`` cannot be sent. What is sent to nobody is lost without a word.
        """
        if self._together:
            self._send_together()
        self._send(memoryview(_framed(kind, meta, body)), () if fd is None else (fd,))

    def send_soon(self, kind: int, meta: dict[str, Any], body: bytes, fd: int) -> None:
        """Send a frame with ``fd``, which stays the caller's, together with others of this moment.

        Each wakes the interpreter that it is sent to. Raises OSError when ``fd`` cannot be kept
        until then; the interpreter is given up when it cannot be sent.
        """
        try:
            kept = os.dup(fd)
        except OSError:  # no room to keep it for a moment, which sending it takes none of
            self.send(kind, meta, body, fd)
            return
        if not self._together:
            self._loop.call_soon(self._flush)
        self._together.append((_framed(kind, meta, body), kept))
        if len(self._together) >= TOGETHER_MOST:
            self._send_together()

    def _flush(self) -> None:
        if self._together:
            self._send_together()

    def _send_together(self) -> None:
        """Send what waits for others."""
        frames, self._together = self._together, []
        fds = tuple(fd for _, fd in frames)
        try:
            self._send(memoryview(b"".join(data for data, _ in frames)), fds)
        except OSError as error:
            self._on_nonsense(f"a call could not be sent: {error}")
        finally:
            _close(fds)

    def _send(self, data: memoryview, fds: tuple[int, ...]) -> None:
        if self._unsent:
            self._unsent.append((data, _copies(fds)))
            return
        sent = self._write(data, fds)
        if sent < len(data):
            # Descriptors travel with the first byte.
            self._unsent.append((data[sent:], () if sent else _copies(fds)))
            self._loop.add_writer(self._socket, self._on_writable)

    def rouse(self) -> None:
        """Send a frame that says nothing, unless others are on their way."""
        if self._unsent or self._together:
            return
        try:
            sent = self._socket.send(WAKE_UP)
        except OSError:
            return  # it is about to be found out, or is not asleep
        if sent < len(WAKE_UP):
            self._unsent.append((WAKE_UP[sent:], ()))
            self._loop.add_writer(self._socket, self._on_writable)

    def receive(self) -> bool:
        """Handle what has come, up to a limit; returns False when there was nothing."""
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._on_end(f"its socket failed: {error}")
            return False
        if not data:
            self._on_end("it ended")
            return False
        self._received += data
        try:
            while self._take_frame():
                pass
        except MALFORMED as error:
            self._on_nonsense(f"it wrote something else to its socket ({error!r})")
        return True

    def close(self) -> None:
        """Close the socket; what was not sent yet is not sent."""
        # By number: of a socket the loop would spell out all it knows, only to drop it.
        self._loop.remove_reader(self._socket.fileno())
        if self._unsent:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for _, fds in self._unsent:
            _close(fds)
        _close(fd for _, fd in self._together)
        self._unsent.clear()
        self._together.clear()

    def _write(self, data: memoryview, fds: tuple[int, ...]) -> int:
        """Return how much of ``data`` was taken; a broken socket takes it all."""
        try:
            if not fds:
                return self._socket.send(data)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            return self._socket.sendmsg([data], rights)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return len(data)  # its end is read from the other direction, after its last answers

    def _on_writable(self) -> None:
        while self._unsent:
            data, fds = self._unsent.popleft()
            try:
                sent = self._write(data, fds)
            except OSError as error:
                self._unsent.appendleft((data, fds))
                self._on_nonsense(f"a call could not be sent: {error}")
                return
            if sent:
                _close(fds)
                fds = ()
            if sent < len(data):
                self._unsent.appendleft((data[sent:], fds))
                return
        self._loop.remove_writer(self._socket)

    def _take_frame(self) -> bool:
        """Handle the first whole frame received; returns False when there is none."""
        received = self._received
        if len(received) < HEADER.size:
            return False
        magic, protocol, kind, meta_size, body_size = HEADER.unpack_from(received)
        if magic != MAGIC or meta_size > MAX_META or body_size > self._largest():
            raise ValueError("not a frame")
        if protocol != PROTOCOL:
            raise ValueError(f"protocol {protocol}: restart the daemon after an upgrade")
        start = HEADER.size + meta_size
        if len(received) < start + body_size:
            return False
        meta: Any = parse(received[HEADER.size : start].decode())
        body = received[start : start + body_size].decode()
        del received[: start + body_size]
        self._on_frame(kind, meta, body)
        return True


def _framed(kind: int, meta: dict[str, Any], body: bytes) -> bytes:
    text = dump(meta).encode()
    return HEADER.pack(MAGIC, PROTOCOL, kind, len(text), len(body)) + text + body


def _copies(fds: Iterable[int]) -> tuple[int, ...]:
    """Return copies of descriptors; raises OSError, and leaves none then."""
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - those before one that fails are closed
    except OSError:
        _close(made)
        raise
    return tuple(made)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
