"""A slot: the place in a pool where one attempt runs at a time.

Executing an attempt is a short pipeline: prepare, open the output, ask ``only_if``, start, wait,
clear the tree, judge. Whatever a job or the host does to it ends in an
:class:`~jobctl.model.run.Outcome`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from jobctl.engine import spawn
from jobctl.engine.adopted import AdoptedLeader, judge_survivor, usage_of
from jobctl.engine.attempt_files import AttemptFiles
from jobctl.engine.ending import Ending, Finding, judge, outcome_of, signal_number
from jobctl.engine.exchange import progress_json
from jobctl.engine.host_journal import PYTHON, since_boot
from jobctl.engine.leader import Leader, Setting
from jobctl.engine.only_if import Condition
from jobctl.engine.python_leader import PythonLeader
from jobctl.engine.shared_leader import SharedLeader
from jobctl.engine.spool import remove, tally_file
from jobctl.engine.usage import Meter
from jobctl.engine.warm_python import WarmPython
from jobctl.model.run import Outcome, OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.guard import Guard
    from jobctl.engine.nursery import Nursery
    from jobctl.engine.processes import Processes
    from jobctl.engine.shared_guard import SharedGuard
    from jobctl.engine.sharing import SharedPython
    from jobctl.engine.survivors import Survivor
    from jobctl.engine.tree import TreeTable
    from jobctl.engine.workplace import Workplace
    from jobctl.model.job import JobDef

_T = TypeVar("_T")

MEMORY_GRACE = 2.0
"""Most seconds between the stop signal and KILL for a tree above ``max_rss``: it may still grow."""


@dataclass(frozen=True, slots=True)
class _Calls:
    """Whom to tell of the beginning of an attempt."""

    on_launch: Callable[[], None]
    on_start: Callable[[int, float], None]
    on_move: Callable[[int], None]


def _nothing(*_: object) -> None:
    """Stand for a callback that nobody asked for."""


class Slot:
    """Runs one attempt after the other."""

    def __init__(
        self,
        *,
        name: str,
        workplace: Workplace,
        max_runs_per_child: int = 1000,
        max_rss_per_child: int | None = None,
        occupied: bool = False,
        nursery: Nursery | None = None,
    ) -> None:
        """``name`` is unique in the state directory: the pool's name and a number.

        Two are about its Python interpreter: calls, and bytes of memory, until it is replaced.
        ``occupied``: it begins with :meth:`resume`, so the files of its name are in use.
        ``nursery`` is where its interpreters come from.
        """
        self.name = name
        self._place = workplace
        self.python = WarmPython(
            workplace,
            slot=name,
            max_runs=max_runs_per_child,
            max_rss=max_rss_per_child,
            nursery=nursery,
        )
        """The interpreter it keeps between attempts."""
        self._shared = None if nursery is None else nursery.shared
        self._files = AttemptFiles(workplace, slot=name, occupied=occupied)
        self._meter = Meter()
        self._spec: AttemptSpec | None = None
        self._guard: Guard | SharedGuard | None = None
        self._stop_early: Finding | None = None
        self._early: asyncio.Future[None] | None = None
        """Done when it is stopped while it waits for an interpreter."""
        self._leftovers = False
        self._progress: str | None = None
        self.held_up_by: Callable[[], tuple[str, ...] | None] = _nothing
        """Returns which runs keep the function from beginning, in an interpreter they share."""
        self.pid: int | None = None
        """Of the leader of what runs now."""
        self.started_at: float | None = None
        """Epoch seconds; ``None`` until the leader runs."""
        self.born = 0.0
        """Start of the leader's process, in seconds since boot."""

    async def execute(
        self,
        spec: AttemptSpec,
        *,
        on_launch: Callable[[], None] | None = None,
        on_start: Callable[[int, float], None] | None = None,
        on_move: Callable[[int], None] | None = None,
        output: int | None = None,
    ) -> Outcome:
        """Run one attempt to the end of its last process.

        ``on_launch`` is called when its leader is about to be made, and nothing else happens in
        this event loop until ``on_start``, which gets pid and epoch seconds as soon as the leader
        runs, or until it could not be made; ``on_move`` gets the pid of another leader that has
        taken its place before anything began. ``output`` is a descriptor to write to instead of the
        log. Cancelling kills the attempt's tree first.
        """
        calls = _Calls(on_launch or _nothing, on_start or _nothing, on_move or _nothing)
        return await self._whole(spec, self._attempt(spec, calls, output=output))

    async def resume(
        self, spec: AttemptSpec, survivor: Survivor, *, on_start: Callable[[], None]
    ) -> Outcome:
        """Go on with an attempt that an earlier process of this pool started, to its end.

        ``on_start`` is called as soon as it can be stopped.

        It is as under :meth:`execute` but for two things: what it used is not known when nobody
        wrote that down, and an attempt of whose end nobody knows counts as lost.
        """
        return await self._whole(spec, self._resume(spec, survivor, on_start))

    async def go_on(
        self, spec: AttemptSpec, begun: Begun, *, on_start: Callable[[int, float], None]
    ) -> Outcome:
        """Go on with a run of a bundle, which is under way in the slot's interpreter, to its end.

        ``on_start`` is called as under :meth:`execute`.
        """
        return await self._whole(spec, self._go_on(spec, begun, on_start))

    def setting(self, spec: AttemptSpec) -> Setting:
        """Return what a bundle with a run of ``spec`` is started with; raises SpawnError."""
        launch = self._place.launches.prepare(spec.job, spec.timezone)
        return Setting(spec=spec, launch=launch, environment={}, output=-1)

    def collect(
        self, spec: AttemptSpec, ending: Ending, *, silent: bool
    ) -> tuple[Ending, int, bool]:
        """Take the files of a run of a bundle that has ended.

        Returns how it ended with what was in its result file, the bytes of its log, and whether
        something was cut out of that. Its log can be read until the next attempt starts. ``silent``:
        it has printed nothing.
        """
        files = self._files
        files.adopt(spec, silent=silent)
        try:
            self._progress = files.exchange.progress()
            finding, written = files.result(spec, ending.finding)
            size = files.output.close(retire=False)
            result = ending.result if written is None else written
            cut = not silent and files.output.dropped > 0
            return replace(ending, finding=finding, result=result), size, cut
        finally:
            files.end()

    def discard_output(self) -> None:
        """Begin a new file of output with the next run: some process may write to the one there is."""
        self._files.output.discard()

    async def _whole(self, spec: AttemptSpec, pipeline: Awaitable[Outcome]) -> Outcome:
        self._spec = spec
        self._meter.reset()
        self._progress = None
        self._leftovers = False
        try:
            return await pipeline
        except spawn.SpawnError as error:
            kind = OutcomeKind.FAILED
            if error.scarce:
                # Of one that had to go to another interpreter it is known that it runs: it can only
                # be run again, as one that was interrupted.
                begun = self.pid is not None
                kind = OutcomeKind.INTERRUPTED if begun else OutcomeKind.NOT_STARTED
            finding = Finding(kind, Reason.SPAWN, str(error))
            return self._outcome(spec, Ending(finding, error.status))
        finally:
            self._files.end()
            self._spec = self._stop_early = self.pid = self.started_at = None

    def stop(
        self,
        *,
        kind: OutcomeKind,
        reason: Reason,
        signal: str | None = None,
        grace: float | None = None,
        kill: bool = True,
    ) -> None:
        """Stop what runs now, which then ends as ``kind``; nothing happens when nothing runs.

        ``signal`` and ``grace`` (seconds until KILL) default to the job's own. ``kill=False`` only
        sends the signal. Calling again can only hurry. Raises ConfigError for an unknown signal.
        """
        if self._spec is None:
            return
        number = None if signal is None else signal_number(signal)
        finding = Finding(kind, reason)
        if self._guard is not None:
            self._guard.stop(finding, number=number, grace=grace, kill=kill)
        elif self._stop_early is None:
            self._stop_early = finding
            if self._early is not None and not self._early.done():
                self._early.set_result(None)

    @property
    def room(self) -> int:
        """How many runs a bundle for its interpreter may have; none, where slots share one."""
        return self.python.room if self._shared is None else 0

    @property
    def processes(self) -> Processes:
        """Who watches over the processes of its attempts."""
        return self._place.processes

    @property
    def log_path(self) -> Path:
        """The file with the output of the attempt, until the next one starts; it may be missing."""
        return self._files.output.path

    @property
    def log_size(self) -> int:
        """Bytes the attempt wrote so far, dropped ones included."""
        return self._files.output.size

    def read_log(self, position: int, limit: int) -> tuple[bytes, int]:
        """Return up to ``limit`` bytes of output from ``position``, and the position after them.

        Positions count all that was ever written, so they stay right when the middle is dropped.
        """
        return self._files.output.read(position, limit)

    def on_progress(self, percent: float, message: str) -> None:
        """Keep how far what runs says it is, for :meth:`poll_progress`."""
        self._progress = progress_json(percent, message)

    def poll_progress(self) -> str | None:
        """Return ``{"percent": …, "message": …}`` if the job said so since the last call."""
        if self._spec is not None:
            self._progress = self._files.exchange.progress() or self._progress
        progress, self._progress = self._progress, None
        return progress

    def sample(self, table: TreeTable) -> None:
        """Take note of the tree's memory and CPU, and stop it above ``max_rss``."""
        guard, spec = self._guard, self._spec
        if guard is None or spec is None:
            return
        self._place.processes.tidy()
        self._meter.sample(guard.members(table))
        limit = spec.job.max_rss
        if limit is not None and self._meter.rss > limit:
            error = f"its processes held {self._meter.rss} bytes of memory, max_rss is {limit}"
            grace = min(MEMORY_GRACE, spec.job.stop_timeout)
            guard.stop(Finding(OutcomeKind.FAILED, Reason.MEMORY, error), grace=grace)

    @property
    def meter(self) -> Meter:
        """What the tree used at the last :meth:`sample`."""
        return self._meter

    async def close(self) -> None:
        """End the interpreter the slot keeps between attempts. Nothing may run in it."""
        await self.python.close()

    async def _attempt(
        self,
        spec: AttemptSpec,
        calls: _Calls,
        *,
        output: int | None,
    ) -> Outcome:
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
                return self._outcome(spec, ending)
        alone = spec.job.python is not None and self._shared is None
        if alone and not self.python.serves(setting):
            await self._unless_stopped(self.python.prepare(setting))
        if self._stop_early is not None:
            return self._outcome(spec, Ending(self._stop_early))
        if spec.job.python is not None:
            return await self._call(setting, calls)
        return await self._run(setting, calls)

    async def _run(self, setting: Setting, calls: _Calls) -> Outcome:
        """Run a command."""
        spec = setting.spec
        command = spawn.command_line(spec)
        calls.on_launch()
        leader = Leader(command, setting=setting, place=self._place, stdin=spec.job.stdin)
        try:
            self._begin(spec, leader, calls.on_start)
            end = await leader.ended()
        finally:
            self._guard = None
            leader.abandon()
        ending = judge(spec.job, end.status, stopped=leader.guard.stopped)
        usage = self._meter.usage(end, orphan_cpu=leader.guard.attempt.orphan_cpu)
        return self._outcome(spec, ending, leader, usage)

    async def _call(self, setting: Setting, calls: _Calls) -> Outcome:
        """Call a Python function."""
        spec = setting.spec
        leader: PythonLeader | SharedLeader
        if self._shared is None:
            leader = PythonLeader(
                self.python, setting=setting, place=self._place, on_progress=self.on_progress
            )
            if not leader.ready:
                await self._get_ready(leader)
            if self._stop_early is not None:
                return self._outcome(spec, Ending(self._stop_early))
        else:
            shared = await self._entered(self._shared, setting)
            if self._stop_early is not None:
                if shared is not None:
                    shared.abandon()
                return self._outcome(spec, Ending(self._stop_early))
            assert shared is not None  # noqa: S101 - nothing else keeps it from its place
            shared.on_move = lambda: self._move(shared, calls)
            self.held_up_by = shared.held_up_by
            leader = shared
        self._guard = leader.guard
        try:
            ending = await leader.ended(lambda: self._begin_call(spec, leader, calls))
        finally:
            self._guard = None
            self.held_up_by = _nothing
        usage = self._meter.at_least(leader.usage or Usage())
        return self._outcome(spec, ending, leader, usage)

    async def _entered(self, python: SharedPython, setting: Setting) -> SharedLeader | None:
        """Return the attempt with its place in a child; ``None`` when it is stopped before."""
        entering = SharedLeader.enter(
            python, setting=setting, place=self._place, on_progress=self.on_progress
        )
        return await (entering if python.ready(setting) else self._unless_stopped(entering))

    async def _get_ready(self, leader: PythonLeader) -> None:
        """Wait for an interpreter that is being started, unless the attempt is stopped before.

        Nothing of the attempt runs then, so there is nothing to be told of the stop, and what
        ``child_init`` does must not hold it up.
        """
        ready = False
        try:
            await self._unless_stopped(leader.prepare())
            ready = self._stop_early is None
        except asyncio.CancelledError:
            await leader.cancel()
            raise
        finally:
            if not ready:
                leader.guard.close()

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

    async def _go_on(
        self, spec: AttemptSpec, begun: Begun, on_start: Callable[[int, float], None]
    ) -> Outcome:
        self._files.adopt(spec)
        leader = PythonLeader(
            self.python,
            setting=self.setting(spec),
            place=self._place,
            on_progress=self.on_progress,
            begun=begun,
        )
        self._guard = leader.guard
        try:
            ending = await leader.ended(
                lambda: self._begin(spec, leader, on_start, gone=begun.gone)
            )
        finally:
            self._guard = None
        usage = self._meter.at_least(leader.usage or Usage())
        return self._outcome(spec, ending, leader, usage)

    async def _resume(
        self, spec: AttemptSpec, survivor: Survivor, on_start: Callable[[], None]
    ) -> Outcome:
        """Watch an attempt that runs or has ended."""
        started = survivor.started
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
            on_start()
            death = await leader.ended()
        finally:
            self._guard = None
            leader.abandon()
        answer = self._files.exchange.reply() if started.kind == PYTHON else b""
        remove(tally_file(self._place.dirs.spool, slot=self.name, pid=leader.pid))
        ending = judge_survivor(
            spec.job, death, stopped=leader.guard.stopped, kind=started.kind, answer=answer
        )
        return self._outcome(spec, ending, leader, self._meter.at_least(usage_of(death)))

    def _begin(
        self,
        spec: AttemptSpec,
        leader: Leader | PythonLeader | SharedLeader,
        on_start: Callable[[int, float], None],
        *,
        gone: float = 0.0,
    ) -> None:
        """Note that the job itself runs, from ``gone`` seconds ago on."""
        self._guard = leader.guard
        self.pid, self.started_at, self.born = leader.pid, leader.started_at, leader.born
        leader.guard.arm(timeout=spec.timeout, soft_timeout=_signalled_at(spec.job), gone=gone)
        on_start(leader.pid, leader.started_at)

    def _move(self, leader: SharedLeader, calls: _Calls) -> None:
        self.pid, self.born = leader.pid, leader.born
        calls.on_move(leader.pid)

    def _begin_call(
        self, spec: AttemptSpec, leader: PythonLeader | SharedLeader, calls: _Calls
    ) -> None:
        calls.on_launch()
        self._begin(spec, leader, calls.on_start)

    async def _ask(self, condition: str, setting: Setting) -> Ending | None:
        """Return how the attempt ends because of its ``only_if``, ``None`` when it may go on."""
        question = Condition(condition, setting=setting, place=self._place)
        self._guard = question.guard
        try:
            return await question.answer()
        finally:
            self._guard = None
            self._leftovers |= question.left_something

    def _outcome(
        self,
        spec: AttemptSpec,
        ending: Ending,
        leader: Leader | PythonLeader | SharedLeader | AdoptedLeader | None = None,
        usage: Usage | None = None,
    ) -> Outcome:
        """Close the files of the attempt and say how it ended; without ``leader``, unstarted."""
        finding, result = ending.finding, ending.result
        kept = spec.job.leftovers == "keep"
        if leader is None:
            return Outcome(
                kind=finding.kind,
                reason=finding.reason,
                exit_code=ending.exit_code,
                error=finding.error,
                log_bytes=self._files.output.close(retire=self._leftovers, kept=kept),
                log_truncated=self._files.output.dropped > 0,
            )
        self._progress = self._files.exchange.progress() or self._progress
        finding, written = self._files.result(spec, finding)
        return outcome_of(
            replace(ending, finding=finding, result=result if written is None else written),
            pid=leader.pid,
            started_at=leader.started_at,
            duration=leader.duration,
            usage=usage or Usage(),
            log_bytes=self._files.output.close(
                retire=self._leftovers or leader.left_something, kept=kept
            ),
            log_truncated=self._files.output.dropped > 0,
        )


def _signalled_at(job: JobDef) -> float | None:
    """Return the soft timeout of a command; a Python child sees to its own."""
    return None if job.python is not None else job.soft_timeout
