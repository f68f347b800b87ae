"""Several short runs in one warm child, one after the other, handed over at once.

The child takes a token for each run before it begins, see :mod:`jobctl.engine.tally`. What has not
begun can be called back at any time: to be run elsewhere when a run before it takes long or kills
the child, or to be given back when the pool stops. The run that is under way then goes on as any
other attempt, with its time limits and its log.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from jobctl.engine import python_call, shapes, spawn
from jobctl.engine.bundle_answer import Answer
from jobctl.engine.ending import Finding
from jobctl.engine.guard import Guard
from jobctl.engine.processes import Attempt
from jobctl.engine.python_answers import answered
from jobctl.engine.python_wire import MALFORMED
from jobctl.model.run import OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from jobctl.clock import Clock
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.leader import Setting
    from jobctl.engine.ledger import Held
    from jobctl.engine.processes import Processes
    from jobctl.engine.python_call import PythonReply
    from jobctl.engine.warm_python import Warm, WarmPython

log = logging.getLogger(__name__)

LONG = 0.02
"""Seconds after which a run of a bundle becomes an attempt of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A call that is under way in a child; it ends as ``reply`` says."""

    warm: Warm
    reply: asyncio.Future[PythonReply]
    gone: float
    """Seconds since it began."""


class Owner(Protocol):
    """Who gave the runs, and wants to know what becomes of each."""

    def spec(self, held: Held) -> AttemptSpec:
        """Return what an attempt of a run needs."""

    def on_begin(self, runs: list[Held], warm: Warm, number: int) -> None:
        """Know that the child may begin them from now on."""

    def on_answer(self, held: Held, answer: Answer, *, pid: int) -> None:
        """Take the answer of a run; it may wait for :meth:`on_answers_taken`."""

    def on_answers_taken(self) -> None:
        """Know that no more answers come for now."""

    def on_return(self, runs: list[Held], *, alone: bool) -> None:
        """Take back runs that have not begun; with ``alone`` they had better not travel again."""

    def on_silence(self, held: Held) -> None:
        """Know that a run has begun and that its answer makes no sense."""

    def on_leftovers(self) -> None:
        """Know that processes of the runs are being ended, and may still print until then."""

    def on_progress(self, held: Held, percent: float, message: str, *, gone: float) -> None:
        """Take how far a run is that began ``gone`` seconds ago."""

    async def go_on(self, held: Held, call: Begun) -> None:
        """See a run to its end that takes long, or whose child has died."""


class BundleLeader:
    """One bundle. Every run is answered, returned, or seen to its end when :meth:`lead` returns."""

    def __init__(
        self,
        runs: list[Held],
        *,
        python: WarmPython,
        setting: Setting,
        processes: Processes,
        clock: Clock,
        owner: Owner,
    ) -> None:
        """Take ``setting`` for that of any run of them."""
        self._runs = runs
        self._python = python
        self._setting = setting
        self._processes = processes
        self._clock = clock
        self._owner = owner
        self._seq = 0
        self._answered = 0
        self._begun = 0
        """How many had begun when the child was done with the bundle."""
        self._kept_back: list[Any] | None = None
        self._warm: Warm | None = None
        self._over: asyncio.Future[dict[str, Any] | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._unwanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._solo: asyncio.Future[PythonReply] | None = None
        self._wanted_alone = False
        self._stopped = False
        self._began = 0.0

    def begin(self) -> None:
        """Hand the runs over now if there is a child that waits for them; else :meth:`lead` does so."""
        warm = self._python.at_hand(self._setting)
        if warm is not None:
            self._begin(warm)

    async def lead(self) -> None:
        """Hand the runs over, if that was not done, and see them to their ends."""
        warm = self._warm
        if warm is None:
            warm = await self._find()
            if warm is None:
                return
            self._begin(warm)
        try:
            await self._to_the_end(warm)
        finally:
            # Whoever still asks for a run that has ended, a thread it left say, is not that run.
            self._python.bundled = None

    async def _to_the_end(self, warm: Warm) -> None:
        marks = Attempt(run_id=b"", number=b"", leader=warm.child.pid)
        guard = Guard(marks, job=self._setting.spec.job, processes=self._processes)
        try:
            end = await self._over
            if self._solo is None:
                await self._end(warm, guard, end)
        except asyncio.CancelledError:
            guard.stop(Finding(OutcomeKind.LOST, Reason.LOST), grace=0.0)
            self._python.retire()
            await guard.clear(all_of_it=True)
            raise
        finally:
            guard.close()
        if self._solo is not None:
            await self._see_to_its_end(warm, self._solo)

    async def _find(self) -> Warm | None:
        """Return a child for the runs; ``None`` when they were given back."""
        try:
            warm = await self._made_ready()
        except (spawn.SpawnError, python_call.SpawnError):
            # Alone, the next one fails with what there is to say about it.
            self._give_back(len(self._runs), alone=True)
            return None
        if self._stopped or not self._runs:
            self._give_back(len(self._runs), alone=False)
            return None
        return warm

    async def _made_ready(self) -> Warm | None:
        """Return a child that takes bundles; ``None`` when none is wanted any more."""
        if not await self._wanted_until(self._python.prepare(self._setting)):
            return None
        warm = self._python.take(self._setting)
        if not await self._wanted_until(warm.child.ready()):
            return None
        self._python.share(warm)
        return warm

    async def _wanted_until(self, ready: Coroutine[object, object, None]) -> bool:
        """Wait for an interpreter, or what it comes from; return whether it was still wanted.

        What it imports may never come to an end.
        """
        start = asyncio.ensure_future(ready)
        try:
            await asyncio.wait([start, self._unwanted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            start.cancel()
        if self._unwanted.done():
            await asyncio.gather(start, return_exceptions=True)
            return False
        await start
        return True

    @property
    def alone(self) -> bool:
        """Whether nothing is left of it but a run that goes on as an attempt of its own."""
        return self._solo is not None

    def _want_no_more(self) -> None:
        if not self._unwanted.done():
            self._unwanted.set_result(None)

    def _spec_of(self, run_id: str) -> AttemptSpec | None:
        held = next((held for held in self._runs if held.claim.id == run_id), None)
        return None if held is None else self._owner.spec(held)

    def withdraw(self, held: Held) -> bool:
        """Stop a run: return whether it will not begin. One that is under way goes on alone.

        It is among those returned, if so.
        """
        if held not in self._runs:
            return False
        if self._warm is None:
            self._runs.remove(held)
            self._owner.on_return([held], alone=False)
            if not self._runs:
                self._want_no_more()
            return True
        self._call_back()
        if held not in self._runs:
            return True
        self._alone()
        return False

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on alone."""
        self._stopped = True
        self._want_no_more()
        self._call_back()
        self._alone()

    def look(self, now: float) -> None:
        """Look whether a run takes long; ``now`` is monotonic."""
        warm = self._warm
        if warm is None or warm.tally is None or self._over.done():
            return
        standing = warm.tally.standing
        if self._wanted_alone:
            self._alone()
        elif standing.begun > standing.answered and now - standing.began > LONG:
            self.stop()

    def on_news(self, meta: dict[str, Any]) -> None:
        """Take what the child says."""
        ended = bool(meta["end"])
        if self._warm is not None and self._warm.tally is not None:
            self._begun = self._warm.tally.standing.begun
        self._take_answers(all_of_them=ended)
        if not ended:
            return
        self._call_back(alone="stale" in meta)
        if self._solo is not None and self._kept_back is not None:
            last, self._kept_back = answered(self._kept_back), None
            self._solo.set_result(replace(last, recycle=meta.get("retired"), rss=meta.get("rss")))
        elif self._solo is not None and not self._solo.done():
            self._solo.set_exception(python_call.ChildDiedError("no answer", started=True))
        elif not self._over.done():
            self._over.set_result(meta)

    def on_death(self) -> None:
        """Know that the child has ended before the bundle."""
        self._take_answers(all_of_them=True)
        self._call_back(alone=not self._answered)
        self._note_beginning()
        if self._solo is None:
            self._over.set_result(None)
        elif self._kept_back is not None:
            self._solo.set_result(answered(self._kept_back))
        elif not self._solo.done():
            self._solo.set_exception(python_call.ChildDiedError("it ended", started=True))

    def on_progress(self, seq: int, percent: float, message: str) -> None:
        """Take how far a run is."""
        place, warm = seq - self._seq, self._warm
        if 0 <= place < len(self._runs) and warm is not None and warm.tally is not None:
            gone = self._clock.monotonic() - warm.tally.standing.began
            self._owner.on_progress(self._runs[place], percent, message, gone=gone)

    def _begin(self, warm: Warm) -> None:
        self._warm = warm
        self._python.bundled = self._spec_of
        tally, known = warm.tally, warm.shapes
        assert tally is not None and known is not None  # noqa: S101, PT018 - they were made
        spec, launch = self._setting.spec, self._setting.launch
        rows = [
            (
                known.number(held, spec, launch),
                held.claim.id,
                held.attempt,
                held.claim.epoch,
                shapes.more_of(held, spec.job, self._owner.spec),
                shapes.arguments_of(held),
            )
            for held in self._runs
        ]
        self._seq = warm.child.calls + 1
        number = tally.bundle + 1
        # A run without company travels first: until its child is awake and has read it, it is
        # written down, and only then there is the token without which it does not begin.
        ahead = len(rows) == 1
        alive = not ahead or self._hand_over(warm, number, rows)
        self._owner.on_begin(self._runs, warm, number)
        tally.begin(len(rows))
        if not ahead:
            alive = self._hand_over(warm, number, rows)
        if not alive:
            self.on_death()

    def _hand_over(self, warm: Warm, number: int, rows: list[Any]) -> bool:
        """Send the runs to the child; return whether it lives."""
        assert warm.shapes is not None  # noqa: S101 - they were made
        try:
            warm.child.bundle(number, rows, shapes=warm.shapes.news(), listener=self)
        except python_call.ChildDiedError:
            return False
        return True

    def _take_answers(self, *, all_of_them: bool) -> None:
        """Pass on what the child has answered.

        The last answer waits while it may yet give the run's output its name.
        """
        warm = self._warm
        if warm is None or warm.tally is None:
            return
        try:
            fresh = warm.tally.answers()
        except MALFORMED as error:
            log.warning("pool: a child wrote something else to its answers: %r", error)
            return
        if self._kept_back is not None:
            fresh.insert(0, self._kept_back)
            self._kept_back = None
        for place, answer in enumerate(fresh):
            last = place == len(fresh) - 1
            if last and (self._is_solo(answer) or (answer[8] and not all_of_them)):
                self._kept_back = answer
                break
            self._pass_on(warm, answer, placed=not last)
        self._owner.on_answers_taken()

    def _is_solo(self, answer: list[Any]) -> bool:
        return self._solo is not None and answer[0] == len(self._runs) - 1

    def _pass_on(self, warm: Warm, answer: list[Any], *, placed: bool) -> None:
        try:
            if answer[0] != self._answered:
                raise ValueError("it is not about the run whose turn it is")
            held, said = self._runs[answer[0]], Answer.of(answer, placed=placed)
        except MALFORMED as error:
            log.warning("pool: a child gave an answer that is none: %r", error)
            return
        self._answered = answer[0] + 1
        warm.used(said.cpu)
        self._owner.on_answer(held, said, pid=warm.child.pid)

    def _call_back(self, *, alone: bool = False) -> None:
        warm = self._warm
        if warm is None or warm.tally is None or self._over.done():
            return
        count = warm.tally.call_back()
        warm.child.calls -= count
        self._give_back(count, alone=alone)

    def _give_back(self, count: int, *, alone: bool) -> None:
        if count:
            returned = self._runs[-count:]
            del self._runs[-count:]
            self._owner.on_return(returned, alone=alone)

    def _alone(self) -> None:
        """Let the run that is under way, the last of them, go on as an attempt of its own.

        When the child has just taken a token and has not begun, that is for the next look.
        """
        warm = self._warm
        if warm is None or warm.tally is None or self._over.done():
            return
        standing = warm.tally.standing
        self._wanted_alone = standing.begun < len(self._runs)
        if self._wanted_alone or standing.answered >= standing.begun:
            return
        # It has begun, so all before it have been answered and their output has its name.
        self._take_answers(all_of_them=True)
        if self._answered < len(self._runs):
            self._note_beginning()
            self._solo = asyncio.get_running_loop().create_future()
            self._over.set_result(None)

    def _note_beginning(self) -> None:
        """Remember when the last run began: the page goes with the child."""
        if self._warm is not None and self._warm.tally is not None:
            self._began = self._warm.tally.standing.began

    async def _end(self, warm: Warm, guard: Guard, end: dict[str, Any] | None) -> None:
        """Do what is to be done when the child has come to the end of the bundle, or to its own."""
        begun = len(self._runs) - 1 if end is None else max(self._begun, self._answered)
        for held in self._runs[self._answered : begun]:
            self._owner.on_silence(held)
        if end is not None:
            # The child may take a token, and then be unable to begin.
            self._give_back(len(self._runs) - begun, alone=True)
        if end is None:
            if len(self._runs) > self._answered:
                self._solo = asyncio.get_running_loop().create_future()
                self._solo.set_exception(python_call.ChildDiedError("it ended", started=True))
            else:
                self._python.retire()
                self._owner.on_leftovers()
                await guard.clear()
        elif warm.has_children() or self._processes.leftovers(guard.attempt):
            self._python.retire()
            self._owner.on_leftovers()
            await guard.clear(all_of_it=True)
        else:
            self._python.keep_after(
                warm,
                self._setting,
                why=end.get("stale") or end.get("retired"),
                rss=end.get("rss"),
            )

    async def _see_to_its_end(self, warm: Warm, reply: asyncio.Future[PythonReply]) -> None:
        gone = self._clock.monotonic() - self._began if self._began else 0.0
        await self._owner.go_on(self._runs[-1], Begun(warm=warm, reply=reply, gone=gone))
