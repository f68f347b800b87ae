"""A slot: the place in a pool where one attempt runs at a time.

Executing an attempt is a short pipeline: prepare, open the output, ask ``only_if``, start, wait,
clear the tree, judge. Whatever a job or the host does to it ends in an
:class:`~jobctl.model.run.Outcome`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine import spawn
from jobctl.engine.environment import attempt_environment
from jobctl.engine.exchange import Exchange, ResultError
from jobctl.engine.guard import Guard
from jobctl.engine.output import Output
from jobctl.engine.processes import Attempt
from jobctl.engine.usage import Meter
from jobctl.engine.verdict import Ending, Verdict, judge, signal_number
from jobctl.model.run import Outcome, OutcomeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.processes import Exit
    from jobctl.engine.tree import TreeTable
    from jobctl.engine.workplace import Workplace

CONDITION_TIMEOUT = 60.0
"""Seconds an ``only_if`` may take; the attempt's own timeout if that is shorter."""
MEMORY_GRACE = 2.0
"""Most seconds between the stop signal and KILL for a tree above ``max_rss``: it may still grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What all processes of one attempt are started with."""

    launch: spawn.Launch
    environment: dict[str, str]
    output: int


class Slot:
    """Runs one attempt after the other."""

    def __init__(self, *, name: str, workplace: Workplace) -> None:
        """``name`` is unique in the state directory: the pool's name and a number."""
        self.name = name
        self._place = workplace
        self._output = Output(dirs=workplace.dirs, slot=name)
        self._exchange = Exchange(dirs=workplace.dirs, slot=name)
        self._meter = Meter()
        self._spec: AttemptSpec | None = None
        self._guard: Guard | None = None
        self._stop_early: Verdict | None = None
        self._leftovers = False
        self._progress: str | None = None
        self._started_at = self._started = self._duration = 0.0
        self.pid: int | None = None
        """Of the leader of what runs now."""
        self.started_at: float | None = None
        """Epoch seconds; ``None`` until the leader runs."""

    async def execute(
        self,
        spec: AttemptSpec,
        *,
        on_start: Callable[[int, float], None] | None = None,
        output: int | None = None,
    ) -> Outcome:
        """Run one attempt to the end of its last process.

        ``on_start`` gets pid and epoch seconds as soon as the leader runs. ``output`` is a
        descriptor to write to instead of the log. Cancelling kills the attempt's tree first.
        """
        self._spec = spec
        self._meter.reset()
        self._progress = None
        self._leftovers = False
        try:
            return await self._attempt(spec, on_start=on_start, output=output)
        except spawn.SpawnError as error:
            verdict = Verdict(OutcomeKind.FAILED, Reason.SPAWN, str(error))
            return self._outcome(spec, Ending(verdict, error.status))
        finally:
            self._place.outputs.discard(self._output)
            self._output.close(retire=True)
            self._exchange.end()
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
        verdict = Verdict(kind, reason)
        if self._guard is not None:
            self._guard.stop(verdict, number=number, grace=grace, kill=kill)
        elif self._stop_early is None:
            self._stop_early = verdict

    @property
    def log_path(self) -> Path:
        """The file with the output of the attempt, until the next one starts; it may be missing."""
        return self._output.path

    @property
    def log_size(self) -> int:
        """Bytes the attempt wrote so far, dropped ones included."""
        return self._output.size

    def read_log(self, position: int, limit: int) -> tuple[bytes, int]:
        """Return up to ``limit`` bytes of output from ``position``, and the position after them.

        Positions count all that was ever written, so they stay right when the middle is dropped.
        """
        return self._output.read(position, limit)

    def poll_progress(self) -> str | None:
        """Return ``{"percent": …, "message": …}`` if the job said so since the last call."""
        if self._spec is not None:
            self._progress = self._exchange.progress() or self._progress
        progress, self._progress = self._progress, None
        return progress

    def sample(self, table: TreeTable) -> None:
        """Take note of the tree's memory and CPU, and stop it above ``max_rss``."""
        guard, spec = self._guard, self._spec
        if guard is None or spec is None:
            return
        self._meter.sample(table.below(self._place.processes.roots(guard.attempt)))
        limit = spec.job.max_rss
        if limit is not None and self._meter.rss > limit:
            error = f"its processes held {self._meter.rss} bytes of memory, max_rss is {limit}"
            grace = min(MEMORY_GRACE, spec.job.stop_timeout)
            guard.stop(Verdict(OutcomeKind.FAILED, Reason.MEMORY, error), grace=grace)

    @property
    def meter(self) -> Meter:
        """What the tree used at the last :meth:`sample`."""
        return self._meter

    async def close(self) -> None:
        """End what the slot keeps between attempts. Nothing may run in it."""

    async def _attempt(
        self,
        spec: AttemptSpec,
        *,
        on_start: Callable[[int, float], None] | None,
        output: int | None,
    ) -> Outcome:
        launch = self._place.launches.prepare(spec.job, spec.timezone)
        command = spawn.command_line(spec)
        if output is None:
            output = self._open_output(spec)
        environment = self._environment(spec, launch)
        start = _Start(launch=launch, environment=environment, output=output)
        if spec.job.only_if is not None:
            ending = await self._ask(spec, spec.job.only_if, start)
            if ending is not None:
                return self._outcome(spec, ending)
        if self._stop_early is not None:
            return self._outcome(spec, Ending(self._stop_early))
        end, guard = await self._run(spec, command, start, on_start=on_start)
        return self._outcome(spec, judge(spec.job, end.status, stopped=guard.stopped), end, guard)

    def _open_output(self, spec: AttemptSpec) -> int:
        try:
            fd = self._output.open(
                job=spec.job.name,
                run_id=spec.run_id,
                attempt=spec.number,
                limit=spec.max_output,
            )
        except OSError as error:
            raise spawn.SpawnError(
                f"the log {error.filename} cannot be written: {error.strerror}"
            ) from error
        self._place.outputs.add(self._output)
        return fd

    def _environment(self, spec: AttemptSpec, launch: spawn.Launch) -> dict[str, str]:
        try:
            self._exchange.begin(spec.run_id, spec.number, owner=launch.identity.owner)
        except OSError as error:
            raise spawn.SpawnError(
                f"{error.filename} cannot be made for the job's user: {error.strerror}"
            ) from error
        return attempt_environment(
            spec,
            launch.environment,
            result_file=self._exchange.result_file,
            progress_file=self._exchange.progress_file,
        )

    async def _ask(self, spec: AttemptSpec, condition: str, start: _Start) -> Ending | None:
        """Return how the attempt ends because of its ``only_if``, ``None`` when it may go on."""
        command = [spec.job.shell, "-c", condition, spec.job.name]
        timeout = (
            CONDITION_TIMEOUT if spec.timeout is None else min(CONDITION_TIMEOUT, spec.timeout)
        )
        end, guard = await self._run(spec, command, start, timeout=timeout)
        if guard.stopped is not None:
            error = guard.stopped.error and f"only_if {guard.stopped.error}"
            return Ending(Verdict(guard.stopped.kind, guard.stopped.reason, error))
        code = os.waitstatus_to_exitcode(end.status)
        if code == 0:
            return None
        error = f"only_if ended with {code}: {condition}"
        return Ending(Verdict(OutcomeKind.SKIPPED, Reason.CONDITION, error))

    async def _run(
        self,
        spec: AttemptSpec,
        command: list[str],
        start: _Start,
        *,
        timeout: float | None = None,
        on_start: Callable[[int, float], None] | None = None,
    ) -> tuple[Exit, Guard]:
        """Start a process and return its end when all of its tree is gone.

        With ``timeout`` it is the condition that runs, else the attempt's own command.
        """
        condition = timeout is not None
        processes = self._place.processes
        self._started_at = self._place.clock.epoch()
        self._started = self._place.clock.monotonic()
        pid = self._start(spec, command, start, stdin=None if condition else spec.job.stdin)
        future = self._wait(pid)
        marks = Attempt(run_id=spec.run_id.encode(), number=b"%d" % spec.number, leader=pid)
        guard = self._guard = Guard(marks, job=spec.job, processes=processes)
        self.pid = pid
        try:
            if condition:
                guard.arm(timeout=timeout, soft_timeout=None)
            else:
                guard.arm(timeout=spec.timeout, soft_timeout=spec.job.soft_timeout)
                self.started_at = self._started_at
                if on_start is not None:
                    on_start(pid, self._started_at)
            end = await self._ended(pid, future, guard)
            self._duration = self._place.clock.monotonic() - self._started
            self._leftovers |= await guard.clear()
        finally:
            self._guard = None
            guard.close()
        return end, guard

    async def _ended(self, pid: int, future: asyncio.Future[Exit], guard: Guard) -> Exit:
        try:
            return await future
        except asyncio.CancelledError:
            guard.stop(Verdict(OutcomeKind.LOST, Reason.LOST), grace=0.0)
            rest = self._place.processes.rejoin(pid)
            if rest is not None:
                await rest
            await guard.clear()
            raise

    def _start(
        self, spec: AttemptSpec, command: list[str], start: _Start, *, stdin: str | None
    ) -> int:
        source = self._place.null if stdin is None else spawn.text_file(stdin)
        try:
            return spawn.start(
                start.launch,
                command,
                environment=start.environment,
                stdin=source,
                output=start.output,
            )
        finally:
            if stdin is not None:
                os.close(source)

    def _wait(self, pid: int) -> asyncio.Future[Exit]:
        try:
            return self._place.processes.wait(pid)
        except OSError as error:
            # Nobody could tell when it ends: it must not go on.
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise spawn.SpawnError(
                f"the process cannot be watched: {error.strerror}; the daemon's limits are used up"
            ) from error

    def _outcome(
        self,
        spec: AttemptSpec,
        ending: Ending,
        end: Exit | None = None,
        guard: Guard | None = None,
    ) -> Outcome:
        """Close the files of the attempt and say how it ended; without ``end`` it did not start."""
        verdict, result = ending.verdict, None
        if end is not None:
            self._progress = self._exchange.progress() or self._progress
            verdict, result = self._result(spec, verdict)
        log_bytes = self._output.close(retire=self._leftovers)
        if end is None or guard is None:
            return Outcome(
                kind=verdict.kind,
                reason=verdict.reason,
                exit_code=ending.exit_code,
                error=verdict.error,
                log_bytes=log_bytes,
                log_truncated=self._output.dropped > 0,
            )
        return Outcome(
            kind=verdict.kind,
            reason=verdict.reason,
            exit_code=ending.exit_code,
            signal=ending.signal,
            error=verdict.error,
            result=result,
            pid=self.pid,
            started_at=self._started_at,
            finished_at=self._started_at + self._duration,
            duration=self._duration,
            usage=self._meter.usage(end, orphan_cpu=guard.attempt.orphan_cpu),
            log_bytes=log_bytes,
            log_truncated=self._output.dropped > 0,
        )

    def _result(self, spec: AttemptSpec, verdict: Verdict) -> tuple[Verdict, str | None]:
        """Return the result as JSON, and the verdict, which a bad result can spoil."""
        try:
            return verdict, self._exchange.result(spec.max_result)
        except ResultError as error:
            if verdict.kind is not OutcomeKind.SUCCEEDED:
                return verdict, None
            return Verdict(OutcomeKind.FAILED, Reason.RESULT, str(error)), None
