"""What the scheduler asks the store to decide: one call for each instant, with the run it is to make."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from jobctl.model.firing import queue_of, scheduled_run
from jobctl.model.ids import derived_id
from jobctl.model.notices import notice_word
from jobctl.store import decisions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from jobctl.clock import Clock
    from jobctl.engine.identity import Identity
    from jobctl.engine.timetable import Line
    from jobctl.model.admission import NewRun
    from jobctl.model.catchup import Due
    from jobctl.model.job import JobDef, QueueDef
    from jobctl.model.rules import ScheduleEntry
    from jobctl.model.sealing import Seal
    from jobctl.store.calls import Call
    from jobctl.store.decisions import TickReply
    from jobctl.store.keys import Keys
    from jobctl.store.transitions import Answer

log = logging.getLogger(__name__)

NEWS = {
    "skip": "were skipped: an earlier run has not ended (overlap = skip)",
    "full": "were not accepted: the queue is full",
    "unique": "were not accepted: a run with the same unique key has not ended",
}
LET_GO = {
    "skip": "missed = skip",
    "once": "missed = once makes up for the newest alone, within catchup_window",
    "all": "missed = all makes up for the newest catchup_max, within catchup_window",
}
BATCH = 100
"""Schedules in one call."""
PER_HOST = "h"
"""Letter of an overlap policy, see ``store/lua/boot.lua``."""
UNDECIDED = ("early", "gone", "off")
"""Answers: the store's clock is behind; the schedule was removed or forgotten; a host where it is
switched off has introduced it."""
IN_TIME = ("fire", "late")
"""Kinds whose lag tells how quick the supervisors are."""
NOT_OURS = ("moved", "foreign")
"""Answers: somebody else has decided it, or it is not this schedule's any more."""


def news_of(entry: ScheduleEntry, what: str) -> str:
    """Return what the log says of instants without a run, by kind or answer; ``""``: nothing."""
    if what == "missed":
        return f"were missed ({LET_GO[entry.missed.value]})"
    return NEWS.get(what, "")


def decided(item: Due, reply: TickReply) -> float:
    """Return the last decided instant after an answer."""
    if reply.answer.kind == "moved" and reply.last is not None:
        return reply.last
    # Also when another generation is in force: then this instant is not ours to decide.
    return item.instant.timestamp()


def tell(news: Mapping[tuple[str, str], int]) -> None:
    """Say how many instants of schedules made no run; ``news`` counts (name, :func:`news_of`)."""
    for (name, told), count in news.items():
        if told:
            log.warning("%s: %d scheduled runs %s", name, count, told)


class TickDesk:
    """Makes the calls of one supervisor. Times are epoch seconds."""

    def __init__(
        self,
        keys: Keys,
        identity: Identity,
        *,
        clock: Clock,
        seal: Seal | None,
    ) -> None:
        self._keys = keys
        self._identity = identity
        self._clock = clock
        self._seal = seal
        self.queues: dict[str, QueueDef] = {}
        """Those of the configuration that is in force."""

    def tick(
        self,
        entry: ScheduleEntry,
        item: Due,
        previous: float,
        following: datetime | None,
        *,
        now: float,
        unlisted: int,
        newest: bool,
    ) -> Call[TickReply]:
        """Return what decides one instant; ``previous`` is the one before, ``following`` the next.

        ``unlisted`` missed instants lie between the two and are only counted. Of many that were
        missed only the ``newest`` is told of, and only when no run makes up for them.
        """
        instant = item.instant.timestamp()
        return decisions.tick(
            self._keys,
            schedule=entry.name,
            generation=entry.generation,
            previous=previous,
            instant=instant,
            following=None if following is None else following.timestamp(),
            kind=item.kind,
            who=self._identity.host,
            run=None if item.kind == "missed" else self._run(entry, instant, item.kind, now),
            max_runs=entry.definition.max_runs,
            unlisted=unlisted,
            missed_by=_missed_by(entry.job) if newest and item.kind == "missed" else None,
            seal=self._seal,
        )

    def retire(self, names: Iterable[str], lines: Mapping[str, Line]) -> Iterator[Call[int]]:
        """Yield what takes note that schedules have left jobs.toml: should they come back, they replay nothing."""
        left = sorted(names)
        for start in range(0, len(left), BATCH):
            batch = {name: lines[name].entry.generation for name in left[start : start + BATCH]}
            yield decisions.retire(self._keys, batch)

    def boot(self, entry: ScheduleEntry, *, late: bool) -> Call[Answer]:
        """Return what fires an ``@reboot`` or ``@start`` schedule, see :func:`decisions.boot`."""
        token = self._identity.boot_id if entry.rule.kind == "@reboot" else self._identity.start_id
        now = self._clock.epoch()
        run = self._run(entry, now, "fire", now)
        run_id = derived_id(self._keys.namespace, entry.name, self._identity.host, token)
        run = replace(run, request=replace(run.request, id=run_id, scheduled_at=None))
        if entry.per_host:
            run = replace(run, admission=replace(run.admission, overlap=PER_HOST))
        return decisions.boot(
            self._keys,
            schedule=entry.name,
            host=self._identity.host,
            boot_id=token,
            who=self._identity.host,
            run=run,
            late=late,
            max_runs=entry.definition.max_runs,
            seal=self._seal,
        )

    def _run(self, entry: ScheduleEntry, instant: float, kind: str, now: float) -> NewRun:
        return scheduled_run(
            entry,
            namespace=self._keys.namespace,
            instant=instant,
            kind=kind,
            now=now,
            host=self._identity.host,
            queue=self.queues.get(queue_of(entry)),
        )


def _missed_by(job: JobDef) -> tuple[str, str] | None:
    """Return who is told of a missed instant of a job; its ``late_after`` asks for that."""
    return None if job.late_after is None else (job.name, notice_word(job))
