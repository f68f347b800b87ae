"""Runs for instants of the past: one each, however often that is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobctl.client.submit import own_name
from jobctl.errors import NotFoundError, UsageError
from jobctl.model.firing import CATCHUP, instant_id, queue_of, run_of
from jobctl.model.job import Overlap
from jobctl.model.run import LETTERS, RunState
from jobctl.model.schedule import BootRule, EveryRule
from jobctl.store import decisions, queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobctl.client.open import Session
    from jobctl.model.admission import NewRun
    from jobctl.model.rules import ScheduleEntry
    from jobctl.store.transitions import Answer

MOST = 1000
"""Runs that one backfill makes at most unless told otherwise."""
BATCH = 500
TOLD = 100
"""Of the runs of one backfill that a schedule's history tells of; it holds twice as many lines."""
OF = "backfill"
"""What sets the ids of these runs apart from those that the schedule makes of the same instants."""
DONE = frozenset(RunState) - {
    RunState.FAILED, RunState.SKIPPED, RunState.EXPIRED, RunState.REVOKED,
}  # fmt: skip
"""States of the run of an instant with which there is nothing to make up for."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One instant of the range (epoch seconds), and what is known of it."""

    entry: ScheduleEntry
    instant: float
    run_id: str
    """Of the run that it has, or else is to get."""
    state: RunState | None
    """Of the run that it has; ``None`` when it is to get one."""


def gaps(
    session: Session, entries: Sequence[ScheduleEntry], *, start: float, end: float, most: int
) -> list[Gap]:
    """Return the instants of [start, end), oldest first. Times are epoch seconds.

    An instant whose run has succeeded or has not ended keeps it; so does one that was filled
    before. Raises ``UsageError`` when there are more than ``most``, or the range is none.
    """
    if start >= end:
        raise UsageError("--from is not before --to")
    if end > session.clock.epoch() + 1:
        raise UsageError("--to is still to come; the schedule itself makes those runs")
    found: list[tuple[ScheduleEntry, float]] = []
    for entry in entries:
        for instant in _instants(session, entry, start, end):
            found.append((entry, instant))
            if len(found) > most:
                raise UsageError(
                    f"there are more than {most} instants in that range; make it shorter, or allow "
                    "more with --max"
                )
    found.sort(key=lambda item: item[1])
    # Times of one job that a clock has skipped share a run.
    of_runs = {instant_id(session.keys.namespace, *one): one for one in reversed(found)}
    return _looked_up(session, list(of_runs.values())[::-1])


def _instants(session: Session, entry: ScheduleEntry, start: float, end: float) -> Iterator[float]:
    if isinstance(entry.rule, BootRule):
        raise UsageError(f"schedule {entry.name}: {entry.rule.text} has no instants to fill in")
    until = datetime.fromtimestamp(end, UTC)
    after = datetime.fromtimestamp(start, UTC) - timedelta(milliseconds=1)
    anchor = after
    if isinstance(entry.rule, EveryRule):
        anchor = _anchor(session, entry, entry.rule.interval, start)
    at = entry.next_after(after, anchor=anchor)
    while at is not None and at < until:
        yield at.timestamp()
        at = entry.next_after(at, anchor=at)


def _anchor(session: Session, entry: ScheduleEntry, interval: float, start: float) -> datetime:
    """Return an instant before ``start`` that is in step with those of an interval."""
    known = session.run(queries.schedule(session.keys, entry.name)).get("last")
    if known is None:
        raise NotFoundError(
            f"schedule {entry.name} was never decided, so nobody knows when its instants were"
        )
    last = datetime.fromtimestamp(int(known) / 1000, UTC)
    step = timedelta(milliseconds=round(interval * 1000))
    behind = last - datetime.fromtimestamp(start, UTC)
    return last - (behind // step + 2) * step if behind > timedelta() else last


def _looked_up(session: Session, found: Sequence[tuple[ScheduleEntry, float]]) -> list[Gap]:
    keys = session.keys
    out: list[Gap] = []
    for begin in range(0, len(found), BATCH):
        batch = found[begin : begin + BATCH]
        own = [instant_id(keys.namespace, entry, at) for entry, at in batch]
        filled = [instant_id(keys.namespace, entry, at, of=OF) for entry, at in batch]
        states = session.run_many([queries.state(keys, one) for one in (*own, *filled)])
        states = [LETTERS.get(one[0] or "") for one in states]
        for index, (entry, at) in enumerate(batch):
            first, again = states[index], states[len(batch) + index]
            if again is not None:
                out.append(Gap(entry, at, filled[index], again))
            elif first in DONE:
                out.append(Gap(entry, at, own[index], first))
            else:
                out.append(Gap(entry, at, filled[index], None))
    return out


def run_for(session: Session, gap: Gap) -> NewRun:
    """Return the run of one instant.

    Where runs of the job may not overlap, those of a backfill wait for each other rather than be
    skipped, and the schedule's own runs give way to them, or wait, as its policy says.
    """
    entry = gap.entry
    run = run_of(
        entry,
        run_id=gap.run_id,
        trigger=CATCHUP,
        submitter=own_name(),
        queue=session.queue(queue_of(entry)),
        scheduled_at=gap.instant,
    )
    if entry.job.overlap is Overlap.ALLOW:
        return run
    waits = f"o:{entry.job.name}"
    limits = run.admission.limits.split()
    if waits not in limits:
        limits = [waits, *limits]
    letter = "f" if entry.job.overlap is Overlap.SKIP else "a"
    return replace(run, admission=replace(run.admission, limits=" ".join(limits), overlap=letter))


def note(session: Session, filled: Sequence[tuple[Gap, Answer]]) -> None:
    """Have the histories of the schedules tell of runs that were made, or refused.

    Of very many the newest are told, so that a history keeps more than a backfill.
    """
    made: dict[str, list[decisions.Filled]] = {}
    for gap, answer in filled:
        if answer.kind != "dup":
            one = decisions.Filled(gap.instant, answer, gap.run_id)
            made.setdefault(gap.entry.name, []).append(one)
    for name, runs in made.items():
        told = runs[-TOLD:]
        session.run(
            decisions.note_filled(
                session.keys, name, told, more=len(runs) - len(told), who=own_name()
            )
        )


def in_the_way(session: Session, jobs: Sequence[str]) -> str | None:
    """Return a job of these that forbids overlap and has a run that has not ended, if there is one."""
    for name in jobs:
        job = session.job(name)
        if job.overlap is Overlap.SKIP and session.run(queries.live_length(session.keys, name)):
            return name
    return None
