"""The process a command runs in, from its start to the end of its whole tree."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine import spawn
from jobctl.engine.ending import Finding
from jobctl.engine.guard import Guard
from jobctl.engine.host_journal import since_boot
from jobctl.engine.processes import Attempt
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.processes import Exit
    from jobctl.engine.workplace import Workplace


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all processes of one attempt are started with."""

    spec: AttemptSpec
    launch: spawn.Launch
    environment: dict[str, str]
    output: int
    """Descriptor for stdout and stderr."""
    reply_file: str = ""
    """Where a Python child leaves its answer when its pool is gone."""


class Leader:
    """A started command. Nothing of it is left when :meth:`ended` returns."""

    def __init__(
        self,
        command: list[str],
        *,
        setting: Setting,
        place: Workplace,
        stdin: str | None = None,
    ) -> None:
        """Start ``command``, giving it ``stdin`` as text; raise :class:`SpawnError`."""
        spec = setting.spec
        self._place = place
        self.started_at = place.clock.epoch()
        """Epoch seconds."""
        self._started = place.clock.monotonic()
        self.pid = _start(command, setting, stdin=stdin, null=place.null)
        self.born = since_boot()
        """Seconds since boot."""
        self._exit = self._wait()
        marks = Attempt(run_id=spec.run_id.encode(), number=b"%d" % spec.number, leader=self.pid)
        self.guard = Guard(marks, job=spec.job, processes=place.processes)
        self.duration = 0.0
        """Seconds from its start to its own end."""
        self.left_something = False
        """Whether processes had to be cleared away after it."""

    async def ended(self) -> Exit:
        """Return what the kernel said of the leader once its tree is gone.

        Cancelling kills the tree, waits until it is gone, and then raises.
        """
        try:
            end = await self._exit
            self.duration = self._place.clock.monotonic() - self._started
            self.left_something = await self.guard.clear()
        except asyncio.CancelledError:
            self.guard.stop(Finding(OutcomeKind.LOST, Reason.LOST), grace=0.0)
            rest = self._place.processes.rejoin(self.pid)
            if rest is not None:
                await rest
            await self.guard.clear()
            raise
        finally:
            self.guard.close()
        return end

    def abandon(self) -> None:
        """Kill what :meth:`ended` was not there to wait for; after it there is nothing to do."""
        if not self._exit.done():
            os.killpg(self.pid, signal.SIGKILL)
        self.guard.close()

    def _wait(self) -> asyncio.Future[Exit]:
        try:
            return self._place.processes.wait(self.pid)
        except OSError as error:
            # Nobody could tell when it ends: it must not go on.
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise spawn.SpawnError(
                f"the process cannot be watched: {error.strerror}; the limits of the daemon "
                "or the host are used up"
            ) from error


def _start(command: list[str], setting: Setting, *, stdin: str | None, null: int) -> int:
    source = null if stdin is None else spawn.text_file(stdin)
    try:
        return spawn.start(
            setting.launch,
            command,
            environment=setting.environment,
            stdin=source,
            output=setting.output,
        )
    finally:
        if stdin is not None:
            os.close(source)
