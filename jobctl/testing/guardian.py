"""Starts a private daemon, and leaves nothing of it when whoever wanted it is gone.

Run as a program of its own: ``guardian.py DIRECTORY -- COMMAND…``. It stops the command when its
standard input ends, which it does also when the test process is killed, then ends every process
below itself and removes the directory, unless it read a ``k``. A child subreaper, so that what a daemon leaves behind, its
store above all, comes to it. Standard library only: it must be there within milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

STOP_DEADLINE = 15.0
"""Seconds that the daemon gets to end in order: longer than the 10 that jobs have for it by default."""
REST_DEADLINE = 3.0
"""Seconds for whatever it left."""
LOOK_EVERY = 0.05
PR_SET_CHILD_SUBREAPER = 36


def main(directory: str, command: list[str]) -> int:
    """Run ``command`` until standard input ends or it does; returns its exit code."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    daemon = subprocess.Popen(  # noqa: S603 - what the test wants
        command, stdin=subprocess.DEVNULL, start_new_session=True, restore_signals=True,
        preexec_fn=_usual_signals,  # noqa: PLW1509 - there are no threads
    )  # fmt: skip
    sys.stdout.write(f"{daemon.pid}\n")
    sys.stdout.flush()
    said = _watch(daemon)
    _end_all()
    if b"k" not in said:
        shutil.rmtree(directory, ignore_errors=True)
    return daemon.wait()


def _usual_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _watch(daemon: subprocess.Popen[bytes]) -> bytes:
    """Return what standard input said until its end, when the daemon has ended as well.

    A daemon that ended by itself is waited for all the same: its files may still be wanted.
    """
    said = b""
    while data := os.read(0, 64):
        said += data
    limit = time.monotonic() + STOP_DEADLINE
    if daemon.poll() is None:
        daemon.terminate()
    while daemon.poll() is None:
        if time.monotonic() > limit:
            daemon.kill()
        time.sleep(LOOK_EVERY)
    return said


def _end_all() -> None:
    """End all that came to this process: in order, then by force."""
    limit = time.monotonic() + REST_DEADLINE
    asked: set[int] = set()
    while left := _children():
        late = time.monotonic() > limit
        for pid in left:
            if late or pid not in asked:
                asked.add(pid)
                try:  # noqa: SIM105 - contextlib is an import
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                except ProcessLookupError:
                    pass
        time.sleep(LOOK_EVERY)


def _children() -> list[int]:
    """Reap what has ended, and return what has not."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return []
    # Never another process's pid: only this one reaps its children.
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:  # noqa: PTH123 (pathlib is an import)
        return [int(pid) for pid in file.read().split()]


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[3:])
    sys.exit(code if code >= 0 else 128 - code)
