"""Runs for people and scripts to look through: newest first, filtered, and bounded.

The store has no list of all runs. Waiting runs are in their queues, the timetable and the lists
of limits; running ones are with their owners; final ones in their jobs' histories. Each of these
is read from its newest end, only as far as needed, so a backlog of a hundred thousand costs
nothing.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import chain

from jobctl.model.job import DEFAULT_QUEUE, EXEC_JOB
from jobctl.model.run import FINAL_STATES, RunState
from jobctl.store import pages, queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from jobctl.client.open import Session
    from jobctl.model.run import Run
    from jobctl.store.calls import Call
    from jobctl.store.pages import Brief

    Place = Callable[[int, int], Call[list[str]]]
    """Ids of a place by start and size."""
    Read = tuple[Callable[[Session], list[str]] | None, Callable[[Session, "Filter"], list[Place]]]
    """Ids of runs that run, and places to read after them."""

PAGE = 500
"""Ids read at a time from one place when a filter lets only some of them through."""
MOST_SCANNED = 200_000
"""Ids looked at for one listing."""


class Filter:
    """Which runs are wanted; what is empty or ``None`` does not restrict."""

    __slots__ = ("job", "queue", "since", "states", "tags")

    def __init__(
        self,
        *,
        states: Collection[RunState] = (),
        job: str | None = None,
        queue: str | None = None,
        since: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """``since`` is the earliest time of submission, in epoch seconds."""
        self.states = frozenset(states)
        self.job = job
        self.queue = queue
        self.since = since
        self.tags = dict(tags or {})

    def fits(self, brief: Brief) -> bool:
        """Return whether a run is wanted."""
        if self.states and brief.state not in self.states:
            return False
        if (self.job is not None and brief.job != self.job) or (
            self.queue is not None and brief.queue != self.queue
        ):
            return False
        if self.since is not None and brief.submitted_at < self.since:
            return False
        return not self.tags or _has_tags(brief.envelope, self.tags)

    @property
    def picky(self) -> bool:
        """True when a place may hold many runs that do not fit."""
        return bool(self.job or self.queue or self.tags)

    @property
    def restricts(self) -> bool:
        """True when anything was asked for."""
        return bool(self.states or self.picky or self.since is not None)

    def wants(self, *states: RunState) -> bool:
        """Return whether runs in any of ``states`` may fit."""
        return not self.states or not self.states.isdisjoint(states)


def _has_tags(envelope: str, tags: Mapping[str, str]) -> bool:
    try:
        found = json.loads(envelope).get("g", {})
    except (ValueError, AttributeError):
        return False
    return isinstance(found, dict) and all(found.get(key) == value for key, value in tags.items())


def list_runs(
    session: Session,
    wanted: Filter,
    *,
    most: int,
    depth: int = MOST_SCANNED,
    on_broken: Callable[[str], object] = lambda _: None,
) -> list[Run]:
    """Return the newest ``most`` runs that fit, by time of submission; ``depth`` as for :func:`find`.

    ``on_broken`` is told the ids of those whose records cannot be read, which are left out.
    """
    briefs = find(session, wanted, most=most, depth=depth)[:most]
    found: list[Run] = []
    calls = [queries.run_or_error(session.keys, brief.id) for brief in briefs]
    for brief, run in zip(briefs, session.run_many(calls) if calls else [], strict=True):
        if isinstance(run, str):
            on_broken(brief.id)
        elif run is not None:
            found.append(run)
    return found


def find(session: Session, wanted: Filter, *, most: int, depth: int = MOST_SCANNED) -> list[Brief]:
    """Return short records of the newest ``most`` runs that fit, newest first.

    Of scheduled runs those that are due last are taken for the newest. At most ``depth`` runs are
    looked at in each queue, history and list of a limit.
    """
    found: dict[str, Brief] = {}
    for ids_of, places_of in _round(wanted):
        if ids_of is not None:
            ids = [run_id for run_id in ids_of(session) if run_id not in found]
            _keep(found, _briefs(session, ids, wanted))
        found.update(_paged(session, wanted, places_of(session, wanted), most=most, depth=depth))
    return sorted(found.values(), key=lambda brief: (-brief.submitted_at, brief.id))[:most]


def _paged(
    session: Session, wanted: Filter, places: Sequence[Place], *, most: int, depth: int
) -> dict[str, Brief]:
    """Return what fits in each of ``places``, read from its newest end until there is enough of it."""
    found: dict[str, Brief] = {}
    size = PAGE if wanted.picky else min(max(most, 1), PAGE)
    pages = session.run_many([place(0, size) for place in places]) if places else []
    # The first pages together: with many jobs, one round trip each would be felt.
    known = {item.id: item for item in _briefs(session, list(chain(*pages)), wanted)}
    for place, ids in zip(places, pages, strict=True):
        fitting = {run_id: known[run_id] for run_id in ids if run_id in known}
        start = size
        more = len(ids) == size
        while more and len(fitting) < most and start < depth:
            following = session.run(place(start, PAGE))
            _keep(fitting, _briefs(session, following, wanted))
            more = len(following) == PAGE
            start += PAGE
        found.update(fitting)
    return found


def _keep(found: dict[str, Brief], briefs: Sequence[Brief]) -> None:
    found.update((brief.id, brief) for brief in briefs)


def _briefs(session: Session, ids: Sequence[str], wanted: Filter) -> list[Brief]:
    """Return the short records of those of ``ids`` that fit."""
    tags = bool(wanted.tags)
    calls = [pages.brief(session.keys, run_id, envelope=tags) for run_id in dict.fromkeys(ids)]
    replies = session.run_many(calls) if calls else []
    return [brief for brief in replies if brief is not None and wanted.fits(brief)]


def _round(wanted: Filter) -> Iterator[Read]:
    """Yield what to read one after the other, so that no run escapes by moving on meanwhile.

    Runs go from the timetable over their queues to their owners and into a history, so places are
    read in this order. Some go back for another attempt: those were running at the beginning.
    One that was ready and has to wait for a limit is among the parked at the end.
    """
    running = wanted.wants(RunState.RUNNING)
    yield (running_ids if running else None), _early
    yield None, _ready
    waiting = wanted.wants(RunState.QUEUED, RunState.SCHEDULED, RunState.RETRYING, RunState.PARKED)
    yield (running_ids if running and waiting else None), _late


def _early(session: Session, wanted: Filter) -> list[Place]:
    """Return where runs wait before they are ready."""
    places: list[Place] = []
    if wanted.wants(RunState.SCHEDULED, RunState.RETRYING):
        places.append(partial(pages.due_page, session.keys))
    return places + _parked(session, wanted)


def _parked(session: Session, wanted: Filter) -> list[Place]:
    if not wanted.wants(RunState.PARKED):
        return []
    return [partial(pages.parked_page, session.keys, limit) for limit in known_limits(session)]


def _ready(session: Session, wanted: Filter) -> list[Place]:
    if not wanted.wants(RunState.QUEUED):
        return []
    queues = [wanted.queue] if wanted.queue else known_queues(session)
    return [partial(pages.ready_page, session.keys, *one) for one in ready_levels(session, queues)]


def _late(session: Session, wanted: Filter) -> list[Place]:
    """Return where runs end, and where some are put back that were ready."""
    places = _parked(session, wanted) if wanted.wants(RunState.QUEUED) else []
    if wanted.wants(*FINAL_STATES):
        for job in [wanted.job] if wanted.job else known_jobs(session):
            places.append(partial(pages.history_page, session.keys, job))
            places.append(partial(pages.failed_page, session.keys, job))
    return places


def known_jobs(session: Session) -> list[str]:
    """Return the names of all jobs that are defined or ever had a run."""
    return list(dict.fromkeys([*session.job_names, *session.run(queries.known_jobs(session.keys))]))


def known_queues(session: Session) -> list[str]:
    """Return the names of queues: of the configuration, the supervisors, and the latest runs."""
    config = session.config
    names = [DEFAULT_QUEUE, *config.queues, *(job.queue for job in config.jobs.values())]
    names += [queue for pool in config.pools.values() for queue in pool.queues if queue != "*"]
    latest = session.run(pages.latest_ids(session.keys))
    supervisors = session.run(queries.supervisors(session.keys))
    briefs = [pages.brief(session.keys, one, envelope=False) for one in latest]
    facts = [queries.supervisor(session.keys, one) for one in supervisors]
    if briefs or facts:
        replies = session.run_many([*briefs, *facts])
        names += [found.queue for found in replies[: len(briefs)] if found is not None]
        for found in replies[len(briefs) :]:
            names += [queue for pool in pools_of(found).values() for queue in pool["queues"]]
    return list(dict.fromkeys(name for name in names if name != "*"))


def pools_of(facts: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """Return the pools a supervisor says it has: name → slots and queues."""
    try:
        pools = json.loads(facts.get("pools", "{}"))
    except ValueError:
        return {}
    return {
        name: pool
        for name, pool in pools.items()
        if isinstance(pool, dict) and isinstance(pool.get("queues"), list)
    }


def ready_levels(session: Session, queues: Sequence[str]) -> list[tuple[str, int]]:
    """Return the (queue, priority) pairs that have ready runs."""
    levels = [(queue, priority) for queue in queues for priority in queries.PRIORITIES]
    calls = [queries.ready_length(session.keys, queue, priority) for queue, priority in levels]
    return [level for level, size in zip(levels, session.run_many(calls), strict=True) if size]


def known_limits(session: Session) -> list[str]:
    """Return every limit runs may be parked for."""
    names = list(session.run(queries.limit_sizes(session.keys)))
    names += [f"o:{job}" for job in known_jobs(session) if job != EXEC_JOB]
    return list(dict.fromkeys(names))


def running_ids(session: Session) -> list[str]:
    """Return the ids of all claimed and running runs, of all supervisors."""
    keys = session.keys
    supervisors = session.run(queries.supervisors(keys))
    if not supervisors:
        return []
    owners = session.run_many([queries.owners(keys, one) for one in supervisors])
    calls = [queries.owned(keys, owner) for group in owners for owner in group]
    return sorted(run_id for ids in session.run_many(calls) for run_id in ids) if calls else []
