"""What a function of eager mode finds around it, and what is put back when it has ended."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from jobctl.engine import python_stop
from jobctl.engine.environment import read_env_file
from jobctl.testing import time_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from jobctl.engine.attempt import AttemptSpec

OWN = frozenset({time_limits.NUMBER, python_stop.NUMBER})
"""Signals of time limits: one that is on its way must find the handler that ignores it."""

_overlaid: list[list[contextlib.ExitStack]] = []
"""What calls that are under way have laid over the process, the last one above the others."""
_overlaying = threading.Lock()


@contextlib.contextmanager
def surrounded(make: Callable[[], list[AbstractContextManager[None]]]) -> Iterator[None]:
    """Enter the blocks that ``make`` returns, and leave them, also where calls of threads overlap.

    What lies below another's is put back with that, once it has been put back itself: else it would
    bring back what the other had found, which was this one's.
    """
    with _overlaying, contextlib.ExitStack() as entered:
        for block in make():
            entered.enter_context(block)
        mine = [entered.pop_all()]
        _overlaid.append(mine)
    try:
        yield
    finally:
        with _overlaying:
            place = next(at for at, one in enumerate(_overlaid) if one is mine)
            del _overlaid[place]
            if place < len(_overlaid):
                _overlaid[place] += mine
            else:
                for layer in mine:
                    layer.close()


def own_environment(spec: AttemptSpec) -> dict[str, str]:
    """Return the job's own variables; raises ``EnvFileError``."""
    found: dict[str, str] = {}
    for name in spec.job.env_file:
        found.update(read_env_file(os.path.expanduser(name)))  # noqa: PTH111 (texts)
    return {**found, **spec.job.env}


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Add variables to the environment; all of it is as it was afterwards."""
    environ, before = os.environ, dict(os.environ)
    environ.update(variables)
    try:
        yield
    finally:
        os.environ = environ  # noqa: B003 (a function may have put something else in its place)
        for name in environ.keys() - before.keys():
            del environ[name]
        for name, value in before.items():
            if environ.get(name) != value:
                environ[name] = value


@contextlib.contextmanager
def put_back() -> Iterator[None]:
    """Put back what a pool puts back after each run, as far as the test would suffer from it."""
    folder, mask = _folder(), _mask()
    try:
        yield
    finally:
        if folder is not None and _folder() != folder:
            with contextlib.suppress(OSError):
                os.chdir(folder)
        if _mask() != mask:
            os.umask(mask)


@contextlib.contextmanager
def signal_handlers() -> Iterator[None]:
    """Put back handlers that a call has changed, in the main thread: no other can set any."""
    handlers = _handlers()
    try:
        yield
    finally:
        for number, handler in _handlers().items():
            if handler is not handlers.get(number) and handlers.get(number) is not None:
                signal.signal(number, handlers[number])


@contextlib.contextmanager
def standard_input(text: str | None) -> Iterator[None]:
    """Let ``sys.stdin`` be ``text``; without one it is the test's own, which a debugger needs."""
    if text is None:
        yield
        return
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode(errors="surrogateescape")), "utf-8")
    try:
        yield
    finally:
        sys.stdin = before


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 (texts)
    except OSError:
        return None


def _mask() -> int:
    # os.umask() tells only by changing it, for other threads too.
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (texts)
        return int(file.read().partition("Umask:")[2].split(None, 1)[0], 8)


def _handlers() -> dict[int, Any]:
    """Return the handlers of signals; none in threads, which cannot set any."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {one: signal.getsignal(one) for one in signal.valid_signals() if one not in OWN}


@contextlib.contextmanager
def search_path(spec: AttemptSpec, common: dict[str, str]) -> Iterator[None]:
    """Let modules be found where the job's interpreter would find them first."""
    folders = [spec.job.cwd or "", *common.get("PYTHONPATH", "").split(":")]
    missing = [os.path.expanduser(one) for one in folders if one and one not in sys.path]  # noqa: PTH111 (texts)
    sys.path[:0] = missing
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(ValueError):
                sys.path.remove(folder)
