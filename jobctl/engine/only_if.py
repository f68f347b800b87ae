"""``only_if``: a command that is asked before each attempt whether there is anything to do."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.engine.ending import Ending, Finding
from jobctl.engine.leader import Leader
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from jobctl.engine.guard import Guard
    from jobctl.engine.leader import Setting
    from jobctl.engine.workplace import Workplace

CONDITION_TIMEOUT = 60.0
"""Seconds an ``only_if`` may take; the attempt's own timeout if that is shorter."""


class Condition:
    """One question, asked with the attempt's own user, directory, environment and log."""

    def __init__(self, command: str, *, setting: Setting, place: Workplace) -> None:
        """Start the command; raise :class:`SpawnError`."""
        spec = setting.spec
        self._command = command
        self._leader = Leader(
            [spec.job.shell, "-c", command, spec.job.name], setting=setting, place=place
        )
        patience = CONDITION_TIMEOUT if spec.timeout is None else spec.timeout
        self.guard.arm(timeout=min(CONDITION_TIMEOUT, patience), soft_timeout=None)

    @property
    def guard(self) -> Guard:
        """Who stops it."""
        return self._leader.guard

    @property
    def left_something(self) -> bool:
        """Whether processes had to be cleared away after it."""
        return self._leader.left_something

    async def answer(self) -> Ending | None:
        """Return how the attempt ends because of it, ``None`` when it may go on."""
        end = await self._leader.ended()
        stopped = self.guard.stopped
        if stopped is not None:
            return Ending(replace(stopped, error=stopped.error and f"only_if {stopped.error}"))
        code = os.waitstatus_to_exitcode(end.status)
        if code == 0:
            return None
        error = f"only_if ended with {code}: {self._command}"
        return Ending(Finding(OutcomeKind.SKIPPED, Reason.CONDITION, error))
