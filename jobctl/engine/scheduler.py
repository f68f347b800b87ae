"""Turns scheduled instants into runs: each once, however many supervisors run.

Every supervisor computes the instants itself; the store's ``tick`` decides who was first. So that
normally only one of them asks, the supervisors are ranked per schedule by a hash; the first asks
at once, the others a moment later, and find the instant decided.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from typing import TYPE_CHECKING

from jobctl.engine.aside import Aside
from jobctl.engine.clock_watch import ClockWatch
from jobctl.engine.lags import Lags
from jobctl.engine.overlay import Overlay
from jobctl.engine.service import Service
from jobctl.engine.tick_desk import (
    BATCH,
    IN_TIME,
    NOT_OURS,
    UNDECIDED,
    TickDesk,
    decided,
    news_of,
    tell,
)
from jobctl.engine.timetable import Line, Timetable
from jobctl.errors import JobctlError
from jobctl.model.rules import each_entry
from jobctl.model.schedule import BootRule, forget_zones
from jobctl.store import decisions
from jobctl.store.failures import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobctl.clock import Clock
    from jobctl.engine.identity import Identity
    from jobctl.model.catchup import Due
    from jobctl.model.config import Config
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.sealing import Ring, Seal
    from jobctl.store.aio import AsyncStore
    from jobctl.store.decisions import TickReply
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

LOOK_AGAIN = 60.0
"""Longest wait in seconds: the wall clock may have been set."""
TURN = 100
"""Schedules that are worked out before other duties get their turn."""
MANY = 10_000
"""So many schedules live long and are not to be looked through for garbage again and again."""
ASK_AGAIN = 0.05
"""Seconds before an instant that could not be decided is tried again."""


class Scheduler(Service):
    """Decides the instants of all schedules of a configuration, and of those kept in the store.

    ``peers`` returns the ids of the live supervisors, this one included. ``ring`` returns the keys
    that live schedules are signed with.
    """

    name = "scheduler"
    longest_wait = LOOK_AGAIN

    def __init__(
        self,
        store: AsyncStore,
        keys: Keys,
        identity: Identity,
        *,
        peers: Callable[[], Iterable[str]],
        clock: Clock,
        seal: Seal | None = None,
        ring: Callable[[], Ring | None] = lambda: None,
    ) -> None:
        super().__init__(store)
        self._store = store
        self._keys = keys
        self._identity = identity
        self._peers = peers
        self._clock = clock
        self._desk = TickDesk(keys, identity, clock=clock, seal=seal)
        self._overlay = Overlay(store, keys, ring=ring, timezone=identity.timezone)
        self._stale = False
        """True when all schedules are to be introduced anew."""
        self._touched: set[str] = set()
        """Jobs whose live schedules have changed."""
        self._aside = Aside(clock)
        self._gone: set[str] = set()
        """Schedules that the store does not know any more."""
        self._timetable = Timetable(supervisor=identity.supervisor)
        self._lags = Lags()
        self.introduced = asyncio.Event()
        """Set once the store knows all schedules of the first configuration."""
        self._watch = ClockWatch(clock)

    def configure(self, config: Config) -> None:
        """Take over a configuration; unchanged schedules go on where they are.

        Zone data is read anew, which may have been updated since the start.
        """
        forget_zones()
        self._overlay.configure(config)
        self._stale = True
        self.wake()

    def facts(self) -> dict[str, object]:
        """Return what the store is told: schedules known, and how late their instants are decided."""
        lag = self._lags.facts(self._clock.epoch())
        return {"known": len(self._timetable)} | ({"lag": lag} if lag else {})

    def schedules_of(self, job: str) -> list[str]:
        """Return the names of a job's schedules, those kept in the store included."""
        return list(self._timetable.of_jobs({job}))

    def note_live(self, version: int) -> None:
        """Take note of how often the schedules kept in the store were changed."""
        if self._overlay.note(version):
            self.wake()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        if not self._overlay.configured:
            return LOOK_AGAIN
        self.asked = False
        if self._watch.was_set_back():
            self._timetable.rearrange(now=self._clock.epoch(), peers=self._peers())
        self._touched |= self._aside.take()
        if self._stale or self._overlay.stale or self._gone or self._touched:
            self.asked = True
            await self._take_over()
        await self._decide()
        pause = min(LOOK_AGAIN, self._aside.pause)
        first = self._timetable.first
        return pause if first is None else min(pause, max(0.0, first - self._clock.epoch()))

    async def _take_over(self) -> None:
        """Introduce what is new: everything after a reload, else only the schedules of some jobs."""
        # Another configuration may come meanwhile, and is then the next.
        whole, self._stale = self._stale, False
        try:
            await self._bring_in(whole=whole)
        except BaseException:
            self._stale |= whole
            raise
        self.introduced.set()

    async def _bring_in(self, *, whole: bool) -> None:
        gone = set(self._gone)
        config, changed = await self._overlay.read()
        self._desk.queues = config.queues
        # Remembered until it is done: what fails on the way is begun again.
        self._touched |= changed
        touched = set(self._touched)
        some = touched | self._timetable.jobs_of(gone)
        old = self._timetable.of_jobs(None if whole else some)
        entries = await self._entries(
            config, [None] if whole else [name for name in some if name in config.jobs]
        )
        if whole:
            for call in self._desk.retire(old.keys() - {entry.name for entry in entries}, old):
                await self._store.run(call)
        # What is not a schedule any more decides nothing while the others are introduced.
        fresh = {entry.name: entry.generation for entry in entries if entry.active}
        over = [name for name, line in old.items() if fresh.get(name) != line.entry.generation]
        self._timetable.change(over, {}, now=self._clock.epoch(), peers=())
        lines: dict[str, Line] = {}
        asked = []
        for entry in entries:
            line = old.get(entry.name)
            if isinstance(entry.rule, BootRule):
                continue
            if (
                whole
                or line is None
                or entry.name in gone
                or line.entry.generation != entry.generation
            ):
                asked.append(entry)
            else:
                lines[entry.name] = Line(entry, line.last)
        known = {name: old[name].last for name in gone if name in old}
        lines |= await self._introduce(asked, known)
        self._aside.forget(lines)
        for entry in entries:
            if isinstance(entry.rule, BootRule) and entry.active:
                await self._store.run(self._desk.boot(entry, late=self.introduced.is_set()))
        if whole:
            await self._begin_anew(lines)
        else:
            now, peers = self._clock.epoch(), tuple(self._peers())
            self._timetable.change(old, lines, now=now, peers=peers)
        self._gone -= gone
        self._touched -= touched

    async def _entries(self, config: Config, jobs: Iterable[str | None]) -> list[ScheduleEntry]:
        """Return the schedules of some jobs, or of all of them (None)."""
        host, timezone = self._identity.host, self._identity.timezone
        entries: list[ScheduleEntry] = []
        for job in jobs:
            for entry in each_entry(config, host=host, timezone=timezone, job=job):
                entries.append(entry)
                if len(entries) % TURN == 0:
                    await self._give_turn()
        return entries

    async def _begin_anew(self, lines: dict[str, Line]) -> None:
        """Put these schedules in place of all that were there."""
        now, peers = self._clock.epoch(), tuple(self._peers())
        self._timetable.clear()
        for number, line in enumerate(lines.values(), 1):
            self._timetable.add(line, now=now, peers=peers)
            if number % TURN == 0:
                await self._give_turn()
        if len(lines) >= MANY:
            gc.collect()
            gc.freeze()

    async def _give_turn(self) -> None:
        """Let other duties run while many schedules are introduced, and decide what is due."""
        self.turned()
        await asyncio.sleep(0)
        await self._decide()

    async def _introduce(
        self, entries: list[ScheduleEntry], known: dict[str, float]
    ) -> dict[str, Line]:
        """Tell the store of schedules, also of those switched off; return those that are on."""
        lines: dict[str, Line] = {}
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]
            lasts = await self._store.run(
                decisions.introduce_schedules(
                    self._keys, {entry.name: entry.generation for entry in batch}, known=known
                )
            )
            for entry, last in zip(batch, lasts, strict=True):
                if last is None:
                    self._aside.put(entry, "a key of another type is in its place")
                elif entry.active:
                    lines[entry.name] = Line(entry, last)
            await self._give_turn()
        return lines

    async def _decide(self) -> None:
        """Decide everything that is due, many schedules in a call."""
        while True:
            now = self._clock.epoch()
            batch = self._timetable.take(now, most=BATCH)
            if not batch:
                return
            try:
                await self._decide_batch(batch, now)
            finally:
                peers = tuple(self._peers())
                for line in batch:
                    if line.entry.name not in self._aside:
                        self._timetable.put(line, now=now, peers=peers, least=now + ASK_AGAIN)

    async def _look(self, batch: list[Line]) -> None:
        """See what others have decided of what they were expected to: that costs a tenth."""
        others = {line.entry.name: line for line in batch if line.ahead}
        if not others:
            return
        self.asked = True
        generations = {name: line.entry.generation for name, line in others.items()}
        lasts = await self._store.run(decisions.peek(self._keys, generations))
        for line, last in zip(others.values(), lasts, strict=True):
            if last is not None:
                line.last = last

    async def _decide_batch(self, batch: list[Line], now: float) -> None:
        await self._look(batch)
        calls, owners = [], []
        for line in batch:
            due, unlisted, upcoming = line.plan(now, believed=self._watch.believed)
            if unlisted:
                log.warning(
                    "%s: %d more instants were missed than are listed", line.entry.name, unlisted
                )
            previous = line.last
            for index, item in enumerate(due):
                following = due[index + 1].instant if index + 1 < len(due) else upcoming
                older = 0 if index else unlisted
                calls.append(
                    self._desk.tick(
                        line.entry,
                        item,
                        previous,
                        following,
                        now=now,
                        unlisted=older,
                        newest=index + 1 == len(due),
                    )
                )
                owners.append((line, item))
                previous = item.instant.timestamp()
        if calls:
            self.asked = True
            self._note(owners, await self._store.try_many(calls))

    def _note(self, owners: list[tuple[Line, Due]], replies: list[TickReply | JobctlError]) -> None:
        """Take note of what was decided, and say what made no run.

        Raises the first error that is not about one schedule.
        """
        waiting: set[str] = set()
        failures: list[JobctlError] = []
        news = Counter[tuple[str, str]]()
        for (line, item), reply in zip(owners, replies, strict=True):
            name = line.entry.name
            if name in waiting:
                continue
            if isinstance(reply, JobctlError):
                waiting.add(name)
                if isinstance(reply, StoreError):
                    self._aside.put(line.entry, reply)
                else:
                    failures.append(reply)
            elif reply.answer.kind in UNDECIDED:
                # This instant, and what follows it, is asked again if it still is one.
                waiting.add(name)
                self._undecided(name, reply.answer.kind)
            else:
                self._aside.worked(name)
                self._decided(line, item, reply)
                news[name, news_of(line.entry, reply.answer.kind)] += 1
        tell(news)
        if failures:
            raise failures[0]

    def _decided(self, line: Line, item: Due, reply: TickReply) -> None:
        now = self._clock.epoch()
        if reply.answer.kind in NOT_OURS:
            self._timetable.was_forestalled(line)
        elif item.kind in IN_TIME:
            self._timetable.took_over(line, now=now)
            self._lags.note(item.instant.timestamp(), now=now)
        line.last = decided(item, reply)

    def _undecided(self, name: str, answer: str) -> None:
        if answer != "early":
            self._gone.add(name)
        if answer == "off":
            log.warning("%s: is off in jobs.toml of another host, or not in it, and on here", name)
