"""Reads for listings: ids page by page, newest first, and the few fields that are filtered by."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.model.run import LETTERS, RunState
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, moment, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.keys import Keys


def _ids(reply: object) -> list[str]:
    return [text(item) for item in items_of(reply)]


@record(frozen=True, slots=True)
class Brief:
    """What a listing decides on before it reads a whole run."""

    id: str
    state: RunState
    submitted_at: float
    job: str
    queue: str
    envelope: str
    """JSON text; empty unless asked for."""


def brief(keys: Keys, run_id: str, *, envelope: bool) -> Call[Brief | None]:
    """Read the few fields of a run that a listing sorts and filters by; ``None``: none, or broken."""

    def decode(reply: object) -> Brief | None:
        letter, submitted, job, queue, attempt, *body = items_of(reply)
        state = LETTERS.get(text(letter)) if letter else None
        if state is None or not (job and queue):
            return None
        try:
            submitted_at = moment(text(submitted))
        except ValueError:
            return None
        if state is RunState.SCHEDULED and attempt:
            state = RunState.RETRYING
        inside = text(body[0] or b"") if body else ""
        return Brief(run_id, state, submitted_at, text(job), text(queue), inside)

    more = ("e",) if envelope else ()
    return Call(("HMGET", keys.run(run_id), "s", "t", "j", "q", "at", *more), decode)


def ending(keys: Keys, run_id: str) -> Call[tuple[str, str]]:
    """Read a run's state letter and the reason of its last ending; empty words for what it has not."""

    def decode(reply: object) -> tuple[str, str]:
        letter, reason = (text(item) if item else "" for item in items_of(reply))
        return letter, reason

    return Call(("HMGET", keys.run(run_id), "s", "rs"), decode)


def latest_ids(keys: Keys) -> Call[list[str]]:
    """Read the ids of every job's latest run."""
    return Call(("HVALS", keys.latest), _ids)


def _newest_first(reply: object) -> list[str]:
    return _ids(reply)[::-1]


def ready_page(keys: Keys, queue: str, priority: int, start: int, size: int) -> Call[list[str]]:
    """Read ready run ids of one priority of a queue, newest first."""
    return Call(("LRANGE", keys.queue(queue, priority), -start - size, -start - 1), _newest_first)


def parked_page(keys: Keys, limit: str, start: int, size: int) -> Call[list[str]]:
    """Read run ids parked for a limit, newest first."""
    return Call(("LRANGE", keys.parked(limit), -start - size, -start - 1), _newest_first)


def due_page(keys: Keys, start: int, size: int) -> Call[list[str]]:
    """Read members of the timetable, latest first; markers become the ids they belong to."""

    def decode(reply: object) -> list[str]:
        return [item.lstrip("^!?~") for item in _ids(reply)]

    return Call(("ZREVRANGE", keys.due, start, start + size - 1), decode)


def history_page(keys: Keys, job: str, start: int, size: int) -> Call[list[str]]:
    """Read ids of a job's final runs, newest first."""
    return Call(("LRANGE", keys.history(job), start, start + size - 1), _ids)


def failed_page(keys: Keys, job: str, start: int, size: int) -> Call[list[str]]:
    """Read ids of a job's failed runs that are kept apart, newest first."""
    return Call(("LRANGE", keys.failed_history(job), start, start + size - 1), _ids)
