"""Which schedule is looked at next, and what is to be decided for it then. No I/O.

Whatever the number of schedules, only those that are due are touched: the rest waits in a heap.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobctl.model.catchup import CORRECTION, Due, plan_due
from jobctl.model.sealing import digest

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from jobctl.model.rules import ScheduleEntry

TAKEOVER_LEAST, TAKEOVER_MOST = 0.3, 1.0
"""Seconds after an instant at which supervisors that are not first for a schedule ask."""
ABSENT_FOR = 60.0
"""Seconds for which one that let an instant pass is not waited for. By then it is known to be dead."""


@dataclass(slots=True, eq=False)
class Line:
    """One schedule and how far it is decided; ``last`` is epoch seconds."""

    entry: ScheduleEntry
    last: float
    believed: float | None = None
    """When a clock that was hours ahead was found to be right again; see :meth:`since`."""
    ahead: tuple[str, ...] = ()
    """Supervisors of which one is expected to decide its next instant."""
    absent: tuple[str, ...] = ()
    """Those that come before this one as well, and are not waited for."""

    def since(self, now: float) -> float:
        """Return after when something may be due.

        That is the last decided instant. But what was decided by a clock that was hours ahead is
        not waited for: then it is the moment at which that was noticed.
        """
        if self.last - now <= CORRECTION:
            self.believed = None
        elif self.believed is None or self.believed > now:
            self.believed = now
        return self.last if self.believed is None else self.believed

    def plan(
        self, now: float, *, believed: float = 0.0
    ) -> tuple[tuple[Due, ...], int, datetime | None]:
        """Return what is due, how many missed instants are only counted, and the next instant.

        A clock that was set forward to ``believed`` passed over what lies before: that is missed.
        """
        entry = self.entry
        moment = datetime.fromtimestamp(now, UTC)
        last = datetime.fromtimestamp(self.since(now), UTC)
        plan = plan_due(
            entry,
            last=last,
            now=moment,
            missed=entry.missed.value,
            catchup_window=entry.job.catchup_window,
            catchup_max=entry.job.catchup_max,
        )
        due = plan.due
        if self.last < believed:
            due = tuple(
                Due(one.instant, "missed")
                if one.kind == "catchup" and one.instant.timestamp() <= believed
                else one
                for one in due
            )
        return due, plan.unlisted, plan.upcoming


def takeover_delay(schedule: str, *, supervisor: str, peers: Iterable[str]) -> float:
    """Return how many seconds after an instant of a schedule a supervisor asks for it.

    All supervisors rank each other for each schedule by a hash, so that normally one of them asks,
    and the work is spread. Who is not among the ``peers`` asks at once.
    """
    known = tuple(peers)
    return _delay(len(_before(schedule, supervisor, known)), len(known))


def _before(schedule: str, supervisor: str, peers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the peers that come before a supervisor, which may be none of them."""
    if len(peers) <= 1 or supervisor not in peers:
        return ()
    ranked = sorted(peers, key=lambda one: digest(f"{schedule}\0{one}".encode()))
    return tuple(ranked[: ranked.index(supervisor)])


def _delay(rank: int, number: int) -> float:
    return TAKEOVER_LEAST + (TAKEOVER_MOST - TAKEOVER_LEAST) * rank / number if rank else 0.0


class Timetable:
    """All schedules of a supervisor, by when each is looked at next. Times are epoch seconds."""

    def __init__(self, *, supervisor: str) -> None:
        """``supervisor`` is whose timetable it is."""
        self._supervisor = supervisor
        self._lines: dict[str, Line] = {}
        self._heap: list[tuple[float, str]] = []
        self._absent: dict[str, float] = {}
        """Until when supervisors are not waited for."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first(self) -> float | None:
        """When to look next; None without anything to come."""
        return self._heap[0][0] if self._heap else None

    def clear(self) -> None:
        """Forget all schedules."""
        self._lines = {}
        self._heap = []

    def add(self, line: Line, *, now: float, peers: Iterable[str]) -> None:
        """Take in a schedule that is not there."""
        self._lines[line.entry.name] = line
        self.put(line, now=now, peers=peers)

    def rearrange(self, *, now: float, peers: Iterable[str]) -> None:
        """Begin anew with the same schedules: the clock was set back."""
        self._heap = []
        known = tuple(peers)
        for line in self._lines.values():
            self.put(line, now=now, peers=known)

    def change(
        self,
        removed: Iterable[str],
        lines: dict[str, Line],
        *,
        now: float,
        peers: Iterable[str],
    ) -> None:
        """Take schedules out, and put others in or in place of those of the same name."""
        gone = {*removed, *lines}
        for name in gone:
            self._lines.pop(name, None)
        self._heap = [place for place in self._heap if place[1] not in gone]
        heapq.heapify(self._heap)
        self._lines |= lines
        known = tuple(peers)
        for line in lines.values():
            self.put(line, now=now, peers=known)

    def jobs_of(self, schedules: Iterable[str]) -> set[str]:
        """Return the jobs of those of these schedules that are known."""
        return {self._lines[name].entry.job.name for name in schedules if name in self._lines}

    def of_jobs(self, jobs: Container[str] | None) -> dict[str, Line]:
        """Return the schedules of some jobs, or of all (None), by name."""
        if jobs is None:
            return dict(self._lines)
        return {name: line for name, line in self._lines.items() if line.entry.job.name in jobs}

    def put(self, line: Line, *, now: float, peers: Iterable[str], least: float = 0.0) -> None:
        """Put a schedule where its next undecided instant is due, not before ``least``."""
        anchor = datetime.fromtimestamp(line.since(now), UTC)
        found = line.entry.next_after(anchor, anchor=anchor)
        if found is None:
            return
        name, at = line.entry.name, found.timestamp()
        line.ahead = line.absent = ()
        if at > now:
            # What is overdue is decided at once, whoever is first.
            known = tuple(peers)
            before = _before(name, self._supervisor, known)
            line.absent = tuple(one for one in before if self._absent.get(one, 0.0) > at)
            line.ahead = tuple(one for one in before if one not in line.absent)
            at += _delay(len(line.ahead), len(known) - len(line.absent))
        heapq.heappush(self._heap, (max(at, least), name))

    def took_over(self, line: Line, *, now: float) -> None:
        """Note that this supervisor decided an instant: those that it waited for have let it pass."""
        self._absent |= dict.fromkeys(line.ahead, now + ABSENT_FOR)

    def was_forestalled(self, line: Line) -> None:
        """Note that somebody was quicker: who was not waited for is there again."""
        for one in line.absent:
            self._absent.pop(one, None)

    def take(self, now: float, *, most: int) -> list[Line]:
        """Take out up to ``most`` schedules that are to be looked at now, the earliest first."""
        taken: list[Line] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            line = self._lines.get(heapq.heappop(self._heap)[1])
            if line is not None:
                taken.append(line)
        return taken
