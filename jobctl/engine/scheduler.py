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

from jobctl.engine.service import Service
from jobctl.engine.timetable import Line, Timetable
from jobctl.model.admission import NewRun, admission_for, unique_digest
from jobctl.model.ids import derived_id
from jobctl.model.rules import schedule_entries
from jobctl.model.run import Request
from jobctl.model.schedule import BootRule
from jobctl.store import decisions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from jobctl.clock import Clock
    from jobctl.model.config import Config
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.schedule import Due
    from jobctl.model.sealing import Seal
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
    """Decides the instants of all schedules of a configuration.

    ``peers`` returns the ids of the live supervisors, this one included.
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
        self._fresh: list[ScheduleEntry] = []
        self._timetable = Timetable(supervisor=supervisor)

    def configure(self, config: Config) -> None:
        """Take over a configuration; unchanged schedules go on where they are."""
        self._config = config
        self._fresh = [
            entry
            for entry in schedule_entries(config, host=self._host, timezone=self._timezone)
            if entry.active
        ]
        self.wake()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        if self._config is None:
            return LOOK_AGAIN
        self.asked = bool(self._fresh)
        if self._fresh:
            await self._introduce()
        await self._decide()
        first = self._timetable.first
        if first is None:
            return LOOK_AGAIN
        return min(LOOK_AGAIN, max(0.0, first - self._clock.epoch()))

    async def _introduce(self) -> None:
        boots = [entry for entry in self._fresh if isinstance(entry.rule, BootRule)]
        timed = [entry for entry in self._fresh if not isinstance(entry.rule, BootRule)]
        lines: dict[str, Line] = {}
        for start in range(0, len(timed), BATCH):
            batch = timed[start : start + BATCH]
            lasts = await self._store.run(
                decisions.introduce_schedules(
                    self._keys, {entry.name: entry.generation for entry in batch}
                )
            )
            for entry, last in zip(batch, lasts, strict=True):
                lines[entry.name] = Line(entry, last)
        for entry in boots:
            await self._fire_boot(entry)
        self._timetable.fill(lines, now=self._clock.epoch(), peers=self._peers())
        self._fresh = []

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
                calls.append(self._tick_call(line.entry, item, previous, following))
                owners.append((line, item))
                previous = item.instant.timestamp()
        if not calls:
            return
        self.asked = True
        waiting: set[str] = set()
        news = Counter[tuple[str, str]]()
        for (line, item), reply in zip(owners, await self._store.run_many(calls), strict=True):
            if line.entry.name in waiting:
                continue
            if reply.answer.kind == "early":
                # The store's clock is behind: this instant, and what follows it, is asked again.
                waiting.add(line.entry.name)
                continue
            line.last = _decided(item, reply)
            what = "missed" if item.kind == "missed" else reply.answer.kind
            if what in NEWS:
                news[line.entry.name, what] += 1
        for (name, what), count in news.items():
            log.warning("%s: %d scheduled runs %s", name, count, NEWS[what])

    def _tick_call(
        self, entry: ScheduleEntry, item: Due, previous: float, following: datetime | None
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
            run=None if item.kind == "missed" else self._new_run(entry, instant, item.kind),
            max_runs=entry.definition.max_runs,
            seal=self._seal,
        )

    def _new_run(self, entry: ScheduleEntry, instant: float, kind: str) -> NewRun:
        job, definition = entry.job, entry.definition
        queue = definition.queue or job.queue
        args, kwargs = definition.args, definition.kwargs
        request = Request(
            id=derived_id(self._keys.namespace, entry.name, str(round(instant * 1000))),
            job=job.name,
            args=args,
            kwargs=kwargs,
            tags=job.tags,
            queue=queue,
            priority=job.priority if definition.priority is None else definition.priority,
            max_attempts=job.retry.retries + 1 if job.retry.retries >= 0 else -1,
            trigger="catchup" if kind == "catchup" else "schedule",
            scheduled_at=instant,
            submitter=f"schedule@{self._host}",
        )
        assert self._config is not None  # noqa: S101 - tick returns before there is one
        return NewRun(
            request=request,
            admission=admission_for(job, queue=self._config.queues.get(queue)),
            start_at=instant + entry.jitter,
            expires_in=definition.expires if definition.expires is not None else job.expires,
            unique=unique_digest(job, args, kwargs),
        )

    async def _fire_boot(self, entry: ScheduleEntry) -> None:
        token = self._boot_id if entry.rule.kind == "@reboot" else self._supervisor
        run = self._new_run(entry, self._clock.epoch(), "fire")
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
