"""The state of a whole namespace at a glance."""

from __future__ import annotations

from jobctl.client.known_schedules import coming
from jobctl.client.listing import Filter, known_queues, list_runs, running_ids
from jobctl.client.supervisors import live_supervisors
from jobctl.model.run import RunState
from jobctl.store import pages, queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.schedules import Fire
    from jobctl.client.supervisors import Supervisor
    from jobctl.model.run import Run

COUNTED = 5000
FAILURES_AMONG = 200
"""Newest final runs of each job among which failures are looked for: the screen must come at once."""
FAILURES = frozenset((RunState.FAILED, RunState.EXPIRED))


class QueueLoad:
    """How full one queue is."""

    __slots__ = ("name", "oldest", "ready", "served")

    def __init__(self, name: str, *, ready: int, oldest: float | None, served: bool) -> None:
        self.name = name
        self.ready = ready
        self.oldest = oldest
        """Seconds the longest-waiting ready run has waited since its submission."""
        self.served = served
        """Whether a pool of a live supervisor claims from it."""


class Overview:
    """What ``status`` shows. Times are epoch seconds by the store's clock."""

    __slots__ = (
        "counters", "failures", "fires", "now", "parked", "queues", "running", "scheduled",
        "supervisors", "total_running",
    )  # fmt: skip

    now: float
    supervisors: list[Supervisor]
    queues: list[QueueLoad]
    running: list[Run]
    """The longest-running ones."""
    total_running: int
    scheduled: int
    """Runs and retries that wait for their time."""
    parked: int
    fires: list[Fire]
    failures: list[Run]
    counters: dict[str, int]


def overview(session: Session, *, most: int, failed_since: float) -> Overview:
    """Read everything; at most ``most`` rows each. ``failed_since`` is seconds before now."""
    keys = session.keys
    seen = Overview()
    seen.now, due, counters = session.run_many(
        [queries.now(keys), queries.due_length(keys), queries.counters(keys)]
    )
    # Most entries of a long timetable are runs; of a short one the marks are told from them.
    few = due <= COUNTED
    seen.scheduled = len(session.run(queries.due_ids(keys, most=COUNTED))) if few else due
    seen.counters = {name: int(value) for name, value in counters.items()}
    seen.supervisors = live_supervisors(session, stale=True)
    seen.queues = _queues(session, seen)
    ids = running_ids(session)
    seen.total_running = len(ids)
    runs = [run for run in _runs(session, ids) if run is not None]
    seen.running = sorted(runs, key=lambda run: run.started_at or seen.now)[:most]
    limits = list(session.run(queries.limit_sizes(keys)))
    limits += [f"o:{job}" for job in session.queueing_jobs]
    seen.parked = (
        sum(session.run_many([queries.parked_length(keys, one) for one in limits])) if limits else 0
    )
    seen.fires = coming(session, most=most)
    wanted = Filter(states=FAILURES, since=seen.now - failed_since)
    seen.failures = list_runs(session, wanted, most=most, depth=FAILURES_AMONG)
    return seen


def _runs(session: Session, ids: list[str]) -> list[Run | None]:
    most = 500
    calls = [queries.run_or_broken(session.keys, run_id) for run_id in ids[:most]]
    return session.run_many(calls) if calls else []


def _queues(session: Session, seen: Overview) -> list[QueueLoad]:
    keys = session.keys
    served = set[str]().union(*(item.queues() for item in seen.supervisors if not item.stale))
    loads = []
    for name in known_queues(session):
        lengths = session.run_many(
            [queries.ready_length(keys, name, p) for p in queries.PRIORITIES]
        )
        oldest = None
        if any(lengths):
            firsts = [queries.oldest_ready(keys, name, p) for p in queries.PRIORITIES]
            ids = [run_id for found in session.run_many(firsts) for run_id in found]
            briefs = session.run_many([pages.brief(keys, one, envelope=False) for one in ids])
            times = [brief.submitted_at for brief in briefs if brief is not None]
            oldest = max(0.0, seen.now - min(times)) if times else None
        loads.append(QueueLoad(name, ready=sum(lengths), oldest=oldest, served=name in served))
    return loads
