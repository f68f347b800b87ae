"""Reading a host journal: which attempts a dead pool had begun, and what is known of their ends."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An attempt as its pool wrote it down."""

    run_id: str
    epoch: int
    attempt: int
    slot: int
    pid: int
    born: float
    """Start of the leader's process, in seconds since boot; a warm interpreter is older than the
    attempt."""
    begun: float
    """Start of the attempt, in seconds since boot."""
    started_at: float
    """Epoch seconds."""
    kind: str
    """:data:`COMMAND` or :data:`PYTHON`."""
    job: str
    lost: int = 0
    interrupted: int = 0
    max_attempts: int = 1
    first_started_at: float = 0.0
    """Epoch seconds; 0 when this attempt is the first."""
    timeout: float | None = None
    """What the request asked for, in seconds."""
    signed: int | None = None
    """When it was signed, in epoch seconds, if its start is yet to be counted."""
    last_start: float = 0.0
    """Until when that is to be remembered, in epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Runs that a Python child might begin one after the other; its tally tells how far it is."""

    number: int
    pid: int
    slot: int
    runs: tuple[Started | None, ...]
    """``None`` for those that were settled long ago."""


@dataclass(slots=True)
class Content:
    """What a journal says."""

    running: dict[str, Started] = field(default_factory=dict)
    """By run id: started and not settled."""
    exits: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By run id: status and end (seconds since boot) of leaders that the pool saw end."""
    deaths: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By process number: the same of all leaders, of which there may be several of one number."""
    stops: dict[str, tuple[str, str | None, str | None]] = field(default_factory=dict)
    """By run id: outcome kind, reason and error of attempts that jobctl was stopping."""
    bundles: dict[int, Bundle] = field(default_factory=dict)
    """By slot: the last bundle that its child might begin."""
    outcomes: dict[str, Settlement] = field(default_factory=dict)
    """By run id: settlements, acknowledged or not."""
    intended: Started | None = None
    """The attempt whose process was about to be made, or was made, when the journal ends; its
    ``pid`` is 0. There is at most one."""


def parse(line: bytes) -> list[object]:
    """Return the words of a line, none for one that was cut off or is not ours."""
    try:
        words = json.loads(line)
    except ValueError:
        return []
    return words if isinstance(words, list) and len(words) > 1 else []


def read(path: Path) -> Content:
    """Return what a journal says; an absent one says nothing. Lines it cannot read are passed over."""
    content = Content()
    by_pid: dict[int, str] = {}
    # A copy is there only if its pool died while it compacted; the file may then be cut.
    for source in (path.with_suffix(".compact"), path):
        try:
            data = source.read_bytes()
        except OSError:
            continue
        for line in data.splitlines():
            words = parse(line)
            if words:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    _take(content, by_pid, words)
    return content


def _take(content: Content, by_pid: dict[int, str], words: list[object]) -> None:
    match words:
        case ["b", *_] | ["x", *_]:
            _take_of_child(content, by_pid, words)
        case ["i", str(run_id), *rest]:
            content.intended = _intended(run_id, rest)
        case ["s", str(run_id), pid, born, begun, started_at]:
            if content.intended is None or content.intended.run_id != run_id:
                return
            started = replace(
                content.intended,
                pid=int(str(pid)),
                born=float(str(born)),
                begun=float(str(begun)),
                started_at=float(str(started_at)),
            )
            content.intended = None
            known = content.outcomes.get(run_id)
            if known is not None and int(known.epoch) >= started.epoch:
                return
            content.running[run_id] = started
            content.exits.pop(run_id, None)
            content.stops.pop(run_id, None)
            by_pid[started.pid] = run_id
        case ["t", str(run_id), str(kind), reason, error]:
            content.stops[run_id] = (kind, _text(reason), _text(error))
        case ["e", str(run_id), epoch, str(letter), str(reason), delay, list(fields), *seal]:
            signed, until = _seal(seal)
            content.outcomes[run_id] = Settlement(
                run_id, int(str(epoch)), letter, reason, float(str(delay)), tuple(fields),
                signed=signed, last_start=until,
            )  # fmt: skip
            if content.intended is not None and content.intended.run_id == run_id:
                content.intended = None
            started_before = content.running.get(run_id)
            if started_before is not None and started_before.epoch <= int(str(epoch)):
                del content.running[run_id]
                content.exits.pop(run_id, None)
                content.stops.pop(run_id, None)


def _take_of_child(content: Content, by_pid: dict[int, str], words: list[object]) -> None:
    match words:
        case ["b", int(slot), int(number), int(pid), born, begun, list(rows)]:
            content.bundles[slot] = Bundle(
                number=number,
                pid=pid,
                slot=slot,
                runs=tuple(_bundled(row, slot, pid, born, begun) for row in rows),
            )
            content.deaths.pop(pid, None)
        case ["x", int(pid), int(status), float(when) | int(when)]:
            content.deaths[pid] = (status, float(when))
            if pid in by_pid:
                content.exits[by_pid[pid]] = (status, float(when))


def _intended(run_id: str, rest: list[object]) -> Started:
    epoch, attempt, slot, when, kind, job, lost, interrupted, most, first, timeout = rest
    return Started(
        run_id=run_id,
        epoch=int(str(epoch)),
        attempt=int(str(attempt)),
        slot=int(str(slot)),
        pid=0,
        born=float(str(when)),
        begun=float(str(when)),
        started_at=0.0,
        kind=str(kind),
        job=str(job),
        lost=int(str(lost)),
        interrupted=int(str(interrupted)),
        max_attempts=int(str(most)),
        first_started_at=float(str(first)),
        timeout=None if timeout is None else float(str(timeout)),
    )


def _bundled(row: object, slot: int, pid: int, born: object, begun: object) -> Started | None:
    """Return a run of a bundle as if it had begun with the bundle; ``None`` for one left out."""
    if not isinstance(row, list):
        return None
    run_id, epoch, attempt, job, lost, interrupted, most, first, timeout, *seal = row
    rest = [epoch, attempt, slot, begun, "python", job, lost, interrupted, most, first, timeout]
    signed, until = _seal(seal)
    return replace(
        _intended(str(run_id), rest),
        pid=pid, born=float(str(born)), signed=signed, last_start=until,
    )  # fmt: skip


def _seal(words: list[object]) -> tuple[int | None, float]:
    """Return when a run was signed and until when that counts; an older program wrote neither."""
    if not words:
        return None, 0.0
    signed, until = words
    return int(str(signed)), float(str(until))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
