"""Taking the middle out of a file that others append to.

Where the file system can (ext4, XFS) the kernel does it in one step and no byte is lost. Elsewhere
the tail is copied down and the file truncated: what is written between the last look at its size
and the truncation, microseconds on a host with time to spare, is lost without being counted.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 4096
"""Bytes; offsets and lengths that can be taken out are multiples of it."""

_COLLAPSE_RANGE = 8
_PIECE = 256 * 1024


@cache
def _fallocate() -> Callable[[int, int, int, int], int]:
    libc = ctypes.CDLL(None, use_errno=True)
    # Only the C library of some systems has a name of its own for 64-bit offsets.
    function = getattr(libc, "fallocate64", None) or libc.fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function


def collapse(fd: int, *, start: int, length: int) -> bool:
    """Take ``length`` bytes out at ``start``; return False if this file system cannot.

    Raises ``OSError`` for anything else.
    """
    if _fallocate()(fd, _COLLAPSE_RANGE, start, length) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(number, os.strerror(number))


def move_down(fd: int, *, source: int, target: int, most: int) -> int:
    """Copy what is behind ``source`` to ``target``, end the file there; return bytes left out.

    A writer that is faster than this is not followed for longer than ``most`` bytes.
    """
    while most > 0:
        piece = os.pread(fd, min(_PIECE, most), source)
        if not piece:
            break
        os.pwrite(fd, piece, target)
        source += len(piece)
        target += len(piece)
        most -= len(piece)
    missed = os.fstat(fd).st_size - source
    os.ftruncate(fd, target)
    return max(0, missed)
