"""Signals and timers of a child: after each run as before it.

To look at more than sixty signals takes as long as all else that a short run costs. So the functions
of Python that change something are watched: what no run has called need not be looked at. What C
code changes by itself is looked for where runs that one child took together end: signals that it
ignores, blocks or treats as by default, and timers. A handler in C stays, as does the library that
has it and may need it: those of a Java machine or of Go are for the process, not for a run.

Loaded by :mod:`jobctl.engine.python_child`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any
else:
    import _signal

try:
    import faulthandler
except ImportError:  # another implementation than CPython may be without
    faulthandler = None  # type: ignore[assignment]

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""
DEFAULT = [
    getattr(_signal, name)
    for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGCHLD")
]
"""Signals that do what they do by default, whatever a ``child_init`` wants."""
OF_ONE = ("signal", "siginterrupt")
OF_ALL = ("alarm", "setitimer", "pthread_sigmask", "set_wakeup_fd")
"""Functions that are watched: those that act on the signal they name first, and others."""
ALARM, SETITIMER = _signal.alarm, _signal.setitimer
SIGMASK, SET_WAKEUP_FD = _signal.pthread_sigmask, _signal.set_wakeup_fd
"""As they are: what is done here is not to be noticed."""
LOOK_EVERY = 1.0
"""Seconds."""
TOUCHED: set[int] = set()
"""Signals that a function of Python was called for."""


class Signals:
    """Knows how they were when it was made, and makes them so again."""

    def __init__(self) -> None:
        self._mask = SIGMASK(_signal.SIG_BLOCK, ())
        self._before: dict[int, Any] = {}
        TOUCHED.clear()
        for number in DEFAULT:
            if _signal.getsignal(number) is not _signal.SIG_DFL:
                MODULE.set_handler(number, _signal.SIG_DFL)
        MODULE.set_handler(_signal.SIGPIPE, _signal.SIG_IGN)
        self.put_back()
        # Without those that have a handler in C, which Python cannot put back.
        self._before = {
            number: before
            for number in range(1, _signal.NSIG)
            if (before := _signal.getsignal(number)) is not None
        }
        self._status = MODULE.open_meter("status", os.O_RDONLY)
        self._modules = 0
        self._again = 0.0
        self._known = self._masks()
        """What the kernel says of blocked, ignored and handled signals."""

    def put_back(self) -> None:
        """Put back what was changed by functions of Python; interrupts are ignored from here on."""
        set_handler = MODULE.set_handler
        set_handler(_signal.SIGINT, _signal.SIG_IGN)
        ALARM(0)
        SETITIMER(_signal.ITIMER_VIRTUAL, 0.0)
        SETITIMER(_signal.ITIMER_PROF, 0.0)
        if faulthandler is not None:
            faulthandler.cancel_dump_traceback_later()
        SET_WAKEUP_FD(-1)
        while TOUCHED:
            number = TOUCHED.pop()
            if number in self._before:
                set_handler(number, self._before[number])
        if SIGMASK(_signal.SIG_BLOCK, ()) != self._mask:
            self._unmask()

    def look(self) -> None:
        """Put back what was changed, by C code too.

        To ask the kernel takes a tenth of what a lone run costs, so as long as no code has come that
        could call C as it likes, extension modules by themselves are looked after now and then.
        """
        self.put_back()
        modules, now = sys.modules, time.monotonic()
        known, self._modules = self._modules, len(modules)
        if (
            now < self._again
            and known == self._modules
            and "ctypes" not in modules
            and "_cffi_backend" not in modules
        ):
            return
        self._again = now + LOOK_EVERY
        masks = self._masks()
        if masks == self._known:
            return
        ignored = int(masks.partition(b"SigIgn:")[2].split(None, 1)[0], 16)
        for number, before in self._before.items():
            if bool(ignored >> number - 1 & 1) != (before is _signal.SIG_IGN):
                MODULE.set_handler(number, before)
        self._known = self._masks()

    def _masks(self) -> bytes:
        if self._status is None:
            return b""
        text = os.pread(self._status, 4096, 0)
        return text[text.find(b"SigBlk:") : text.find(b"CapInh:")]

    def _unmask(self) -> None:
        """Let the signals through again that a job has blocked, but for those that wait.

        They were the job's; now they would end the process, and with it somebody else's run.
        """
        for number in _signal.sigpending():
            handler = _signal.getsignal(number)
            MODULE.set_handler(number, _signal.SIG_IGN)  # which drops what waits
            if handler is not None:
                MODULE.set_handler(number, handler)
        SIGMASK(_signal.SIG_SETMASK, self._mask)


def watch() -> None:
    """Have the functions watched from here on: before any code of a job has them."""
    if hasattr(_signal.signal, "__wrapped__"):
        return
    watched = MODULE.beside("python_limits").watched
    for names, note in ((OF_ONE, _note_one), (OF_ALL, _note)):
        for name in names:
            function = getattr(_signal, name)
            for module in (_signal, sys.modules.get("signal")):
                if getattr(module, name, None) is function:
                    setattr(module, name, watched(function, note))
    if faulthandler is not None:
        name = "dump_traceback_later"
        setattr(faulthandler, name, watched(getattr(faulthandler, name), _note))


def _note_one(number: object = None, *_: object) -> None:
    index = getattr(type(number), "__index__", None)
    if index is not None:  # else it is refused
        TOUCHED.add(index(number))
    MODULE.SIGNS.seen = True


def _note(*_: object) -> None:
    MODULE.SIGNS.seen = True
