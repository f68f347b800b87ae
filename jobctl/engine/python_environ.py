"""The environment of the runs of a bundle, one after the other; also that of C.

What subprocesses and libraries see is what C has: a list of pointers to texts. Those of a run are in
memory of our own (:mod:`jobctl.engine.python_lent`), so what differs from run to run is written over
what the last one had. As long as no job has changed the list, nor what ``os.environ`` has, no more
is to be done.

Loaded by :mod:`jobctl.engine.python_bundle`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jobctl.engine.python_bundle import Row, Shape

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""
RUN_ID, RESULT, PROGRESS = b"JOBCTL_RUN_ID", b"JOBCTL_RESULT_FILE", b"JOBCTL_PROGRESS_FILE"
"""The variables that differ from run to run."""
NOTHING: Mapping[bytes, bytes] = {}


class Environ:
    """The environment of one run after the other; also that of C, which subprocesses get."""

    def __init__(self, environ: Any) -> None:
        self.environ = environ
        """The one of ``os``, whatever a job puts in its place."""
        self.lent: Any = MODULE.beside("python_lent").Lent()
        self.known: dict[bytes, bytes] = {}
        """What is in force as long as no job has changed it."""
        self.base: tuple[Shape, int, int] | None = None
        """Shape, attempt and epoch of the last run."""
        self.own: Mapping[bytes, bytes] = NOTHING
        """What the last run had besides, such as its named arguments: which names, that is."""
        self.places: tuple[Any, ...] = ()
        """What writes the three variables that differ from run to run."""

    def enter(self, shape: Shape, row: Row, files: bytes) -> None:
        """Make it that of a run whose own files begin with ``files``."""
        _, run, attempt, epoch, more, _ = row
        os.environ = environ = self.environ
        data, known, own = environ._data, self.known, encoded(more[0]) if more else NOTHING
        run_id, result, progress = run.encode(), files + b".result", files + b".progress"
        if (
            data == known
            and (shape, attempt, epoch) == self.base
            and (own is self.own or own.keys() == self.own.keys())
            and self.lent.untouched()
            and b"\0" not in run_id
            and self.places[0](run_id)
            and self.places[1](result)
            and self.places[2](progress)
            and (own is NOTHING or self._write_over(own))
        ):
            data[RUN_ID] = known[RUN_ID] = run_id
            data[RESULT] = known[RESULT] = result
            data[PROGRESS] = known[PROGRESS] = progress
            return
        touched = not self.lent.untouched()
        self.base = None
        self.known = known = {
            **shape.environ,
            b"JOBCTL_ATTEMPT": b"%d" % attempt,
            b"JOBCTL_SUPERVISOR": shape.mark + b"%d" % epoch,
            RUN_ID: run_id,
            RESULT: result,
            PROGRESS: progress,
            **own,
        }
        replace(data, known, put=self.lent.lend)
        self.own = own
        places = self.lent.places
        if self.lent.complete(known):
            self.places = tuple(places[name].write for name in (RUN_ID, RESULT, PROGRESS))
            self.base = shape, attempt, epoch
        if touched:
            time.tzset()  # it may have been set as the variables were: only C knew

    def _write_over(self, own: Mapping[bytes, bytes]) -> bool:
        """Write what the last run had otherwise; returns False where that cannot be."""
        data, known, places = self.environ._data, self.known, self.lent.places
        for name, value in own.items():
            if known[name] != value:
                if b"\0" in value or not places[name].write(value):
                    return False
                data[name] = known[name] = value
        return True

    def close(self) -> None:
        """Leave nothing of ours to what the C library does at the end of the process."""
        self.lent.take_back(self.environ._data)


def replace(
    data: dict[bytes, bytes],
    wanted: dict[bytes, bytes],
    *,
    put: Callable[[bytes, bytes], None] = os.putenv,
) -> None:
    """Make the environment that ``data`` of ``os.environ`` is about what is ``wanted``."""
    if data == wanted:
        return
    zone = data.get(b"TZ")
    for name in data.keys() - wanted.keys():
        os.unsetenv(name)
        del data[name]
    for name, value in wanted.items():
        if data.get(name) != value:
            put(name, value)
            data[name] = value
    if zone != wanted.get(b"TZ"):
        time.tzset()


def encoded(env: dict[str, str]) -> dict[bytes, bytes]:
    """Return an environment as the system has it."""
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
