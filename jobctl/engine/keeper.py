"""Stays with the attempts of one pool when the pool has died, and writes down how they end.

A supervisor starts this file, and this file starts the pool. It is a child subreaper, so when the
pool is killed its attempts become children of this process: they go on, and their exit codes are
kept for whoever takes them over. While the pool lives it waits in one system call, and looks
every two seconds whether a lease has run out; it ends when its last child has ended. It knows nothing of runs, and nothing of jobctl: standard library only,
for it is started with ``-I -S`` and must be small.

Usage: ``keeper.py EXITS CHANNEL JOURNAL``: the file to write to, and the two descriptors that the
pool inherits. A line of the file is ``pid start status user system maxrss inblock oublock
ended session``: ``start`` in clock ticks and ``ended`` in seconds since boot, ``status`` as of
``wait4``. The pool's own end is the line ``pool PID STATUS``.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # The public module wraps every number in an enum: 0.8 MB for as long as it lives.

SET_CHILD_SUBREAPER = 36
LOOK_EVERY = 0.25
"""Seconds between two looks at the lease when the pool has died."""
GUARD_EVERY = 2.0
"""Seconds between two looks while it lives. Two in a row must find the lease run out: a pool that
goes on after a stop looks first thing, and it knows better what to write of what it kills."""
POOL = ("-P", "-m", "jobctl.engine.pool_main")


def start_time(pid: int) -> tuple[int, int]:
    """Return when a process started, in clock ticks since boot (0 when nobody can tell), and its session."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return 0, 0
    try:
        data = os.read(fd, 4096)
    finally:
        os.close(fd)
    fields = data[data.rindex(b")") + 2 :].split()
    return int(fields[19]), int(fields[3])


def start_pool(descriptors: list[int]) -> int:
    """Start the pool in a session of its own and keep nothing of what it inherits."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
                _signal.signal(number, _signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, *POOL, *map(str, descriptors)])  # noqa: S606 - our own interpreter
        finally:
            os._exit(127)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def record(exits: int, pid: int, pool: int = 0) -> None:
    """Write the line of a child that has ended, and reap it."""
    # Not reaped yet: its start time, which makes its number its own, is read first.
    start, session = start_time(pid)
    ended = time.clock_gettime(time.CLOCK_BOOTTIME)
    _, status, used = os.wait4(pid, 0)
    if pid == pool:
        line = f"pool {pid} {status}\n"
    else:
        line = (
            f"{pid} {start} {status} {used.ru_utime:.4f} {used.ru_stime:.4f} {used.ru_maxrss} "
            f"{used.ru_inblock} {used.ru_oublock} {ended:.4f} {session}\n"
        )
    try:
        os.write(exits, line.encode())
    except OSError as error:
        os.write(2, f"keeper: the exit of process {pid} is not recorded: {error}\n".encode())


def collect(exits: int, pool: int, lease: str) -> None:
    """Wait for all children, and write a line for each."""
    options = os.WEXITED | os.WNOWAIT
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, options)
        except ChildProcessError:
            return
        if found is not None:
            record(exits, found.si_pid, pool)
            if found.si_pid == pool and os.path.exists(lease):
                options |= os.WNOHANG
        else:
            enforce(lease, exits)
            time.sleep(LOOK_EVERY)


def guard(lease: str, exits: int) -> None:
    """Enforce the lease also while the pool lives: one that is stopped cannot do it itself."""
    late = False

    def look(*_: object) -> None:
        nonlocal late
        was, late = late, expired(lease)
        if was and late:
            enforce(lease, exits)

    _signal.signal(_signal.SIGALRM, look)
    _signal.setitimer(_signal.ITIMER_REAL, GUARD_EVERY, GUARD_EVERY)


def expired(lease: str) -> bool:
    """Return whether there is a lease that nobody has renewed in time."""
    try:
        with open(lease, encoding="ascii") as file:
            return time.clock_gettime(time.CLOCK_BOOTTIME) >= float(file.readline())
    except (OSError, ValueError):
        return False


def enforce(lease: str, exits: int) -> None:
    """Kill what must not run on two hosts at once, when nobody has renewed the lease in time.

    The file says until when, in seconds since boot, and then the process id and start of each
    leader (:mod:`jobctl.engine.lease`). The pool that follows renews it. A line ``lease pid start``
    among the exits says who was killed for it, and did not just fail.
    """
    if not expired(lease):
        return
    try:
        with open(lease, encoding="ascii") as file:
            _, *leaders = file.read().split("\n")
        for line in leaders:
            pid, start = line.split()
            if start_time(int(pid))[0] == int(start):
                os.write(exits, f"lease {pid} {start}\n".encode())
                os.killpg(int(pid), _signal.SIGKILL)
    except (OSError, ValueError):
        return


def main(path: str, descriptors: list[int]) -> None:
    """Start the pool and outlive it."""
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, lambda *_: None)
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    exits = os.open(path, flags, 0o600)
    pool, lease = start_pool(descriptors), path.rpartition(".")[0] + ".lease"
    guard(lease, exits)
    collect(exits, pool, lease)


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])
