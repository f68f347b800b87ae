"""One attempt in a slot: a short pipeline from its spec to its outcome.

Prepare, open the output, ask ``only_if``, start, wait, clear the tree, judge.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jobctl.engine import spawn
from jobctl.engine.adopted import AdoptedLeader, judge_survivor, usage_of
from jobctl.engine.ending import Ending, Finding, judge, outcome_of, signal_number
from jobctl.engine.host_journal import PYTHON, since_boot
from jobctl.engine.leader import Leader, Setting
from jobctl.engine.only_if import Condition
from jobctl.engine.python_leader import PythonLeader
from jobctl.engine.shared_leader import SharedLeader
from jobctl.engine.spool import remove, tally_file
from jobctl.model.run import Outcome, OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.attempt_files import AttemptFiles
    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.guard import Guard
    from jobctl.engine.shared_guard import SharedGuard
    from jobctl.engine.sharing import SharedPython
    from jobctl.engine.survivors import Survivor
    from jobctl.engine.tree import TreeTable
    from jobctl.engine.usage import Meter
    from jobctl.engine.warm_python import WarmPython
    from jobctl.engine.workplace import Workplace
    from jobctl.model.job import JobDef

_T = TypeVar("_T")

MEMORY_GRACE = 2.0
"""Most seconds between the stop signal and KILL for a tree above ``max_rss``: it may still grow."""


def nothing(*_: object) -> None:
    """Stand for a callback that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Whom to tell of the beginning of an attempt."""

    on_launch: Callable[[], None] = nothing
    on_start: Callable[[int, float], None] = nothing
    on_move: Callable[[int], None] = nothing


@dataclass(frozen=True, slots=True)
class Means:
    """What a slot has for its attempts, one after the other.

    ``shared`` are the interpreters that slots share, if they do; ``on_progress`` is told how far a
    function says it is.
    """

    place: Workplace
    files: AttemptFiles
    python: WarmPython
    shared: SharedPython | None
    meter: Meter
    on_progress: Callable[[float, str], None]


class UnderWay:
    """An attempt; one of :meth:`run`, :meth:`go_on` and :meth:`resume` sees it to its end."""

    def __init__(self, spec: AttemptSpec, means: Means, calls: Calls) -> None:
        self._spec = spec
        self._means = means
        self._place = means.place
        self._files = means.files
        self._calls = calls
        self._guard: Guard | SharedGuard | None = None
        self._stopped: Finding | None = None
        """Why it was stopped before there was anything to be told of it."""
        self._early: asyncio.Future[None] | None = None
        """Done when it is stopped while it waits for an interpreter."""
        self._leftovers = False
        self.held_up_by: Callable[[], tuple[str, ...] | None] = nothing
        """Returns which runs keep the function from beginning, in an interpreter they share."""
        self.pid: int | None = None
        """Of its leader."""
        self.started_at: float | None = None
        """Epoch seconds; ``None`` until the leader runs."""
        self.born = 0.0
        """Start of the leader's process, in seconds since boot."""

    def stop(
        self, finding: Finding, *, signal: str | None, grace: float | None, kill: bool
    ) -> None:
        """Stop it, as under :meth:`jobctl.engine.slot.Slot.stop`."""
        number = None if signal is None else signal_number(signal)
        if self._guard is not None:
            self._guard.stop(finding, number=number, grace=grace, kill=kill)
        elif self._stopped is None:
            self._stopped = finding
            if self._early is not None and not self._early.done():
                self._early.set_result(None)

    def sample(self, table: TreeTable) -> None:
        """Take note of the tree's memory and CPU, and stop it above ``max_rss``."""
        if self._guard is None:
            return
        self._place.processes.tidy()
        meter, job = self._means.meter, self._spec.job
        meter.sample(self._guard.members(table))
        if job.max_rss is not None and meter.rss > job.max_rss:
            error = f"its processes held {meter.rss} bytes of memory, max_rss is {job.max_rss}"
            grace = min(MEMORY_GRACE, job.stop_timeout)
            self._guard.stop(Finding(OutcomeKind.FAILED, Reason.MEMORY, error), grace=grace)

    async def run(self, *, output: int | None) -> Outcome:
        """Make it; ``output`` is a descriptor to write to instead of its log. Raises SpawnError."""
        spec, python = self._spec, self._means.python
        launch = self._place.launches.prepare(spec.job, spec.timezone)
        setting = Setting(
            spec=spec,
            launch=launch,
            environment=self._files.environment(spec, launch),
            output=self._files.open_output(spec) if output is None else output,
            reply_file=self._files.exchange.reply_file,
        )
        if spec.job.only_if is not None:
            ending = await self._ask(spec.job.only_if, setting)
            if ending is not None:
                return self._outcome(ending)
        alone = spec.job.python is not None and self._means.shared is None
        if alone and not python.serves(setting):
            await self._unless_stopped(python.prepare(setting))
        if self._stopped is not None:
            return self._outcome(Ending(self._stopped))
        if spec.job.python is not None:
            return await self._call(setting)
        return await self._command(setting)

    async def go_on(self, begun: Begun) -> Outcome:
        """Go on with a run of a bundle, which is under way in the slot's interpreter."""
        self._files.adopt(self._spec)
        leader = PythonLeader(
            self._means.python,
            setting=bundled(self._spec, self._place),
            place=self._place,
            on_progress=self._means.on_progress,
            begun=begun,
        )
        return await self._called(leader, lambda: self._begin(leader, gone=begun.gone))

    async def resume(self, survivor: Survivor, slot: str) -> Outcome:
        """Watch an attempt that runs or has ended, and began in the slot of that name."""
        spec, started = self._spec, survivor.started
        self._files.adopt(spec)
        leader = AdoptedLeader(survivor, job=spec.job, processes=self._place.processes)
        try:
            self._guard = leader.guard
            self.pid, self.started_at = leader.pid, leader.started_at
            leader.guard.arm(
                timeout=spec.timeout,
                soft_timeout=_signalled_at(spec.job),
                gone=since_boot() - started.begun,
            )
            if survivor.stop is not None:
                leader.guard.stop(survivor.stop)
            self._calls.on_start(leader.pid, leader.started_at)
            death = await leader.ended()
        finally:
            self._guard = None
            leader.abandon()
        answer = self._files.exchange.reply() if started.kind == PYTHON else b""
        remove(tally_file(self._place.dirs.spool, slot=slot, pid=leader.pid))
        ending = judge_survivor(
            spec.job, death, stopped=leader.guard.stopped, kind=started.kind, answer=answer
        )
        return self._outcome(ending, leader, self._means.meter.at_least(usage_of(death)))

    def unstarted(self, error: spawn.SpawnError) -> Outcome:
        """Return how it ends when it could not be started."""
        kind = OutcomeKind.FAILED
        if error.scarce:
            # Of one that had to go to another interpreter it is known that it runs: it can only
            # be run again, as one that was interrupted.
            kind = OutcomeKind.INTERRUPTED if self.pid is not None else OutcomeKind.NOT_STARTED
        return self._outcome(Ending(Finding(kind, Reason.SPAWN, str(error)), error.status))

    async def _command(self, setting: Setting) -> Outcome:
        command = spawn.command_line(self._spec)
        self._calls.on_launch()
        leader = Leader(command, setting=setting, place=self._place, stdin=self._spec.job.stdin)
        try:
            self._begin(leader)
            end = await leader.ended()
        finally:
            self._guard = None
            leader.abandon()
        ending = judge(self._spec.job, end.status, stopped=leader.guard.stopped)
        usage = self._means.meter.usage(end, orphan_cpu=leader.guard.attempt.orphan_cpu)
        return self._outcome(ending, leader, usage)

    async def _call(self, setting: Setting) -> Outcome:
        """Call a Python function."""
        shared = self._means.shared
        leader = await (self._own(setting) if shared is None else self._entered(shared, setting))
        if self._stopped is not None or leader is None:
            if isinstance(leader, SharedLeader):
                leader.abandon()
            assert self._stopped is not None  # noqa: S101 - nothing else keeps it from its place
            return self._outcome(Ending(self._stopped))
        if isinstance(leader, SharedLeader):
            entered = leader
            entered.on_move = lambda: self._move(entered)
            self.held_up_by = entered.held_up_by

        def begin() -> None:
            self._calls.on_launch()
            self._begin(leader)

        return await self._called(leader, begin)

    async def _called(
        self, leader: PythonLeader | SharedLeader, begin: Callable[[], None]
    ) -> Outcome:
        self._guard = leader.guard
        try:
            ending = await leader.ended(begin)
        finally:
            self._guard = None
            self.held_up_by = nothing
        usage = self._means.meter.at_least(leader.usage or Usage())
        return self._outcome(ending, leader, usage)

    async def _own(self, setting: Setting) -> PythonLeader:
        """Return the attempt with the slot's own interpreter, which is ready unless it was stopped.

        Until then nothing of the attempt runs, so there is nothing to be told of a stop, and what
        ``child_init`` does must not hold it up.
        """
        leader = PythonLeader(
            self._means.python,
            setting=setting,
            place=self._place,
            on_progress=self._means.on_progress,
        )
        if leader.ready:
            return leader
        ready = False
        try:
            await self._unless_stopped(leader.prepare())
            ready = self._stopped is None
        except asyncio.CancelledError:
            await leader.cancel()
            raise
        finally:
            if not ready:
                leader.guard.close()
        return leader

    async def _entered(self, python: SharedPython, setting: Setting) -> SharedLeader | None:
        """Return the attempt with its place in a child; ``None`` when it is stopped before."""
        entering = SharedLeader.enter(
            python, setting=setting, place=self._place, on_progress=self._means.on_progress
        )
        return await (entering if python.ready(setting) else self._unless_stopped(entering))

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Return what comes of ``work``; ``None`` when the attempt is stopped before it is done."""
        task = asyncio.ensure_future(work)
        self._early = asyncio.get_running_loop().create_future()
        either: list[asyncio.Future[Any]] = [task, self._early]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            self._early = None
            task.cancel()

    async def _ask(self, condition: str, setting: Setting) -> Ending | None:
        """Return how it ends because of its ``only_if``, ``None`` when it may go on."""
        question = Condition(condition, setting=setting, place=self._place)
        self._guard = question.guard
        try:
            return await question.answer()
        finally:
            self._guard = None
            self._leftovers |= question.left_something

    def _begin(self, leader: Leader | PythonLeader | SharedLeader, *, gone: float = 0.0) -> None:
        """Note that the job itself runs, from ``gone`` seconds ago on."""
        self._guard = leader.guard
        self.pid, self.started_at, self.born = leader.pid, leader.started_at, leader.born
        timeout, job = self._spec.timeout, self._spec.job
        leader.guard.arm(timeout=timeout, soft_timeout=_signalled_at(job), gone=gone)
        self._calls.on_start(leader.pid, leader.started_at)

    def _move(self, leader: SharedLeader) -> None:
        self.pid, self.born = leader.pid, leader.born
        self._calls.on_move(leader.pid)

    def _outcome(
        self,
        ending: Ending,
        leader: Leader | PythonLeader | SharedLeader | AdoptedLeader | None = None,
        usage: Usage | None = None,
    ) -> Outcome:
        """Close its files and say how it ended; without ``leader``, unstarted."""
        files, finding = self._files, ending.finding
        kept = self._spec.job.leftovers == "keep"
        if leader is None:
            return Outcome(
                kind=finding.kind,
                reason=finding.reason,
                exit_code=ending.exit_code,
                error=finding.error,
                log_bytes=files.output.close(retire=self._leftovers, kept=kept),
                log_truncated=files.output.dropped > 0,
            )
        judged, written = files.result(self._spec, finding)
        if judged is not finding or written is not None:
            result = ending.result if written is None else written
            ending = replace(ending, finding=judged, result=result)
        return outcome_of(
            ending,
            pid=leader.pid,
            started_at=leader.started_at,
            duration=leader.duration,
            usage=usage or Usage(),
            log_bytes=files.output.close(
                retire=self._leftovers or leader.left_something, kept=kept
            ),
            log_truncated=files.output.dropped > 0,
        )


def bundled(spec: AttemptSpec, place: Workplace) -> Setting:
    """Return what a bundle with a run of ``spec`` is started with; raises SpawnError."""
    launch = place.launches.prepare(spec.job, spec.timezone)
    return Setting(spec=spec, launch=launch, environment={}, output=-1)


def _signalled_at(job: JobDef) -> float | None:
    """Return the soft timeout of a command; a Python child sees to its own."""
    return None if job.python is not None else job.soft_timeout
