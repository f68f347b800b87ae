"""Moves output of a run to its lasting name where that is on another file system than the spool.

Loaded by :mod:`jobctl.engine.python_bundle` when a rename has failed for that; standard library,
CPython 3.9 or later.
"""

from __future__ import annotations

import os

BLOCK = 256 * 1024
"""Bytes that are read at a time: the interpreter shall not grow by what a job prints."""
MODE = 0o640


def moved(source: str, target: str) -> bool:
    """Copy a file and remove it; False when it could not be copied, and is still there."""
    try:
        with open(source, "rb") as output:
            copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            with open(copy, "wb") as kept:
                while True:
                    data = output.read(BLOCK)
                    if not data:
                        break
                    kept.write(data)
        os.unlink(source)
    except OSError:
        try:  # noqa: SIM105 - contextlib is an import
            os.unlink(target)
        except OSError:
            pass
        return False
    return True
