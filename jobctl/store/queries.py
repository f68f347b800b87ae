"""Reads only: nothing here changes the store."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.model.run import FINAL_LETTERS
from jobctl.store.calls import Call
from jobctl.store.codec import (
    BadPayloadError,
    attempts_started,
    decode_attempt,
    decode_run,
    items_of,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.model.run import Run
    from jobctl.store.keys import Keys

PRIORITIES = range(9, -1, -1)
NO_EVICTION = "noeviction"
"""The only ``maxmemory-policy`` that throws no runs away."""


def _ids(reply: object) -> list[str]:
    return [text(item) for item in items_of(reply)]


def _fields(reply: object) -> dict[str, str]:
    if isinstance(reply, dict):
        return {text(key): text(value) for key, value in reply.items()}
    items = iter(items_of(reply))
    return {text(key): text(value) for key, value in zip(items, items, strict=True)}


def _int(reply: object) -> int:
    return int(reply or 0)  # type: ignore[call-overload, no-any-return]


def run(keys: Keys, run_id: str) -> Call[Run | None]:
    """Read one run; ``None`` when there is none. Raises ``BadPayloadError`` for a broken record."""

    def decode(reply: object) -> Run | None:
        return decode_run(run_id, reply) if reply else None  # type: ignore[arg-type]

    return Call(("HGETALL", keys.run(run_id)), decode)


@record(frozen=True, slots=True)
class Submitted:
    """What was submitted, as it is in the store; times are epoch seconds."""

    id: str
    queue: str
    priority: str
    job: str
    max_attempts: str
    envelope: bytes
    not_before: float | None
    expires_at: float | None
    overlap: str
    """A letter, see ``store/lua/admit.lua``; empty for a policy without one."""


def submitted(keys: Keys, run_id: str) -> Call[Submitted | None]:
    """Read what was submitted of a run; ``None`` when it has ended, or is no run of ours."""

    def decode(reply: object) -> Submitted | None:
        letter, queue, priority, job, most, envelope, *times, overlap = items_of(reply)
        if letter is None or text(letter) in FINAL_LETTERS or None in (queue, priority, job):
            return None
        try:
            start, expiry = (float(value) / 1000 if value else None for value in times)
        except ValueError:
            return None
        return Submitted(
            run_id, text(queue), text(priority), text(job), text(most or "1"),
            bytes(envelope or b""), start, expiry, text(overlap or ""),
        )  # fmt: skip

    names = ("s", "q", "p", "j", "mx", "e", "nb", "xp", "lv")
    return Call(("HMGET", keys.run(run_id), *names), decode)


def run_or_error(keys: Keys, run_id: str) -> Call[Run | str | None]:
    """Read one run for a listing; of a broken record, what is wrong with it in words."""
    inner = run(keys, run_id)

    def decode(reply: object) -> Run | str | None:
        try:
            return inner.decode(reply)
        except BadPayloadError as error:
            return str(error)

    return Call(inner.parts, decode)


def run_or_broken(keys: Keys, run_id: str) -> Call[Run | None]:
    """Read one run, where a broken record counts as none."""
    inner = run_or_error(keys, run_id)

    def decode(reply: object) -> Run | None:
        found = inner.decode(reply)
        return None if isinstance(found, str) else found

    return Call(inner.parts, decode)


def state(keys: Keys, run_id: str) -> Call[tuple[str | None, str | None, int]]:
    """Read a run's state letter, progress and attempt number, for waiting."""

    def decode(reply: object) -> tuple[str | None, str | None, int]:
        letter, progress, attempt = items_of(reply)
        return (
            text(letter) if letter else None,
            text(progress) if progress else None,
            attempts_started(letter, attempt),
        )

    return Call(("HMGET", keys.run(run_id), "s", "pg", "at"), decode)


def claim_of(keys: Keys, run_id: str) -> Call[tuple[str, str, str]]:
    """Read a run's state letter, owner and epoch; empty words for what it does not have."""

    def decode(reply: object) -> tuple[str, str, str]:
        letter, owner, epoch = (text(item) if item else "" for item in items_of(reply))
        return letter, owner, epoch

    return Call(("HMGET", keys.run(run_id), "s", "o", "ep"), decode)


def attempt_ended(keys: Keys, run_id: str, attempt: int) -> Call[bool]:
    """Tell whether it is on record how an attempt ended."""
    return Call(
        ("HMGET", keys.run(run_id), f"a{attempt}"), lambda reply: items_of(reply)[0] is not None
    )


def latest(keys: Keys, job: str) -> Call[str | None]:
    """Read the id of the latest run of ``job``; ``@last`` for the last of all."""
    return Call(("HGET", keys.latest, job), lambda reply: text(reply) if reply else None)


def exists(keys: Keys, run_id: str) -> Call[bool]:
    """Tell whether a run is known."""
    return Call(("EXISTS", keys.run(run_id)), lambda reply: reply == 1)


def scan_runs(keys: Keys, prefix: str, cursor: str = "0") -> Call[tuple[str, list[str]]]:
    """Walk over run ids that begin with ``prefix``: (next cursor, ids); cursor "0" is the end."""
    head = len(keys.run(""))

    def decode(reply: object) -> tuple[str, list[str]]:
        position, found = items_of(reply)
        return text(position), [text(key)[head:] for key in found]

    pattern = keys.run(prefix).replace("[", "\\[") + "*"
    return Call(("SCAN", cursor, "MATCH", pattern, "COUNT", 5000), decode)


def ready_ids(keys: Keys, queue: str, priority: int, *, newest: int) -> Call[list[str]]:
    """Read the newest ready run ids of one priority of a queue."""
    return Call(("LRANGE", keys.queue(queue, priority), -newest, -1), _ids)


def ready_length(keys: Keys, queue: str, priority: int) -> Call[int]:
    """Count the ready runs of one priority of a queue."""
    return Call(("LLEN", keys.queue(queue, priority)), _int)


def oldest_ready(keys: Keys, queue: str, priority: int) -> Call[list[str]]:
    """Read the id of the oldest ready run of one priority, if any."""
    return Call(("LRANGE", keys.queue(queue, priority), 0, 0), _ids)


def due_ids(keys: Keys, *, most: int) -> Call[list[str]]:
    """Read the ids of scheduled and retrying runs, earliest first, without markers."""

    def decode(reply: object) -> list[str]:
        return [item for item in _ids(reply) if item and item[0] not in "!^?~"]

    return Call(("ZRANGE", keys.due, 0, most - 1), decode)


def due_length(keys: Keys) -> Call[int]:
    """Count the entries of the timetable, markers included."""
    return Call(("ZCARD", keys.due), _int)


def parked_ids(keys: Keys, limit: str, *, newest: int) -> Call[list[str]]:
    """Read the newest run ids parked for a limit."""
    return Call(("LRANGE", keys.parked(limit), -newest, -1), _ids)


def parked_length(keys: Keys, limit: str) -> Call[int]:
    """Count the runs parked for a limit."""
    return Call(("LLEN", keys.parked(limit)), _int)


def holders(keys: Keys, limit: str) -> Call[list[str]]:
    """Read the run ids that hold a limit."""
    return Call(("SMEMBERS", keys.holders(limit)), _ids)


def limit_sizes(keys: Keys) -> Call[dict[str, str]]:
    """Read the sizes of all limits."""
    return Call(("HGETALL", keys.limits), _fields)


def owned(keys: Keys, owner: str) -> Call[list[str]]:
    """Read the run ids an owner has claimed."""
    return Call(("SMEMBERS", keys.own(owner)), _ids)


def owned_length(keys: Keys, owner: str) -> Call[int]:
    """Count the runs an owner has claimed."""
    return Call(("SCARD", keys.own(owner)), _int)


def owners(keys: Keys, supervisor: str) -> Call[list[str]]:
    """Read the owners of a supervisor."""
    return Call(("SMEMBERS", keys.pools(supervisor)), _ids)


def history(keys: Keys, job: str, *, newest: int) -> Call[list[str]]:
    """Read the ids of a job's newest final runs."""
    return Call(("LRANGE", keys.history(job), 0, newest - 1), _ids)


def history_length(keys: Keys, job: str) -> Call[int]:
    """Count the final runs in a job's history."""
    return Call(("LLEN", keys.history(job)), _int)


def given_id(keys: Keys, run_id: str) -> Call[tuple[str, str] | None]:
    """Read state letter and job of a run that has ended and whose id was given.

    ``None`` when nothing is left of it, or nothing that can be read.
    """

    def decode(reply: object) -> tuple[str, str] | None:
        letter, _, job = text(reply or b"").partition(" ")
        return (letter, job) if letter in tuple(FINAL_LETTERS) and job else None

    return Call(("GET", keys.given_id(run_id)), decode)


def failed_history(keys: Keys, job: str, *, newest: int) -> Call[list[str]]:
    """Read the ids of a job's newest failed runs that are kept apart (``keep_failed``)."""
    return Call(("LRANGE", keys.failed_history(job), 0, newest - 1), _ids)


def live_length(keys: Keys, job: str) -> Call[int]:
    """Count the unfinished runs that a job's overlap policy looks at."""
    return Call(("SCARD", keys.live(job)), _int)


def known_jobs(keys: Keys) -> Call[list[str]]:
    """Read the names of all jobs that ever had a run."""

    def decode(reply: object) -> list[str]:
        return [name for name in _ids(reply) if name != "@last"]

    return Call(("HKEYS", keys.latest), decode)


def counters(keys: Keys) -> Call[dict[str, str]]:
    """Read the namespace's counters."""
    return Call(("HGETALL", keys.counters), _fields)


def refused_ids(keys: Keys, *, most: int) -> Call[list[str]]:
    """Read the ids of the last runs whose records could not be understood or trusted, newest first."""
    return Call(("LRANGE", keys.refused, 0, most - 1), _ids)


def supervisors(keys: Keys) -> Call[list[str]]:
    """Read the ids of all supervisors not known to be gone."""
    return Call(("SMEMBERS", keys.supervisors), _ids)


def supervisor(keys: Keys, supervisor_id: str) -> Call[dict[str, str]]:
    """Read what a supervisor says of itself; empty when it is gone."""
    return Call(("HGETALL", keys.supervisor(supervisor_id)), _fields)


def schedule(keys: Keys, name: str) -> Call[dict[str, str]]:
    """Read the bookkeeping of a schedule."""
    return Call(("HGETALL", keys.schedule(name)), _fields)


@record(frozen=True, slots=True)
class Decision:
    """One decided instant of a schedule. Times are epoch seconds, ``lag`` seconds."""

    instant: float
    kind: str
    answer: str
    run_id: str
    lag: float
    who: str


def schedule_history(keys: Keys, name: str, *, newest: int) -> Call[list[Decision]]:
    """Read the newest decisions of a schedule."""

    def decode(reply: object) -> list[Decision]:
        out = []
        for entry in _ids(reply):
            instant, kind, answer, run_id, lag, who = entry.split("|", 5)
            out.append(
                Decision(float(instant) / 1000, kind, answer, run_id, float(lag) / 1000, who)
            )
        return out

    return Call(("LRANGE", keys.schedule_history(name), 0, newest - 1), decode)


def now(_keys: Keys) -> Call[float]:
    """Read the store's clock as epoch seconds."""

    def decode(reply: object) -> float:
        seconds, micros = items_of(reply)
        return int(seconds) + int(micros) / 1e6

    return Call(("TIME",), decode)


def server_info(_keys: Keys) -> Call[dict[str, str]]:
    """Read what the server says of itself (``INFO``), as field → text."""

    def decode(reply: object) -> dict[str, str]:
        lines = (line.partition(":") for line in text(reply).splitlines() if line[:1] != "#")
        return {name: value for name, colon, value in lines if colon}

    return Call(("INFO",), decode)


def server_settings(_keys: Keys, *names: str) -> Call[dict[str, str]]:
    """Read settings of the server (``CONFIG GET``), which a hosted one may refuse."""
    return Call(("CONFIG", "GET", *names), _fields)


def wait_for_bells(keys: Keys, bells: Sequence[str], *, timeout: float) -> Call[str | None]:
    """Block until one of the bells rings; ``None`` when ``timeout`` seconds passed."""
    head = len(keys.bell(""))

    def decode(reply: object) -> str | None:
        return text(items_of(reply)[0])[head:] if reply else None

    return Call(
        ("BLPOP", *(keys.bell(name) for name in bells), f"{max(timeout, 0.01):.3f}"),
        decode,
        blocking=timeout,
    )


def log_state(keys: Keys, run_id: str) -> Call[tuple[str | None, str, int]]:
    """Read a run's state letter, job and attempt number, for following its output."""

    def decode(reply: object) -> tuple[str | None, str, int]:
        letter, job, attempt = items_of(reply)
        return (
            text(letter) if letter else None,
            text(job or b""),
            attempts_started(letter, attempt),
        )

    return Call(("HMGET", keys.run(run_id), "s", "j", "at"), decode)


def ready_position(keys: Keys, queue: str, priority: int, run_id: str) -> Call[int | None]:
    """Count the ready runs before this one in its priority; ``None`` when it is not there."""
    return Call(
        ("LPOS", keys.queue(queue, priority), run_id),
        lambda reply: None if reply is None else _int(reply),
    )


def duration(keys: Keys, run_id: str) -> Call[float | None]:
    """Read how long a succeeded run took, in seconds; ``None`` for any other run."""

    def decode(reply: object) -> float | None:
        letter, seconds, entry = items_of(reply)
        if letter != b"k":
            return None
        try:
            return float(seconds) if seconds else decode_attempt(text(entry)).duration
        except (ValueError, TypeError, AttributeError):
            return None

    return Call(("HMGET", keys.run(run_id), "s", "du", "a1"), decode)


def replicated(keys: Keys, *, replicas: int, timeout: float) -> tuple[Call[int], Call[int]]:
    """Wait until ``replicas`` have what was written before on this connection, and the primary knows.

    Two calls to send last of a batch; the second answers how many have it within ``timeout``
    seconds. The first writes something, because the server looks only at what this connection
    wrote, and a repeated submit writes nothing.
    """
    return (
        Call(("HINCRBY", keys.counters, "submitted", 0), _int, seals=True),
        Call(("WAIT", replicas, max(1, round(timeout * 1000))), _int, blocking=timeout, seals=True),
    )
