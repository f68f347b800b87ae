"""Which calls of a shared child have begun, as the child notes it and the host may forbid it.

Host and child have one file in memory. Before a call begins, the child takes the lock of the byte
with the number of the call, and writes down when it began; the host takes the same lock to have a
call back that waits behind others. One of them comes first, so a call that was taken back never
begins here, and what has not begun when the child dies can be called elsewhere.

Standard library of CPython 3.9 on only: :mod:`jobctl.engine.entries` is the host's end and loads
this too.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time

ROW = struct.Struct("<Qd")
"""Number of a call, and the monotonic seconds at which it began, or :data:`WITHDRAWN`."""
PLACES = 8192
"""Rows; a call has that of its number, modulo this, which is more than can wait at once."""
WITHDRAWN = -1.0


def begun(fd: int, seq: int) -> float | None:
    """Return when call ``seq`` began; ``None`` when it did not, or was taken back.

    What has given its row to a later call has begun, since the host remembers what it took back.
    """
    data = os.pread(fd, ROW.size, seq % PLACES * ROW.size)
    if len(data) < ROW.size:
        return None
    number, began = ROW.unpack(data)
    if number < seq or (number == seq and began < 0):
        return None
    return float(began)


def mark(fd: int, seq: int, *, withdrawn: bool) -> bool:
    """Note that call ``seq`` begins, or is taken back; False when the other side was first.

    Its lock belongs to the process and is never given back; when that has died, the row still
    says what was decided.
    """
    place = seq % PLACES * ROW.size
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, seq)
    except BlockingIOError:
        return False
    except PermissionError:  # the other errno that POSIX allows
        return False
    data = os.pread(fd, ROW.size, place)
    if len(data) == ROW.size and ROW.unpack(data)[0] == seq:
        return False
    os.pwrite(fd, ROW.pack(seq, WITHDRAWN if withdrawn else time.monotonic()), place)
    return True


def any_begun(fd: int) -> bool:
    """Return whether any call has begun."""
    data = os.pread(fd, PLACES * ROW.size, 0)
    rows = ROW.iter_unpack(data[: len(data) // ROW.size * ROW.size])
    return any(began > 0 for _, began in rows)
