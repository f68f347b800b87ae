"""What ran, as the jobs themselves tell: a log that jobctl knows nothing of.

Every job of a world appends a line when it begins and when it ends, and holds a lock on a file of
its run while it lives. A second execution that cannot get the lock says so: an overlap.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WORK = r"""
# work.sh SECONDS|NAME [CODE]: tell of the beginning, wait, tell of the end, exit with CODE.
say() {
    read -r now rest </proc/uptime
    echo "$1 $JOBCTL_RUN_ID $JOBCTL_ATTEMPT $$ $now $CHAOS_HOST ${2:--}" >>"$CHAOS_DIR/executions"
}
exec 9>>"$CHAOS_DIR/locks/$JOBCTL_RUN_ID"
flock -n 9 || say overlap
say begin
echo "output of $JOBCTL_RUN_ID"
case $1 in
    [0-9]*) test "$1" = 0 || sleep "$1" ;;
    *) until test -e "$CHAOS_DIR/go.$1" || test -e "$CHAOS_DIR/go"; do sleep 0.1; done ;;
esac
code=${2:-0}
# "2:5" is: exit with 5 before attempt 2, then with 0.
case $code in *:*) if test "$JOBCTL_ATTEMPT" -lt "${code%%:*}"; then code=${code#*:}; else code=0; fi ;; esac
say end "$code"
exit "$code"
"""
MODULE = r'''
"""The same in Python."""
import fcntl, os, time

def say(word, code="-"):
    with open("/proc/uptime") as file:
        now = file.read().split()[0]
    e = os.environ
    line = f"{word} {e['JOBCTL_RUN_ID']} {e['JOBCTL_ATTEMPT']} {os.getpid()} {now} {e['CHAOS_HOST']} {code}\n"
    with open(os.environ["CHAOS_DIR"] + "/executions", "a") as file:
        file.write(line)

def act(seconds=0.0):
    with open(os.environ["CHAOS_DIR"] + "/locks/" + os.environ["JOBCTL_RUN_ID"], "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("overlap")
        say("begin")
        print("output of", os.environ["JOBCTL_RUN_ID"])
        time.sleep(float(seconds))
        say("end", 0)
    return {"seconds": float(seconds)}
'''


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``word`` is ``begin``, ``end`` or ``overlap``; ``at`` is seconds since boot."""

    word: str
    run: str
    attempt: int
    pid: int
    at: float
    host: str
    code: str


class Executions:
    """The log of a world."""

    def __init__(self, directory: Path) -> None:
        """Prepare ``directory`` for jobs that are to be counted."""
        self.path = directory / "executions"
        self.path.touch()
        self._lines: list[Line] = []
        self._offset = 0
        self._reading = threading.Lock()
        (directory / "locks").mkdir()
        (directory / "work.sh").write_text(WORK)
        (directory / "work.py").write_text(MODULE)

    def lines(self, run: str = "", word: str = "") -> list[Line]:
        """Return the lines of a run (default: of all), or only those of one kind."""
        with self._reading:
            self._read()
            return [
                line for line in self._lines if run in ("", line.run) and word in ("", line.word)
            ]

    def _read(self) -> None:
        """Take what was appended since the last time, up to the last whole line."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for text in whole.decode().splitlines():
            word, run, attempt, pid, at, host, code = text.split()
            self._lines.append(Line(word, run, int(attempt), int(pid), float(at), host, code))

    def count(self, run: str = "", word: str = "begin") -> int:
        """Return how many executions of ``run`` (default: of all) began, or what ``word`` says."""
        return len(self.lines(run, word))
