"""One attempt in a child that it shares with others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jobctl.engine import python_call, spawn
from jobctl.engine.ending import Ending, Finding, judge, judge_reply
from jobctl.engine.shared_guard import SharedGuard
from jobctl.model.run import OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.leader import Setting
    from jobctl.engine.shared_child import SharedChild
    from jobctl.engine.sharing import SharedPython
    from jobctl.engine.workplace import Workplace

STARTS = 3
"""Most children one attempt may use up before its function begins."""
PATIENCE = 5.0
"""Seconds a call may wait in a child that runs others before it is taken back."""
SEEN_AFTER = 0.5
"""Seconds after which a call that waits is said to wait."""
NAMED_MOST = 5
"""Runs that are named of those for which one may wait."""


class WithdrawnError(Exception):
    """Raised where a call was taken back before it began."""


class SharedLeader:
    """One attempt in a shared child; made by :meth:`enter`."""

    left_something = False
    """What an attempt leaves running is not known here."""

    def __init__(
        self,
        python: SharedPython,
        shared: SharedChild,
        *,
        setting: Setting,
        place: Workplace,
        on_progress: Callable[[float, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._python = python
        self._shared = shared
        self._setting = setting
        self._place = place
        self._on_progress = on_progress
        self._seq: int | None = None
        """The number of the call in its child."""
        self._reply: asyncio.Future[python_call.PythonReply] | None = None
        """Its answer, as long as it is awaited."""
        self._halted: asyncio.Future[None] | None = None
        """Done when it is stopped while it waits for another child."""
        self._handed_over = 0.0
        self._has_begun = False
        self._patience: asyncio.TimerHandle | None = None
        self._ping = 0
        self.guard = SharedGuard(
            setting.spec.job, ask=self._ask, give_up=self._give_up, begun=self._begun
        )
        self.started_at = self._started = 0.0
        self.duration = 0.0
        self.usage: Usage | None = None
        self.on_move: Callable[[], None] | None = None
        """Called when it has gone to another child before it began."""

    @classmethod
    async def enter(
        cls,
        python: SharedPython,
        *,
        setting: Setting,
        place: Workplace,
        on_progress: Callable[[float, str], None],
    ) -> SharedLeader:
        """Return an attempt that has its place in a child; raises SpawnError."""
        shared = await python.enter(setting)
        return cls(python, shared, setting=setting, place=place, on_progress=on_progress)

    @property
    def pid(self) -> int:
        """The child's, which others share."""
        return self._shared.child.pid

    @property
    def born(self) -> float:
        """Start of the child's process, in seconds since boot."""
        return self._shared.born

    async def ended(self, begin: Callable[[], None]) -> Ending:
        """Return how the call ended; ``begin`` is called right before it.

        Raises :class:`SpawnError`. Cancelling kills the child, with all that runs in it.
        """
        run_id = self._setting.spec.run_id
        try:
            self.started_at = self._place.clock.epoch()
            self._started = self._place.clock.monotonic()
            begin()
            if self.guard.stopped is not None:  # an order that was there before it
                return Ending(self.guard.stopped)
            return await self._call()
        except asyncio.CancelledError:
            self._shared.draining = True
            self._shared.kill()
            await asyncio.wait([self._shared.exit])
            raise
        finally:
            self.guard.close()
            self._python.leave(self._shared, run_id)

    def held_up_by(self) -> tuple[str, ...] | None:
        """Return the runs of which one keeps this call from beginning; ``None`` if none does."""
        if self._has_begun or self._reply is None or self._begun() is not None:
            self._has_begun |= self._reply is not None
            return None
        if self._loop.time() - self._handed_over < SEEN_AFTER:
            return None
        return tuple(self._shared.busy_with()[:NAMED_MOST])

    def abandon(self) -> None:
        """Leave the child without a call."""
        self._python.leave(self._shared, self._setting.spec.run_id)

    async def _call(self) -> Ending:
        spec = self._setting.spec
        call = python_call.PythonCall(
            run_id=spec.run_id,
            target=spec.job.python or "",
            args=spec.args,
            kwargs=spec.kwargs,
            env=self._setting.environment,
            cwd=self._setting.launch.cwd,
            max_result=spec.max_result,
            limits=python_call.call_limits(spec),
        )
        starts, why = 0, "it ended"
        while starts < STARTS:
            try:
                return self._replied(await self._answer(call))
            except WithdrawnError:
                pass
            except python_call.StaleChildError as error:
                self._shared.draining = True
                starts, why = starts + 1, str(error)
            except OSError as error:
                text = f"the call cannot be sent: {error.strerror}"
                raise spawn.SpawnError(text, cause=error.errno) from error
            except python_call.ChildDiedError:
                ending = await self._died()
                if ending is not None:
                    return ending
                # What has begun there is to blame; if nothing has, another may end alike.
                starts += not self._shared.any_begun
            if self.guard.stopped is None:
                await self._move()
            if self.guard.stopped is not None:
                return Ending(self.guard.stopped)
        raise spawn.SpawnError(
            f"{STARTS} interpreters were of no use before the function began, the last one because "
            f"{why}"
        )

    async def _move(self) -> None:
        """Go to another child, unless it is stopped before that one is ready."""
        self._seq = None
        self._python.leave(self._shared, self._setting.spec.run_id)
        entering = asyncio.ensure_future(self._python.enter(self._setting))
        self._halted = self._loop.create_future()
        try:
            either: list[asyncio.Future[Any]] = [entering, self._halted]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not entering.done():
                return
            self._shared = await entering
        finally:
            self._halted = None
            entering.cancel()
        if self.on_move is not None:
            self.on_move()

    async def _answer(self, call: python_call.PythonCall) -> python_call.PythonReply:
        """Return the answer to a call; raises WithdrawnError as well."""
        self._seq = None
        self._seq, self._reply = self._shared.child.hand_over(
            call, log_fd=self._setting.output, on_progress=self._on_progress, soon=True
        )
        self._shared.runs[self._setting.spec.run_id] = self._seq
        self._handed_over = self._loop.time()
        self._patience = self._loop.call_later(PATIENCE, self._look)
        try:
            return await self._reply
        finally:
            self._patience.cancel()
            self._reply = None

    def _look(self) -> None:
        """Go elsewhere if the call still waits for others."""
        if self._begun() is not None:
            return
        self._shared.say_where(
            f"nothing begins in it for {PATIENCE:g} s, because a function keeps it busy"
            " (a coroutine must not block its loop); new runs go to another"
        )
        if not (self._python.pass_by(self._shared) and self._withdraw()):
            self._patience = self._loop.call_later(PATIENCE, self._look)

    def _begun(self) -> float | None:
        """Return when the function began, in seconds of the loop's clock."""
        return None if self._seq is None else self._shared.begun(self._seq)

    def _withdraw(self) -> bool:
        """Take the call back if it has not begun; returns whether that was so."""
        seq, reply = self._seq, self._reply
        if seq is None or reply is None or reply.done() or not self._shared.withdraw(seq):
            return False
        reply.set_exception(WithdrawnError())
        return True

    def _replied(self, reply: python_call.PythonReply) -> Ending:
        self._python.keep(self._shared, reply)
        self.duration, self.usage = reply.duration, reply.usage
        return judge_reply(self._setting.spec.job, reply, stopped=self.guard.stopped)

    def _ask(self, how: str) -> None:
        """Have the function stop; one that has not begun is taken back instead."""
        if self._halted is not None:
            if how != "soft" and not self._halted.done():
                self._halted.set_result(None)
        elif how == "soft" or not self._withdraw():
            self._ping = self._shared.order(self._setting.spec.run_id, how)

    def _give_up(self) -> None:
        self._shared.give_up(self._setting.spec.run_id, self._ping)

    async def _died(self) -> Ending | None:
        """Return how a call ended whose child did not answer; ``None`` when it had not begun."""
        shared = self._shared
        shared.draining = True
        shared.kill()
        await asyncio.wait([shared.exit])
        shared.tell_end()
        if self._seq is None or shared.begun(self._seq) is None:
            return None
        self.duration = self._place.clock.monotonic() - self._started
        self.usage = Usage()
        status = shared.exit.result().status
        ending = judge(self._setting.spec.job, status, stopped=self.guard.stopped)
        if self.guard.stopped is not None:
            return ending
        if shared.blame is not None:
            error = f"its interpreter was killed: {shared.blame}"
            return Ending(Finding(OutcomeKind.LOST, Reason.LOST, error))
        why = ending.finding.error or "exit code 0"
        error = f"the interpreter it shared with others ended before its function did: {why}"
        finding = Finding(OutcomeKind.FAILED, ending.finding.reason or Reason.EXIT, error)
        return Ending(finding, ending.exit_code, ending.signal)
