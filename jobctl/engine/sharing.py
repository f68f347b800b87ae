"""Python attempts that share a child: ``python = "thread"`` and ``"async"``.

One interpreter runs the attempts of all slots beside each other, so none of them has processes of
its own, and none can be killed alone. A stop is asked for: a coroutine is cancelled, a thread gets
an exception. An attempt that ignores it keeps its slot, while new ones go to another child; when
only such attempts are left in a child it is killed, and only then have they ended. So no run is
tried again while its function may still be running.

Where a function keeps the whole child from getting on, the others must not suffer. A call that has
not begun is taken back and goes to another child (:mod:`jobctl.engine.python_entries`). When an
attempt that has to end is in a child that does not answer, the child is killed, and what else had
begun in it counts as lost: it is run again, as after the death of a host.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jobctl.engine import python_call, spawn
from jobctl.engine.host_journal import since_boot
from jobctl.engine.python_desk import Line
from jobctl.engine.python_host import PythonChild
from jobctl.engine.python_spawn import resolve_interpreter
from jobctl.engine.shared_child import SharedChild
from jobctl.engine.warm_python import explained

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.leader import Setting
    from jobctl.engine.processes import Exit
    from jobctl.engine.templates import Templates
    from jobctl.engine.workplace import Workplace

CHILDREN_MOST = 4
"""Children of one kind at most that are replaced because nothing begins in them."""
KEPT = 512
"""Prepared jobs whose child is remembered."""

_Key = tuple[python_call.ChildKey, tuple[tuple[str, str], ...]]


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
        self._all: dict[SharedChild, _Key] = {}
        self._starting: dict[_Key, asyncio.Task[None]] = {}
        self._keys: dict[int, tuple[spawn.Launch, _Key]] = {}

    async def enter(self, setting: Setting) -> SharedChild:
        """Return a ready child for an attempt, which is in it from now on; raises SpawnError."""
        while True:
            shared = self.enter_now(setting)
            if shared is not None:
                return shared
            # All that wait for it get the same one, or are told at once why there is none.
            await asyncio.shield(self._begin(self._key(setting), setting))

    def ready(self, setting: Setting) -> bool:
        """Return whether there is a child for an attempt."""
        shared = self._current.get(self._key(setting))
        return not (shared is None or shared.draining or shared.exit.done())

    def enter_now(self, setting: Setting) -> SharedChild | None:
        """Return the child for an attempt if it is ready; ``None`` when one is to be started."""
        shared = self._current.get(self._key(setting))
        if shared is None or not self.ready(setting):
            return None
        if shared.child.calls >= self._max_runs:
            shared.draining = True
            shared.look()
            return None
        key = self._key(setting)
        self._current[key] = self._current.pop(key)  # at the end is the one that was used last
        shared.runs[setting.spec.run_id] = 0
        self._specs[setting.spec.run_id] = setting.spec
        return shared

    def _begin(self, key: _Key, setting: Setting) -> asyncio.Task[None]:
        """Return the start of a child for ``key`` that is under way, or begin one."""
        start = self._starting.get(key)
        if start is None:

            async def whole() -> None:
                self._current[key] = await self._start(key, setting)

            def over(task: asyncio.Task[None]) -> None:
                del self._starting[key]
                if not task.cancelled():
                    task.exception()  # whoever waited for it is told

            start = self._starting[key] = asyncio.create_task(whole())
            start.add_done_callback(over)
        return start

    @property
    def children(self) -> int:
        """How many live."""
        return len(self._all)

    @property
    def in_use(self) -> list[SharedChild]:
        """Those that runs may still get, in the order of their last use."""
        return [one for one in self._current.values() if not (one.draining or one.exit.done())]

    def leave(self, shared: SharedChild, run_id: str) -> None:
        """Note the end of an attempt in a child."""
        self._specs.pop(run_id, None)
        shared.leave(run_id)

    def keep(self, shared: SharedChild, reply: python_call.PythonReply) -> None:
        """Decide whether a child may take more calls."""
        shared.used(reply.usage.user + reply.usage.system)
        large = self._max_rss is not None and (reply.rss or 0) > self._max_rss
        if large or reply.recycle or shared.child.calls >= self._max_runs:
            shared.draining = True

    def pass_by(self, shared: SharedChild) -> bool:
        """Let new attempts go past a child in which nothing begins; False when there are too many."""
        key = next((key for key, one in self._current.items() if one is shared), None)
        if key is not None and not shared.draining:
            kin = [one for one, of in self._all.items() if of == key and not one.exit.done()]
            if len(kin) >= CHILDREN_MOST:
                return False
            shared.draining = True
        return True

    def renew(self) -> None:
        """Let new attempts go to new children; what runs ends where it is."""
        for shared in self._all:
            shared.draining = True
            shared.look()

    async def close(self) -> None:
        """Let all children go and wait until they are gone. Nothing may run in them."""
        starts = list(self._starting.values())
        for start in starts:
            start.cancel()  # nobody is left who would get it
        if starts:
            await asyncio.wait(starts)
        self.renew()
        ends = [shared.exit for shared in self._all if not shared.exit.done()]
        if ends:
            await asyncio.wait(ends)

    async def _start(self, of: _Key, setting: Setting) -> SharedChild:
        key = of[0]
        environment = {
            **setting.launch.environment,
            "JOBCTL_SUPERVISOR": setting.spec.supervisor.partition("/")[0],
        }
        try:
            child, exit_ = await self._make(key, environment)
        except (python_call.SpawnError, OSError) as error:
            raise explained(error, key) from error
        shared = SharedChild(child, exit_, since_boot())
        self._all[shared] = of

        def ended(_: asyncio.Future[Exit]) -> None:
            shared.closed()
            del self._all[shared]
            if self._current.get(of) is shared:
                del self._current[of]

        exit_.add_done_callback(ended)
        try:
            await child.ready()
        except python_call.SpawnError as error:
            shared.draining = True
            shared.look()
            raise spawn.SpawnError(str(error)) from error
        try:
            shared.open()
            if self._place.desk is not None:
                Line.open(child, self._place.desk, self._specs.get)
        except OSError as error:
            shared.draining = True
            shared.look()
            raise explained(error, key) from error
        return shared

    async def _make(
        self, key: python_call.ChildKey, environment: dict[str, str]
    ) -> tuple[PythonChild, asyncio.Future[Exit]]:
        if self._templates is not None:
            warmed = await self._templates.warm(key, env=environment, options=self._options)
            if warmed is not None:
                return warmed.child, warmed.exit
        child = PythonChild.start(key, env=environment, options=self._options)
        return child, child.watched(self._place.processes)

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
