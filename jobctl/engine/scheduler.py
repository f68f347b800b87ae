"""Turns scheduled instants into runs: each once, however many supervisors run.

Every supervisor computes the instants itself; the store's ``tick`` decides who was first. So that
normally only one of them asks, the supervisors are ranked per schedule by a hash; the first asks
at once, the others a moment later, and find the instant decided.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.engine.overlay import Overlay
from jobctl.engine.service import Service
from jobctl.engine.timetable import Line, Timetable
from jobctl.model.catchup import CORRECTION
from jobctl.model.firing import queue_of, scheduled_run
from jobctl.model.ids import derived_id
from jobctl.model.rules import schedule_entries
from jobctl.model.schedule import BootRule
from jobctl.store import decisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from jobctl.clock import Clock
    from jobctl.model.admission import NewRun
    from jobctl.model.config import Config
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.schedule import Due
    from jobctl.model.sealing import Ring, Seal
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.decisions import TickReply
    from jobctl.store.keys import Keys

log = logging.getLogger(__name__)

LOOK_AGAIN = 60.0
"""Longest wait in seconds: the wall clock may have been set."""
BATCH = 100
ASK_AGAIN = 0.05
"""Seconds before an instant that could not be decided is tried again."""


NEWS = {
    "missed": "were missed (missed = skip, or beyond catchup_window and catchup_max)",
    "skip": "were skipped: an earlier run has not ended (overlap = skip)",
    "full": "were not accepted: the queue is full",
    "unique": "were not accepted: a run with the same unique key has not ended",
}


def _decided(item: Due, reply: TickReply) -> float:
    """Return the last decided instant after an answer."""
    if reply.answer.kind == "moved" and reply.last is not None:
        return reply.last
    # Also when another generation is in force: then this instant is not ours to decide.
    return item.instant.timestamp()


class Scheduler(Service):
    """Decides the instants of all schedules of a configuration, and of those kept in the store.

    ``peers`` returns the ids of the live supervisors, this one included. ``ring`` returns the keys
    that live schedules are signed with.
    """

    name = "scheduler"
    longest_wait = LOOK_AGAIN

    def __init__(  # noqa: PLR0913 - the seams of the supervisor
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        supervisor: str,
        host: str,
        timezone: str,
        boot_id: str,
        peers: Callable[[], Iterable[str]],
        clock: Clock,
        seal: Seal | None = None,
        ring: Callable[[], Ring | None] = lambda: None,
    ) -> None:
        super().__init__(store)
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._host = host
        self._timezone = timezone
        self._boot_id = boot_id
        self._peers = peers
        self._clock = clock
        self._seal = seal
        self._config: Config | None = None
        self._overlay = Overlay(store, keys, ring=ring, timezone=timezone)
        self._stale = False
        """True when all schedules are to be introduced anew."""
        self._gone: set[str] = set()
        """Schedules that the store does not know any more."""
        self._timetable = Timetable(supervisor=supervisor)
        self._latest = 0.0
        """The latest that the clock has said."""

    def configure(self, config: Config) -> None:
        """Take over a configuration; unchanged schedules go on where they are."""
        self._overlay.configure(config)
        self._stale = True
        self.wake()

    def schedules_of(self, job: str) -> list[str]:
        """Return the names of a job's schedules, those kept in the store included."""
        found = self._config.jobs.get(job) if self._config is not None else None
        return [] if found is None else [one.name for one in found.schedules]

    def note_live(self, version: int) -> None:
        """Take note of how often the schedules kept in the store were changed."""
        if self._overlay.note(version):
            self.wake()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        if not self._overlay.configured:
            return LOOK_AGAIN
        self.asked = False
        self._watch_clock()
        if self._stale or self._overlay.stale or self._gone:
            self.asked = True
            await self._take_over()
        await self._decide()
        first = self._timetable.first
        if first is None:
            return LOOK_AGAIN
        return min(LOOK_AGAIN, max(0.0, first - self._clock.epoch()))

    def _watch_clock(self) -> None:
        """Look at all schedules anew when the clock was set back so far that it is believed."""
        now = self._clock.epoch()
        if self._latest - now > CORRECTION:
            log.warning("this host's clock was set back by %.0f s", self._latest - now)
            self._timetable.rearrange(now=now, peers=self._peers())
            self._latest = now
        self._latest = max(self._latest, now)

    async def _take_over(self) -> None:
        """Introduce what is new: everything after a reload, else only the schedules of some jobs."""
        whole, gone = self._stale, set(self._gone)
        config, touched = await self._overlay.read()
        self._config = config
        old = self._timetable.of_jobs(
            set(config.jobs) | touched if whole else touched | self._jobs_of(gone)
        )
        jobs = (
            [None]
            if whole
            else [name for name in touched | self._jobs_of(gone) if name in config.jobs]
        )
        entries = [
            entry
            for job in jobs
            for entry in schedule_entries(config, host=self._host, timezone=self._timezone, job=job)
        ]
        timed = [entry for entry in entries if not isinstance(entry.rule, BootRule)]
        lines: dict[str, Line] = {}
        asked = []
        for entry in timed:
            line = old.get(entry.name)
            if (
                whole
                or line is None
                or line.entry.generation != entry.generation
                or entry.name in gone
            ):
                asked.append(entry)
            else:
                lines[entry.name] = Line(entry, line.last)
        known = {name: old[name].last for name in gone if name in old}
        lines |= await self._introduce(asked, known)
        for entry in entries:
            if isinstance(entry.rule, BootRule) and entry.active:
                await self._fire_boot(entry)
        now, peers = self._clock.epoch(), tuple(self._peers())
        if whole:
            self._timetable.fill(lines, now=now, peers=peers)
            self._stale = False
        else:
            self._timetable.change(old, lines, now=now, peers=peers)
        self._gone -= gone

    def _jobs_of(self, schedules: Iterable[str]) -> set[str]:
        lines = (self._timetable.line(name) for name in schedules)
        return {line.entry.job.name for line in lines if line is not None}

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
                if entry.active:
                    lines[entry.name] = Line(entry, last)
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
                    self._timetable.put(line, now=now, peers=peers, least=now + ASK_AGAIN)

    async def _decide_batch(self, batch: list[Line], now: float) -> None:
        calls, owners = [], []
        for line in batch:
            due, unlisted, upcoming = line.plan(now)
            if unlisted:
                log.warning(
                    "%s: %d more instants were missed than are listed", line.entry.name, unlisted
                )
            previous = line.last
            for index, item in enumerate(due):
                following = due[index + 1].instant if index + 1 < len(due) else upcoming
                older = 0 if index else unlisted
                calls.append(self._tick_call(line.entry, item, previous, following, now, older))
                owners.append((line, item))
                previous = item.instant.timestamp()
        if calls:
            self.asked = True
            self._note(owners, await self._store.run_many(calls))

    def _note(self, owners: list[tuple[Line, Due]], replies: list[TickReply]) -> None:
        """Take note of what was decided, and say what made no run."""
        waiting: set[str] = set()
        news = Counter[tuple[str, str]]()
        for (line, item), reply in zip(owners, replies, strict=True):
            name, answer = line.entry.name, reply.answer.kind
            if name in waiting:
                continue
            if answer in ("early", "gone"):
                # The store's clock is behind, or the schedule was removed or forgotten: this
                # instant, and what follows it, is asked again if it still is one.
                waiting.add(name)
                if answer == "gone":
                    self._gone.add(name)
                continue
            line.last = _decided(item, reply)
            what = "missed" if item.kind == "missed" else answer
            if what in NEWS:
                news[name, what] += 1
        for (name, what), count in news.items():
            log.warning("%s: %d scheduled runs %s", name, count, NEWS[what])

    def _tick_call(
        self,
        entry: ScheduleEntry,
        item: Due,
        previous: float,
        following: datetime | None,
        now: float,
        unlisted: int,
    ) -> Call[TickReply]:
        instant = item.instant.timestamp()
        return decisions.tick(
            self._keys,
            schedule=entry.name,
            generation=entry.generation,
            previous=previous,
            instant=instant,
            following=None if following is None else following.timestamp(),
            kind=item.kind,
            who=self._host,
            run=None if item.kind == "missed" else self._new_run(entry, instant, item.kind, now),
            max_runs=entry.definition.max_runs,
            unlisted=unlisted,
            seal=self._seal,
        )

    def _new_run(self, entry: ScheduleEntry, instant: float, kind: str, now: float) -> NewRun:
        assert self._config is not None  # noqa: S101 - tick returns before there is one
        return scheduled_run(
            entry,
            namespace=self._keys.namespace,
            instant=instant,
            kind=kind,
            now=now,
            host=self._host,
            queue=self._config.queues.get(queue_of(entry)),
        )

    async def _fire_boot(self, entry: ScheduleEntry) -> None:
        token = self._boot_id if entry.rule.kind == "@reboot" else self._supervisor
        now = self._clock.epoch()
        run = self._new_run(entry, now, "fire", now)
        run_id = derived_id(self._keys.namespace, entry.name, self._host, token)
        run = replace(run, request=replace(run.request, id=run_id, scheduled_at=None))
        await self._store.run(
            decisions.boot(
                self._keys,
                schedule=entry.name,
                host=self._host,
                boot_id=token,
                who=self._host,
                run=run,
                seal=self._seal,
            )
        )
