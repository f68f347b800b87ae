"""A child's questions to the store, which its pool asks for it. Loaded with the first question.

A question and its answer are JSON, one a line, over a socket of their own: the one that calls come
by is not read while a function runs. :mod:`jobctl.engine.python_desk` is the other end.

Standard library of CPython 3.9 on only, as all that runs in a child.
"""

from __future__ import annotations

import _socket
import _thread
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECEIVE_BYTES = 1 << 16
NO_STORE = "this run has no store behind it: it was started by `jobctl run`, or for a test"
GONE = "the pool that runs this is gone, and with it the way to the store"


class Line:
    """The child's end of the line; one question at a time."""

    def __init__(self, fd: int | None) -> None:
        self._socket = (
            None if fd is None else _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
        )
        self._pid = os.getpid()
        self._lock = _thread.allocate_lock()
        self._received = b""
        self._asked = 0
        self._whole = True

    def ask(self, question: dict[str, Any], default: Any) -> dict[str, Any]:
        """Return the answer; ``default`` says how JSON writes values it does not know."""
        if self._socket is None:
            return {"error": NO_STORE}
        if os.getpid() != self._pid:
            return {"error": "a forked copy of the job's process cannot ask; ask before the fork"}
        try:
            with self._lock:
                return self._exchange(self._socket, question, default)
        except OSError:
            return {"error": GONE}
        except (TypeError, ValueError) as error:
            return {"error": f"the arguments cannot be written as JSON: {error}"}

    def _exchange(
        self, sock: _socket.socket, question: dict[str, Any], default: Any
    ) -> dict[str, Any]:
        self._asked += 1
        text = json.dumps({**question, "n": self._asked}, default=default, allow_nan=False)
        # An exception in the middle (a time limit, say) leaves half a question in the line: the pool
        # passes over a line that is none.
        before = b"" if self._whole else b"\n"
        self._whole = False
        sock.sendall(before + text.encode() + b"\n")
        self._whole = True
        while True:
            try:
                answer: dict[str, Any] = json.loads(self._line(sock))
            except ValueError:  # the rest of one that was lost in the same way
                continue
            if answer.get("n") == self._asked:  # others were given up, as above
                return answer

    def _line(self, sock: _socket.socket) -> bytes:
        while b"\n" not in self._received:
            data = sock.recv(RECEIVE_BYTES)
            if not data:
                raise BrokenPipeError
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line
