"""The warm interpreter of a slot: made when it is needed, kept between calls, and replaced in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine import python_call, spawn
from jobctl.engine.host_journal import since_boot
from jobctl.engine.python_desk import Line
from jobctl.engine.python_host import PythonChild
from jobctl.engine.python_spawn import resolve_interpreter
from jobctl.engine.shapes import Shapes
from jobctl.engine.spool import tally_file
from jobctl.engine.tally import Tally
from jobctl.engine.tree import children_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.attempt import AttemptSpec
    from jobctl.engine.leader import Setting
    from jobctl.engine.nursery import Nursery
    from jobctl.engine.processes import Exit
    from jobctl.engine.workplace import Workplace

CLOSE_PATIENCE = 5.0
"""Seconds a retired child may take to end by itself."""
EARLY = 128
"""Calls before the last one that a child's successor is started."""


@dataclass(slots=True, eq=False)
class Warm:
    """A child and what is known of it."""

    key: python_call.ChildKey
    child: PythonChild
    exit: asyncio.Future[Exit]
    children_fd: int | None
    born: float = 0.0
    """Start of its process, in seconds since boot."""
    cpu: float = 0.0
    """Seconds of its calls so far."""
    dearest: float = 0.0
    """Seconds of CPU of that call which took most: the first one imports what it needs."""
    rss: int = 0
    """Bytes it held after its last call, as far as it said."""
    tally: Tally | None = None
    """By which bundles are counted; ``None`` before the first."""
    shapes: Shapes | None = None
    """What it knows of runs that come in bundles."""

    def used(self, cpu: float) -> None:
        """Take the CPU seconds of one more call into account."""
        self.cpu += cpu
        self.dearest = max(self.dearest, cpu)

    def has_children(self) -> bool:
        """Return whether there are processes below it."""
        if self.children_fd is None:
            return bool(children_of(self.child.pid))
        return bool(os.pread(self.children_fd, 16, 0))


class WarmPython:
    """The interpreter that one slot keeps between Python attempts."""

    def __init__(
        self,
        place: Workplace,
        *,
        slot: str,
        max_runs: int = 1000,
        max_rss: int | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        """Replace the child after ``max_runs`` calls, or when it holds ``max_rss`` bytes.

        ``nursery`` is where children come from; without, each is started by itself.
        """
        self._place = place
        self._slot = slot
        self._next: Warm | None = None
        self._nursery = nursery
        self._renewal: asyncio.Task[None] | None = None
        self._max_runs = max_runs
        self._max_rss = max_rss
        self._warm: Warm | None = None
        self._keyed: tuple[spawn.Launch, python_call.ChildKey] | None = None
        self._retired: set[asyncio.Future[Exit]] = set()
        self.specs: dict[str, AttemptSpec] = {}
        """By run id: what runs in it, for its questions."""
        self.bundled: Callable[[str], AttemptSpec | None] | None = None
        """Finds what runs in it of a bundle."""

    def serves(self, setting: Setting) -> bool:
        """Return whether the child it has can serve an attempt; raises :class:`SpawnError`."""
        return _serves(self._warm, self._key(setting), setting)

    async def prepare(self, setting: Setting) -> None:
        """Have a child made for an attempt by the pool's template, if that can be.

        Raises :class:`SpawnError`.
        """
        key = self._key(setting)
        if _serves(self._warm, key, setting):
            return
        if self._renewal is not None:
            await asyncio.wait([self._renewal])
            self._renewal = None
        if _serves(self._next, key, setting):
            return
        forked = await self._fork(key, setting)
        if forked is not None:
            self.retire()
            self._warm = forked

    async def _fork(self, key: python_call.ChildKey, setting: Setting) -> Warm | None:
        """Return a child of the template; ``None`` when there is none, or it is of no use."""
        if self._nursery is None or self._nursery.templates is None:
            return None
        try:
            warmed = await self._nursery.templates.warm(
                key, env=_environment(setting), options=self._nursery.options
            )
        except (python_call.SpawnError, OSError) as error:
            raise explained(error, key) from error
        return None if warmed is None else self._watch(key, warmed.child, warmed.exit)

    def take(self, setting: Setting) -> Warm:
        """Return a child for an attempt, starting one if the last cannot serve it.

        Raises :class:`SpawnError`.
        """
        key = self._key(setting)
        if self._warm is not None and _serves(self._warm, key, setting):
            return self._warm
        self.retire()
        after, self._next = self._next, None
        if after is not None:
            if after.key == key and not after.exit.done():
                self._warm = after
                return after
            self._let_go(after)
        self._warm = self._start(key, setting)
        return self._warm

    def at_hand(self, setting: Setting) -> Warm | None:
        """Return the child for an attempt if it is ready for a bundle at this moment."""
        warm = self._warm
        if warm is None or warm.tally is None or not warm.child.open:
            return None
        try:
            return warm if _serves(warm, self._key(setting), setting) else None
        except spawn.SpawnError:
            return None  # whoever prepares one meets it again, and tells

    def rouse(self) -> None:
        """Let the child get ready for a bundle that is not even known yet."""
        warm = self._warm
        if warm is not None and warm.tally is not None:
            warm.child.rouse()

    def spec_of(self, run_id: str) -> AttemptSpec | None:
        """Return the attempt it runs under an id, if it does."""
        spec = self.specs.get(run_id)
        return spec if spec is not None or self.bundled is None else self.bundled(run_id)

    @property
    def room(self) -> int:
        """How many calls the next child to be used may still take."""
        warm = self._warm
        return self._max_runs if warm is None else max(1, self._max_runs - warm.child.calls)

    def limit_runs(self, most: int) -> None:
        """Replace the child after ``most`` calls from now on."""
        self._max_runs = most

    def share(self, warm: Warm) -> None:
        """See to it that bundles can be counted with a child; raises :class:`SpawnError`."""
        if warm.tally is not None:
            return
        base = f"{self._place.dirs.spool}/{self._slot}"
        try:
            path = tally_file(self._place.dirs.spool, slot=self._slot, pid=warm.child.pid)
            tally = Tally(str(path))
            try:
                warm.child.share(tally.path, spool=base + ".log", tokens=tally.tokens)
            except OSError:
                tally.close()
                raise
        except OSError as error:
            text = f"{error.filename or path} cannot be made: {error.strerror}"
            raise spawn.SpawnError(text, cause=error.errno) from error
        warm.tally = tally
        warm.shapes = Shapes(self._place.dirs, slot=self._slot)

    def keep_after(self, warm: Warm, setting: Setting, *, why: str | None, rss: int | None) -> None:
        """Decide whether a child may take more; ``why`` it must not, if so.

        A successor starts before it has taken all it may, for a call like that of ``setting``.
        """
        warm.rss = rss or warm.rss
        large = self._max_rss is not None and (rss or 0) > self._max_rss
        over = why is not None or large or warm.child.calls >= self._max_runs
        if over:
            self.retire()
        wanted = over or warm.child.calls >= self._max_runs - EARLY
        if wanted and self._next is None and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew(setting))

    def _start(self, key: python_call.ChildKey, setting: Setting) -> Warm:
        options = "{}" if self._nursery is None else self._nursery.options
        try:
            child = PythonChild.start(key, env=_environment(setting), options=options)
        except (python_call.SpawnError, OSError) as error:
            raise explained(error, key) from error
        return self._watch(key, child)

    def keep(self, warm: Warm, reply: python_call.PythonReply, *, setting: Setting) -> None:
        """Decide whether a child that answered may take another call like its last."""
        warm.used(reply.usage.user + reply.usage.system)
        self.keep_after(warm, setting, why=reply.recycle, rss=reply.rss)

    async def _renew(self, setting: Setting) -> None:
        """Start a successor; if that fails, the next attempt tries again and says why."""
        with contextlib.suppress(spawn.SpawnError):
            key = self._key(setting)
            self._next = await self._fork(key, setting) or self._start(key, setting)

    def retire(self) -> None:
        """Let the child go: it ends by itself, or is killed after :data:`CLOSE_PATIENCE`."""
        warm, self._warm = self._warm, None
        if warm is not None:
            self._let_go(warm)

    @property
    def children(self) -> int:
        """How many live: the one it keeps, and the one that is to follow it."""
        return sum(one is not None and not one.exit.done() for one in (self._warm, self._next))

    @property
    def resting(self) -> Warm | None:
        """The child that takes the next call, unless one is just being started."""
        if self._renewal is not None and not self._renewal.done():
            return None
        return self._warm or self._next

    def rest(self) -> None:
        """Let go of the child and of the one that was to follow it; nothing may run in them."""
        self.retire()
        self.forgo()

    def forgo(self) -> None:
        """Let go of the child that was to follow; the next call has another started."""
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        after, self._next = self._next, None
        if after is not None:
            self._let_go(after)

    def _let_go(self, warm: Warm) -> None:
        warm.child.close()
        if warm.exit.done():
            return
        loop = asyncio.get_running_loop()
        late = loop.call_later(CLOSE_PATIENCE, kill, warm)
        self._retired.add(warm.exit)
        warm.exit.add_done_callback(lambda _: late.cancel())
        warm.exit.add_done_callback(self._retired.discard)

    async def close(self) -> None:
        """Let the child go and wait until it is gone."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
            self._renewal = None
        self.retire()
        after, self._next = self._next, None
        if after is not None:
            self._let_go(after)
        if self._retired:
            await asyncio.wait(self._retired)

    def _key(self, setting: Setting) -> python_call.ChildKey:
        if self._keyed is not None and self._keyed[0] is setting.launch:
            return self._keyed[1]
        job = setting.spec.job
        try:
            interpreter = resolve_interpreter(job.interpreter)
        except python_call.SpawnError as error:
            raise spawn.SpawnError(str(error)) from error
        key = python_call.child_key(
            interpreter=interpreter,
            env=setting.launch.environment,
            user=job.user,
            group=job.group,
            umask=spawn.DEFAULT_UMASK if job.umask is None else job.umask,
            nice=job.nice,
            cwd=setting.launch.cwd,
        )
        self._keyed = (setting.launch, key)
        return key

    def _watch(
        self,
        key: python_call.ChildKey,
        child: PythonChild,
        exit_: asyncio.Future[Exit] | None = None,
    ) -> Warm:
        try:
            exit_ = exit_ or child.watched(self._place.processes)
        except OSError as error:
            raise explained(error, key) from error
        warm = Warm(key, child, exit_, _children_file(child.pid), since_boot())

        def ended(_: asyncio.Future[Exit]) -> None:
            child.close()
            os.close(child.pidfd)
            if warm.tally is not None:
                warm.tally.close()
                warm.tally = None
            if warm.children_fd is not None:
                os.close(warm.children_fd)
                warm.children_fd = None

        exit_.add_done_callback(ended)
        if self._place.desk is not None:
            try:
                Line.open(child, self._place.desk, self.spec_of)
            except OSError as error:
                self._let_go(warm)
                raise explained(error, key) from error
        return warm


def _serves(warm: Warm | None, key: python_call.ChildKey, setting: Setting) -> bool:
    """Return whether a child can take a call of such a key.

    One that holds more than the job may already would have it stopped for what others left.
    """
    if warm is None or warm.key != key or warm.exit.done():
        return False
    most = setting.spec.job.max_rss
    return most is None or warm.rss < most


def _environment(setting: Setting) -> dict[str, str]:
    """Return what a child finds in its environment until its first call."""
    return {**setting.launch.environment, "JOBCTL_SUPERVISOR": setting.spec.supervisor}


def explained(
    error: python_call.SpawnError | OSError, key: python_call.ChildKey
) -> spawn.SpawnError:
    """Return what ends an attempt whose interpreter could not be started."""
    if isinstance(error, OSError):
        text = f"{key.interpreter} cannot be started: {error.strerror}"
        return spawn.SpawnError(text, cause=error.errno)
    return spawn.SpawnError(str(error), cause=error.cause)


def _children_file(pid: int) -> int | None:
    try:
        return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def kill(warm: Warm) -> None:
    """Kill a child and its group, unless it has ended."""
    if not warm.exit.done():
        os.killpg(warm.child.pid, signal.SIGKILL)
