"""Does the store hold what it must? Reads a whole namespace and names every contradiction.

The invariants are those the Lua scripts keep. Reading is not atomic, so on a namespace in use a
finding counts only if it is there twice: :func:`audit` and :func:`confirmed`. On one at rest, one
reading is enough: :func:`verify`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from jobctl.model.run import FINAL_LETTERS
from jobctl.store.verify import runs, surroundings
from jobctl.store.verify.census import shown, take
from jobctl.store.verify.finding import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.keys import Keys
    from jobctl.store.verify.census import Census

PAUSE = 0.5
"""Seconds between two readings: longer than a claim takes whose bell was just answered."""

_CHECKS = (
    surroundings.strange, runs.records, runs.containers,
    runs.limits, runs.locks, runs.ends, surroundings.owners,
    surroundings.bells, surroundings.schedules,
)  # fmt: skip
"""What the scripts keep, whoever calls them."""
_CONDUCT = (runs.attempts, surroundings.lateness)
"""What supervisors keep: it can be told only where real ones are at work."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What one look at a namespace came to."""

    findings: tuple[Finding, ...]
    """Sorted by kind and key."""
    runs: int
    """Records of runs that were read."""
    keys: int
    """Keys that were read, those of the runs included."""


def verify(store: BlockingStore, keys: Keys) -> list[str]:
    """Return one sentence for every contradiction that one reading shows, sorted.

    It concerns what the scripts keep, not how supervisors behave, so it also fits a namespace that
    only a test works with. Raises a branch of :class:`~jobctl.errors.JobctlError` when the store cannot be read.
    """
    return sorted(finding.what for finding in findings(take(store, keys)))


def confirmed(store: BlockingStore, keys: Keys, *, pause: float = PAUSE) -> list[str]:
    """Return the sentences that two readings, ``pause`` seconds apart, both find, sorted."""
    return sorted(finding.what for finding in audit(store, keys, pause=pause).findings)


def audit(store: BlockingStore, keys: Keys, *, pause: float = PAUSE) -> Audit:
    """Read the namespace, and once more after ``pause`` seconds when there is something to find.

    What both readings show counts, and what cannot have happened between them. Of a run it counts
    only if that did not move meanwhile: one that is tried again and again may be caught on its way
    in both.
    """
    first = take(store, keys)
    found = set(findings(first, conduct=True))
    if not found:
        return Audit((), len(first.runs), first.keys)
    time.sleep(pause)
    second = take(store, keys)
    both = {
        finding
        for finding in found & set(findings(second, conduct=True))
        if _stage(first, finding.run) == _stage(second, finding.run)
    }
    both |= set(changes(first, second))
    return Audit(tuple(sorted(both)), len(second.runs), second.keys)


def _stage(census: Census, run_id: str) -> tuple[str, ...] | None:
    """Return how far a run has come; ``None`` when there is none."""
    run = census.runs.get(run_id)
    return None if run is None else (run.s, run.ep, run.at)


def findings(census: Census, *, conduct: bool = False) -> list[Finding]:
    """Return every contradiction in one reading, sorted; with ``conduct`` those of supervisors too."""
    newer = list(surroundings.layout(census))
    checks = (*_CHECKS, *_CONDUCT) if conduct else _CHECKS
    return newer or sorted(chain.from_iterable(check(census) for check in checks))


def changes(before: Census, after: Census) -> Iterator[Finding]:
    """I3 and I5 between two readings: what has ended stays so, and no epoch goes back."""
    for run_id in before.runs.keys() & after.runs.keys():
        old, new = before.runs[run_id], after.runs[run_id]
        key = f"r:{shown(run_id)}"
        if old.s and old.s in FINAL_LETTERS and new.s != old.s:
            what = f"run {shown(run_id)} had ended as {old.s} and is now {new.s or 'nothing'}"
            yield Finding(Kind.CHANGED, key, what, run_id)
        elif old.ep.isdigit() and new.ep.isdigit() and int(new.ep) < int(old.ep):
            what = f"run {shown(run_id)} was claimed {old.ep} times and now only {new.ep} times"
            yield Finding(Kind.CHANGED, key, what, run_id)
