"""One interpreter that many attempts share, as the pool sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobctl.engine import python_entries
from jobctl.engine.usage import cpu_of

if TYPE_CHECKING:
    from jobctl.engine.processes import Exit
    from jobctl.engine.python_host import PythonChild

CANCEL, COMMON, ENTRIES, PING, PONG = 32, 33, 34, 35, 36
"""Kinds of frames that only a shared child has; see :mod:`jobctl.engine.python_shared`."""
COMMON_LOG = 2
"""What nobody can attribute to a run goes where the daemon itself prints."""
WHERE = signal.SIGRTMIN + 11
"""Makes a child print there where each of its threads is, even if none gets to run."""
WHERE_WITHIN = 0.2
"""Seconds it has for that before it is killed."""
CLOSE_PATIENCE = 5.0
"""Seconds a child that nothing runs in may take to end by itself."""
PULSE = 1.0
"""Seconds between two questions to a child in which a run ignores its stop."""
SILENCE = 5.0
"""Seconds such a child may leave one unanswered."""

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class SharedChild:
    """A child and what runs in it.

    It answers a ping from its event loop, or from a thread that waits for frames: one that does
    not, although a run was asked to stop, is blocked by a function, and nothing in it gets on.
    """

    child: PythonChild
    exit: asyncio.Future[Exit]
    born: float
    runs: dict[str, int] = field(default_factory=dict)
    """By id: what is in it, with the number of its call, 0 before that was sent."""
    stuck: set[str] = field(default_factory=set)
    """Runs that were asked to stop and did not, within their grace."""
    dearest: float = 0.0
    """Seconds of CPU of that call which took most, as far as is known."""
    draining: bool = False
    blame: str | None = None
    """Why it was killed while others ran in it than those that were to end."""
    blocked: bool = False
    """Whether it was said that it is."""
    _entries: int = -1
    _pings: int = 0
    _heard: int = 0
    _silent_since: float = 0.0
    _pulse: asyncio.TimerHandle | None = None
    _told: bool = False
    _used: bool = False

    def open(self) -> None:
        """Prepare a child that is ready for its calls. Raises OSError."""
        self._entries = os.memfd_create("entries")
        self.child.on_other = self._on_frame
        self.child.say(COMMON, {}, fd=COMMON_LOG)
        self.child.say(ENTRIES, {}, fd=self._entries)
        self._forget()  # it may have ended right after its first word

    def closed(self) -> None:
        """Let go of a process that has ended; its runs can still be asked whether they began."""
        self.child.close()
        os.close(self.child.pidfd)
        if self._pulse is not None:
            self._pulse.cancel()
        self._forget()

    def _forget(self) -> None:
        if self._entries >= 0 and not self.runs and self.exit.done():
            os.close(self._entries)
            self._entries = -1

    def begun(self, seq: int) -> float | None:
        """Return the monotonic seconds at which a call began, ``None`` if it has not.

        Of a child that has ended, only what is in it may still be asked for.
        """
        return None if self._entries < 0 else python_entries.begun(self._entries, seq)

    def busy_with(self) -> list[str]:
        """Return the runs that have begun in it, the last one first.

        One that keeps everything else from beginning is the likeliest to be the last.
        """
        since = {run: self.begun(seq) for run, seq in self.runs.items() if seq}
        begun = [(at, run) for run, at in since.items() if at is not None]
        return [run for _, run in sorted(begun, reverse=True)]

    @property
    def any_begun(self) -> bool:
        """Whether any call has begun in it."""
        return self._entries >= 0 and python_entries.any_begun(self._entries)

    def withdraw(self, seq: int) -> bool:
        """Take a call back that has not begun, so that it never will; False if it has."""
        return self._entries >= 0 and python_entries.mark(self._entries, seq, withdrawn=True)

    def order(self, run_id: str, how: str) -> int:
        """Have a run stop: ``soft``, ``stop`` or ``now``. Returns a number for :meth:`give_up`."""
        self.child.say(CANCEL, {"run": run_id, "how": how})
        return self._ping()

    def leave(self, run_id: str) -> None:
        """Note the end of a run; the child ends with its last one, if it is to."""
        self.runs.pop(run_id, None)
        self.stuck.discard(run_id)
        self.look()
        self._forget()

    def give_up(self, run_id: str, ping: int) -> None:
        """Note that a run has not obeyed; it ends with the child, at once if that is blocked.

        ``ping`` is what :meth:`order` returned when the run was asked.
        """
        if run_id not in self.runs or self.exit.done():
            return
        self.stuck.add(run_id)
        self.draining = True
        if self._heard < ping:
            self._kill_for(run_id)
            return
        self.order(run_id, "now")
        self.look()
        if self._pulse is None and not self.exit.done():
            self._silent_since = asyncio.get_running_loop().time()
            self._beat()

    def look(self) -> None:
        """End the child when nothing is left in it that ends by itself."""
        if not self.draining or self.exit.done():
            return
        if not self.runs:
            self.child.close()
            late = asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self.kill)
            self.exit.add_done_callback(lambda _: late.cancel())
        elif self.runs.keys() == self.stuck:
            self.kill()

    children = 1
    """That is kept."""

    @property
    def resting(self) -> SharedChild | None:
        """Itself, if nothing runs in it."""
        return None if self.runs or self.draining or self.exit.done() else self

    def rest(self) -> None:
        """Let it end: nothing runs in it."""
        self.draining = True
        self.look()

    def forgo(self) -> None:
        """Do nothing: none is to follow it."""

    def used(self, cpu: float) -> None:
        """Take the CPU seconds of a call into account.

        A loop does not know them, so all counts that was used when the first call, which imports,
        has ended.
        """
        imported = 0.0 if self._used else cpu_of(self.child.pid) - self.child.start_cost
        self._used = True
        self.dearest = max(self.dearest, cpu, imported)

    def kill(self) -> None:
        """Kill the child with all its processes."""
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)

    def tell_end(self) -> None:
        """Say in the log how it has ended, once, unless that was said before it was killed."""
        if self._told or self.blame is not None or self.stuck:
            return
        self._told = True
        code = os.waitstatus_to_exitcode(self.exit.result().status)
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        log.warning(
            "interpreter %d has ended %s with %d runs in it", self.child.pid, how, len(self.runs)
        )

    def say_where(self, why: str) -> None:
        """Say in the log that nothing gets on in it, once, and have it print where its threads are."""
        if self.blocked or self.exit.done():
            return
        self.blocked = True
        log.warning("interpreter %d: %s; where its threads are follows", self.child.pid, why)
        signal.pidfd_send_signal(self.child.pidfd, WHERE)

    def _ping(self) -> int:
        self._pings += 1
        self.child.say(PING, {"n": self._pings})
        return self._pings

    def _on_frame(self, kind: int, meta: dict[str, Any]) -> None:
        if kind == PONG:
            self._heard = int(meta["n"])

    def _beat(self) -> None:
        """See that a child with a run that ignores its stop does something for the others."""
        loop = asyncio.get_running_loop()
        self._pulse = None
        if self.exit.done() or not self.stuck:
            return
        if self._heard == self._pings:
            self._silent_since = loop.time()
            self._ping()
        elif loop.time() - self._silent_since >= SILENCE:
            self._kill_for(next(iter(self.stuck)))
            return
        self._pulse = loop.call_later(PULSE, self._beat)

    def _kill_for(self, run_id: str) -> None:
        others = len(self.runs) - len(self.stuck)
        self.blame = (
            f"run {run_id} had to end and the interpreter they share did not answer any more"
        )
        self.say_where(
            f"run {run_id} has to end, and nothing in here answers, so it is killed"
            f" ({others} more runs in it)"
        )
        asyncio.get_running_loop().call_later(WHERE_WITHIN, self.kill)
