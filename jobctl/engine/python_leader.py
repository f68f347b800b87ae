"""Python attempts: one call into the warm interpreter of a slot, which leads their process tree."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.engine import python_call, spawn
from jobctl.engine.ending import Ending, Finding, judge, judge_reply
from jobctl.engine.guard import Guard
from jobctl.engine.processes import Attempt
from jobctl.engine.warm_python import kill
from jobctl.model.run import OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.leader import Setting
    from jobctl.engine.warm_python import WarmPython
    from jobctl.engine.workplace import Workplace

DEATH_PATIENCE = 1.0
"""Seconds between a child's socket closing and its own end; then it is killed."""
STARTS = 3
"""Most children one attempt may use up before its function begins."""


class PythonLeader:
    """One attempt in a warm child. Nothing of the attempt is left when :meth:`ended` returns."""

    def __init__(
        self,
        python: WarmPython,
        *,
        setting: Setting,
        place: Workplace,
        on_progress: Callable[[float, str], None],
        begun: Begun | None = None,
    ) -> None:
        """Take a child; raise :class:`SpawnError`. ``begun`` is a call that is under way."""
        self._begun = begun
        self._python = python
        self._place = place
        self._setting = setting
        self._on_progress = on_progress
        self._warm = python.take(setting) if begun is None else begun.warm
        self.guard = Guard(self._marks(), job=setting.spec.job, processes=place.processes)
        self.started_at = self._started = 0.0
        self.duration = 0.0
        """Seconds the function took; until the child's end when it did not answer."""
        self.usage: Usage | None = None
        """``None`` when no function ran."""
        self.left_something = False
        """Whether processes had to be cleared away after it."""

    @property
    def pid(self) -> int:
        """The child's."""
        return self._warm.child.pid

    @property
    def born(self) -> float:
        """Start of the child's process, in seconds since boot."""
        return self._warm.born

    @property
    def ready(self) -> bool:
        """Whether its interpreter takes calls, as far as anybody knows."""
        return self._warm.child.python is not None

    async def prepare(self) -> None:
        """Wait until its interpreter takes calls; raises :class:`SpawnError`.

        Cancelling leaves that as it is, for whoever comes next.
        """
        try:
            await self._warm.child.ready()
        except python_call.SpawnError as error:
            self._python.retire()
            raise spawn.SpawnError(str(error)) from error

    async def cancel(self) -> None:
        """Kill its interpreter with all below it."""
        self.guard.stop(Finding(OutcomeKind.LOST, Reason.LOST), grace=0.0)
        self._python.retire()
        await self.guard.clear(all_of_it=True)

    async def ended(self, begin: Callable[[], None]) -> Ending:
        """Return how the call ended; ``begin`` is called right before it, its interpreter is ready.

        Raises :class:`SpawnError`. Cancelling kills the child and its tree, and then raises.
        """
        spec = self._setting.spec
        self._python.specs[spec.run_id] = spec
        try:
            gone = 0.0 if self._begun is None else self._begun.gone
            self.started_at = self._place.clock.epoch() - gone
            self._started = self._place.clock.monotonic() - gone
            begin()
            return await (self._call() if self._begun is None else self._go_on(self._begun))
        except asyncio.CancelledError:
            await self.cancel()
            raise
        finally:
            del self._python.specs[spec.run_id]
            self.guard.close()

    async def _go_on(self, begun: Begun) -> Ending:
        """Wait for the end of a call that is under way."""
        try:
            return await self._replied(await begun.reply)
        except python_call.ChildDiedError:
            return await self._died()

    async def _call(self) -> Ending:
        spec = self._setting.spec
        call = python_call.PythonCall(
            run_id=spec.run_id,
            target=spec.job.python or "",
            args=spec.args,
            kwargs=spec.kwargs,
            env=self._setting.environment,
            cwd=self._setting.launch.cwd,
            stdin=spec.job.stdin,
            max_result=spec.max_result,
            limits=python_call.call_limits(spec),
            reply_file=self._setting.reply_file,
        )
        why = "it ended"
        for _ in range(STARTS):
            try:
                reply = await self._warm.child.call(
                    call, log_fd=self._setting.output, on_progress=self._on_progress
                )
            except python_call.StaleChildError as error:
                why = str(error)
                await self._replace()
            except OSError as error:
                text = f"the call cannot be sent: {error.strerror}"
                raise spawn.SpawnError(text, cause=error.errno) from error
            except python_call.ChildDiedError as error:
                if error.started or self.guard.stopped is not None:
                    return await self._died()
                await self._replace()
            except python_call.SpawnError as error:
                if self.guard.stopped is not None:
                    return await self._died()
                raise spawn.SpawnError(str(error)) from error
            else:
                return await self._replied(reply)
        raise spawn.SpawnError(
            f"{STARTS} interpreters were of no use before the function began, the last one because "
            f"{why}"
        )

    async def _replace(self) -> None:
        """Go on in a new child; time limits and stops stay as they are."""
        self._python.retire()
        await self._python.prepare(self._setting)
        self._warm = self._python.take(self._setting)
        self.guard.follow(self._marks())

    def _marks(self) -> Attempt:
        spec = self._setting.spec
        return Attempt(run_id=spec.run_id.encode(), number=b"%d" % spec.number, leader=self.pid)

    async def _replied(self, reply: python_call.PythonReply) -> Ending:
        self.duration = reply.duration
        self.usage = reply.usage
        if self.guard.stopped is not None or self._warm.has_children() or self._strays():
            # What a function leaves running belongs to the child's tree: both go.
            self.left_something = True
            self._python.retire()
            await self.guard.clear(all_of_it=True)
        else:
            self._python.keep(self._warm, reply, setting=self._setting)
        return judge_reply(self._setting.spec.job, reply, stopped=self.guard.stopped)

    def _strays(self) -> bool:
        return bool(self._place.processes.leftovers(self.guard.attempt))

    async def _died(self) -> Ending:
        """Return how a call ended whose child did not answer."""
        warm = self._warm
        self._python.retire()
        done, _ = await asyncio.wait([warm.exit], timeout=DEATH_PATIENCE)
        if not done:
            kill(warm)
            await asyncio.wait([warm.exit])
        self.duration = self._place.clock.monotonic() - self._started
        self.left_something = await self.guard.clear()
        end = warm.exit.result()
        used = end.usage
        self.usage = Usage(
            user=max(0.0, used.ru_utime + used.ru_stime - warm.cpu),
            read_blocks=used.ru_inblock,
            write_blocks=used.ru_oublock,
        )
        ending = judge(self._setting.spec.job, end.status, stopped=self.guard.stopped)
        if self.guard.stopped is not None:
            return ending
        error = f"the Python process ended before its function did: {ending.finding.error or 'exit code 0'}"
        reason = ending.finding.reason or Reason.EXIT
        return replace(ending, finding=Finding(OutcomeKind.FAILED, reason, error))
