"""Python attempts that share a child: ``python = "thread"`` and ``"async"``.

One interpreter runs the attempts of all slots beside each other, so none of them has processes of
its own, and none can be killed alone. A stop is asked for: a coroutine is cancelled, a thread gets
an exception. An attempt that ignores it keeps its slot, while new ones go to another child; when
only such attempts are left in a child it is killed, and only then have they ended. So no run is
tried again while its function may still be running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.engine import python_call, spawn
from jobctl.engine.ending import Ending, Finding, judge, judge_reply
from jobctl.engine.host_journal import since_boot
from jobctl.engine.python_desk import Line
from jobctl.engine.python_host import PythonChild
from jobctl.engine.python_spawn import resolve_interpreter
from jobctl.model.run import OutcomeKind, Reason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.leader import Setting
    from jobctl.engine.processes import Exit
    from jobctl.engine.template_host import Templates
    from jobctl.engine.tree import Process, TreeTable
    from jobctl.engine.workplace import Workplace
    from jobctl.model.job import JobDef

CANCEL, COMMON = 32, 33
"""Kinds of frames that only a shared child gets; see :mod:`jobctl.engine.python_shared`."""
COMMON_LOG = 2
"""What nobody can attribute to a run goes where the daemon itself prints."""
STARTS = 3
"""Most children one attempt may use up before its function begins."""
CLOSE_PATIENCE = 5.0
"""Seconds a child that nothing runs in may take to end by itself."""
KEPT = 512
"""Prepared jobs whose child is remembered."""

_Key = tuple[python_call.ChildKey, tuple[tuple[str, str], ...]]


@dataclass(eq=False, slots=True)
class SharedChild:
    """A child and what runs in it."""

    child: PythonChild
    exit: asyncio.Future[Exit]
    born: float
    runs: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    """Runs that were asked to stop and did not, within their grace."""
    draining: bool = False

    def leave(self, run_id: str) -> None:
        """Note the end of a run; the child ends with its last one, if it is to."""
        self.runs.discard(run_id)
        self.stuck.discard(run_id)
        self.look()

    def give_up(self, run_id: str) -> None:
        """Note that a run does not obey; it ends with the child."""
        if run_id in self.runs:
            self.stuck.add(run_id)
            self.draining = True
            self.look()

    def look(self) -> None:
        """End the child when nothing is left in it that ends by itself."""
        if not self.draining or self.exit.done():
            return
        if not self.runs:
            self.child.close()
            late = asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self.kill)
            self.exit.add_done_callback(lambda _: late.cancel())
        elif self.runs == self.stuck:
            self.kill()

    def kill(self) -> None:
        """Kill the child with all its processes."""
        if not self.exit.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)


class SharedPython:
    """The shared children of one pool: one for each set of interpreter, user, directory and env."""

    def __init__(
        self,
        place: Workplace,
        *,
        options: str,
        templates: Templates | None,
        max_runs: int,
        max_rss: int | None,
    ) -> None:
        """Replace a child after ``max_runs`` calls, or when it holds ``max_rss`` bytes."""
        self._place = place
        self._options = options
        self._templates = templates
        self._max_runs = max_runs
        self._max_rss = max_rss
        self._specs: dict[str, AttemptSpec] = {}
        self._current: dict[_Key, SharedChild] = {}
        self._all: set[SharedChild] = set()
        self._starting: dict[_Key, asyncio.Lock] = {}
        self._keys: dict[int, tuple[spawn.Launch, _Key]] = {}

    async def enter(self, setting: Setting) -> SharedChild:
        """Return a ready child for an attempt, which is in it from now on; raises SpawnError."""
        key = self._key(setting)
        async with self._starting.setdefault(key, asyncio.Lock()):
            shared = self._current.get(key)
            if shared is None or shared.draining or shared.exit.done():
                shared = self._current[key] = await self._start(key[0], setting)
            shared.runs.add(setting.spec.run_id)
            self._specs[setting.spec.run_id] = setting.spec
            return shared

    @property
    def children(self) -> int:
        """How many live."""
        return len(self._all)

    def leave(self, shared: SharedChild, run_id: str) -> None:
        """Note the end of an attempt in a child."""
        self._specs.pop(run_id, None)
        shared.leave(run_id)

    def keep(self, shared: SharedChild, reply: python_call.PythonReply) -> None:
        """Decide whether a child may take more calls."""
        large = self._max_rss is not None and (reply.rss or 0) > self._max_rss
        if large or shared.child.calls >= self._max_runs:
            shared.draining = True

    def renew(self) -> None:
        """Let new attempts go to new children; what runs ends where it is."""
        for shared in self._all:
            shared.draining = True
            shared.look()

    async def close(self) -> None:
        """Let all children go and wait until they are gone. Nothing may run in them."""
        self.renew()
        ends = [shared.exit for shared in self._all if not shared.exit.done()]
        if ends:
            await asyncio.wait(ends)

    async def _start(self, key: python_call.ChildKey, setting: Setting) -> SharedChild:
        environment = {
            **setting.launch.environment,
            "JOBCTL_SUPERVISOR": setting.spec.supervisor.partition("/")[0],
        }
        try:
            child, exit_ = await self._make(key, environment)
        except (python_call.SpawnError, OSError) as error:
            raise spawn.SpawnError(f"{key.interpreter} cannot be started: {error}") from error
        shared = SharedChild(child, exit_, since_boot())
        self._all.add(shared)

        def ended(_: asyncio.Future[Exit]) -> None:
            child.close()
            os.close(child.pidfd)
            self._all.discard(shared)

        exit_.add_done_callback(ended)
        try:
            await child.ready()
        except python_call.SpawnError as error:
            shared.draining = True
            shared.look()
            raise spawn.SpawnError(str(error)) from error
        child.say(COMMON, {}, fd=COMMON_LOG)
        if self._place.desk is not None:
            Line.open(child, self._place.desk, self._specs.get)
        return shared

    async def _make(
        self, key: python_call.ChildKey, environment: dict[str, str]
    ) -> tuple[PythonChild, asyncio.Future[Exit]]:
        if self._templates is not None:
            warmed = await self._templates.warm(key, env=environment, options=self._options)
            if warmed is not None:
                return warmed.child, warmed.exit
        child = PythonChild.start(key, env=environment, options=self._options)
        return child, self._place.processes.wait(child.pid)

    def _key(self, setting: Setting) -> _Key:
        """Return what attempts that share a child have in common: all that belongs to a process."""
        launch, job = setting.launch, setting.spec.job
        kept = self._keys.get(id(launch))
        if kept is not None and kept[0] is launch:
            return kept[1]
        try:
            interpreter = resolve_interpreter(job.interpreter)
        except python_call.SpawnError as error:
            raise spawn.SpawnError(str(error)) from error
        key = python_call.child_key(
            interpreter=interpreter,
            env=launch.environment,
            user=job.user,
            group=job.group,
            umask=spawn.DEFAULT_UMASK if job.umask is None else job.umask,
            nice=job.nice,
            cwd=launch.cwd,
        )
        if len(self._keys) >= KEPT:
            del self._keys[next(iter(self._keys))]
        made = key, tuple(sorted(launch.environment.items()))
        self._keys[id(launch)] = launch, made
        return made


class SharedGuard:
    """Watches over one attempt in a shared child, as a ``Guard`` over one with processes."""

    def __init__(
        self, job: JobDef, *, ask: Callable[[str], None], give_up: Callable[[], None]
    ) -> None:
        self.stopped: Finding | None = None
        """Why the attempt was stopped; the first reason counts."""
        self._job = job
        self._ask = ask
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []

    def arm(
        self,
        *,
        timeout: float | None,
        soft_timeout: float | None,  # noqa: ARG002 - that of commands; a function gets no signal
        gone: float = 0.0,
    ) -> None:
        """Set the time limits, in seconds from the attempt's start, ``gone`` seconds ago."""
        if timeout is not None:
            self._timers.append(self._loop.call_later(timeout - gone, self._time_out, timeout))
        soft = self._job.soft_timeout
        if soft is not None:
            self._timers.append(self._loop.call_later(soft - gone, self._ask, "soft"))

    def stop(
        self,
        finding: Finding,
        *,
        number: int | None = None,  # noqa: ARG002 - there is no process to signal
        grace: float | None = None,
        kill: bool = True,
    ) -> None:
        """Ask the attempt to stop; after ``grace`` seconds its child takes no new ones."""
        if self.stopped is None:
            self.stopped = finding
        self._ask("stop")
        if kill:
            grace = self._job.stop_timeout if grace is None else grace
            self._timers.append(self._loop.call_later(grace, self._give_up))

    def members(self, table: TreeTable) -> list[Process]:  # noqa: ARG002 - as a Guard has it
        """Return nothing: the processes belong to nobody alone."""
        return []

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _time_out(self, timeout: float) -> None:
        error = f"did not end within its timeout of {timeout:g} s"
        self.stop(Finding(OutcomeKind.FAILED, Reason.TIMEOUT, error))


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
        self._python = python
        self._shared = shared
        self._setting = setting
        self._place = place
        self._on_progress = on_progress
        self.guard = SharedGuard(setting.spec.job, ask=self._ask, give_up=self._give_up)
        self.started_at = self._started = 0.0
        self.duration = 0.0
        self.usage: Usage | None = None

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
            return await self._call()
        except asyncio.CancelledError:
            self._shared.draining = True
            self._shared.kill()
            await asyncio.wait([self._shared.exit])
            raise
        finally:
            self.guard.close()
            self._python.leave(self._shared, run_id)

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
        for _ in range(STARTS):
            if not self._shared.exit.done():
                try:
                    reply = await self._shared.child.call(
                        call, log_fd=self._setting.output, on_progress=self._on_progress
                    )
                except python_call.StaleChildError:
                    self._shared.draining = True
                except python_call.ChildDiedError:
                    return await self._died()
                else:
                    self._python.keep(self._shared, reply)
                    self.duration, self.usage = reply.duration, reply.usage
                    return judge_reply(spec.job, reply, stopped=self.guard.stopped)
            self._python.leave(self._shared, spec.run_id)
            self._shared = await self._python.enter(self._setting)
            if self.guard.stopped is not None:
                return Ending(self.guard.stopped)
        raise spawn.SpawnError(
            f"{STARTS} interpreters ended or had outdated modules before the function began; "
            "try again when the job's files no longer change"
        )

    def _ask(self, how: str) -> None:
        self._shared.child.say(CANCEL, {"run": self._setting.spec.run_id, "how": how})

    def _give_up(self) -> None:
        self._shared.give_up(self._setting.spec.run_id)

    async def _died(self) -> Ending:
        """Return how a call ended whose child did not answer; others in it end alike."""
        self._shared.draining = True
        self._shared.kill()
        await asyncio.wait([self._shared.exit])
        self.duration = self._place.clock.monotonic() - self._started
        self.usage = Usage()
        status = self._shared.exit.result().status
        ending = judge(self._setting.spec.job, status, stopped=self.guard.stopped)
        if self.guard.stopped is not None:
            return ending
        why = ending.finding.error or "exit code 0"
        error = f"the interpreter it shared with others ended before its function did: {why}"
        finding = Finding(OutcomeKind.FAILED, ending.finding.reason or Reason.EXIT, error)
        return Ending(finding, ending.exit_code, ending.signal)
