"""A slot: the place in a pool where one attempt runs at a time.

Whatever a job or the host does to an attempt ends in an :class:`~jobctl.model.run.Outcome`; how is
told in :mod:`jobctl.engine.under_way`. Files and interpreter stay from one to the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.engine import spawn
from jobctl.engine.attempt_files import AttemptFiles
from jobctl.engine.ending import Finding
from jobctl.engine.exchange import progress_json
from jobctl.engine.under_way import Calls, Means, UnderWay, bundled, nothing
from jobctl.engine.usage import Meter
from jobctl.engine.warm_python import WarmPython

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.bundle_leader import Begun
    from jobctl.engine.ending import Ending
    from jobctl.engine.leader import Setting
    from jobctl.engine.nursery import Nursery
    from jobctl.engine.processes import Processes
    from jobctl.engine.survivors import Survivor
    from jobctl.engine.tree import TreeTable
    from jobctl.engine.workplace import Workplace
    from jobctl.model.run import Outcome, OutcomeKind, Reason


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
        self._shares = nursery is not None and nursery.shared is not None
        self._files = AttemptFiles(workplace, slot=name, occupied=occupied)
        self._meter = Meter()
        self._means = Means(
            place=workplace,
            files=self._files,
            python=self.python,
            shared=None if nursery is None else nursery.shared,
            meter=self._meter,
            on_progress=self.on_progress,
        )
        self._now: UnderWay | None = None
        self._progress: str | None = None

    @property
    def pid(self) -> int | None:
        """Of the leader of what runs now."""
        return None if self._now is None else self._now.pid

    @property
    def started_at(self) -> float | None:
        """Epoch seconds; ``None`` until the leader runs."""
        return None if self._now is None else self._now.started_at

    @property
    def born(self) -> float:
        """Start of the leader's process, in seconds since boot."""
        return 0.0 if self._now is None else self._now.born

    def held_up_by(self) -> tuple[str, ...] | None:
        """Return which runs keep the function from beginning, in an interpreter they share."""
        return None if self._now is None else self._now.held_up_by()

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
        calls = Calls(on_launch or nothing, on_start or nothing, on_move or nothing)
        return await self._whole(spec, calls, lambda now: now.run(output=output))

    async def resume(
        self, spec: AttemptSpec, survivor: Survivor, *, on_start: Callable[[], None]
    ) -> Outcome:
        """Go on with an attempt that an earlier process of this pool started, to its end.

        ``on_start`` is called as soon as it can be stopped.

        It is as under :meth:`execute` but for two things: what it used is not known when nobody
        wrote that down, and an attempt of whose end nobody knows counts as lost.
        """
        calls = Calls(on_start=lambda *_: on_start())
        return await self._whole(spec, calls, lambda now: now.resume(survivor, self.name))

    async def go_on(
        self, spec: AttemptSpec, begun: Begun, *, on_start: Callable[[int, float], None]
    ) -> Outcome:
        """Go on with a run of a bundle, which is under way in the slot's interpreter, to its end.

        ``on_start`` is called as under :meth:`execute`.
        """
        return await self._whole(spec, Calls(on_start=on_start), lambda now: now.go_on(begun))

    def setting(self, spec: AttemptSpec) -> Setting:
        """Return what a bundle with a run of ``spec`` is started with; raises SpawnError."""
        return bundled(spec, self._place)

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

    async def _whole(
        self,
        spec: AttemptSpec,
        calls: Calls,
        pipeline: Callable[[UnderWay], Coroutine[object, object, Outcome]],
    ) -> Outcome:
        now = self._now = UnderWay(spec, self._means, calls)
        self._meter.reset()
        self._progress = None
        try:
            try:
                outcome = await pipeline(now)
            except spawn.SpawnError as error:
                outcome = now.unstarted(error)
            self._progress = self._files.exchange.progress() or self._progress
            return outcome
        finally:
            self._files.end()
            self._now = None

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
        if self._now is not None:
            self._now.stop(Finding(kind, reason), signal=signal, grace=grace, kill=kill)

    @property
    def room(self) -> int:
        """How many runs a bundle for its interpreter may have; none, where slots share one."""
        return 0 if self._shares else self.python.room

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
        if self._now is not None:
            self._progress = self._files.exchange.progress() or self._progress
        progress, self._progress = self._progress, None
        return progress

    def sample(self, table: TreeTable) -> None:
        """Take note of the tree's memory and CPU, and stop it above ``max_rss``."""
        if self._now is not None:
            self._now.sample(table)

    @property
    def meter(self) -> Meter:
        """What the tree used at the last :meth:`sample`."""
        return self._meter

    async def close(self) -> None:
        """End the interpreter the slot keeps between attempts. Nothing may run in it."""
        await self.python.close()
