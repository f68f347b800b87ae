"""One call in a shared child: what it is, and the streams that write to its log.

Loaded by :mod:`jobctl.engine.python_shared`; standard library, CPython 3.9 or later.
"""

from __future__ import annotations

import io
import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable
    from typing import Any

    from jobctl.engine.python_shared import Shared

PARTIAL_MOST = 8192
"""Characters of an unfinished line that are kept back."""


class Run:
    """One call that is under way."""

    def __init__(self, shared: Shared, call: dict[str, Any], body: bytes, log: int) -> None:
        self.shared = shared
        self.call = self.said = call
        limits: dict[str, Any] = call.get("limits") or {}
        self.limits = {name: limits[name] for name in limits if name != "soft_timeout"}
        """Without what the host sees to, since there is no signal for one thread."""
        self.soft = "soft_timeout" in limits
        self.body = body
        self.log = log
        self.context: Any = None
        """What ``jobctl.current()`` keeps."""
        self.started_at, self.began = time.time(), time.monotonic()
        self.over = False
        self.asked: str | None = None
        """How it was asked to stop: ``stop`` or ``soft``."""
        self.looks = False
        """Whether it looks by itself whether it was, and so must not be interrupted for that."""
        self.cancel: Callable[[], object] | None = None
        self.tasks: set[Any] = set()
        """What it has made of coroutines, as far as that has not ended."""
        self.futures: set[Any] = set()
        """What it has given to executors, same."""
        self.helpers: set[Any] = set()
        """Those of them that are under way; see :class:`jobctl.engine.python_interrupt.Interruptible`."""
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
        """Tell the host how far it is; what it has left when it ended tells nobody."""
        if self.over:
            return
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
        ask = shared.interrupts.shielded(shared.asking.ask)
        return ask(question, shared.child.plain)  # type: ignore[no-any-return]

    def stopping(self) -> bool:
        """Return whether it was asked to stop; from the first time on it is only told."""
        self.looks = True
        return self.asked is not None

    def call_off(self) -> None:
        """Have what executors do for it end, when it has been stopped."""
        for future in list(self.futures):
            future.cancel()
        for helper in list(self.helpers):
            helper.interrupt()

    def order(self, how: str) -> None:
        """Have it stop: ``soft``, ``stop``, or ``now``, for one that was told and goes on."""
        if how == "soft" and self.asked is not None:
            return
        self.asked = "soft" if how == "soft" else "stop"
        if self.cancel is not None and not (self.looks and how == "stop"):
            self.cancel()


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
        if run is None or run.log < 0:
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
        if run is None or run.log < 0:  # a thread may outlive its run
            os.write(self.number, text.encode(errors="backslashreplace"))
        else:
            run.write(self.number - 1, text)
        return len(text)

    def flush(self) -> None:
        run = self.runs.get()
        if run is not None:
            run.flush()
