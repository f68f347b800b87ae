"""What can be wrong with what the store holds: the kinds of contradictions, and a single one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Something would be lost, doubled or wait for ever."""
    WARNING = "warning"
    """It ends by itself, or nothing can be done about it any more."""


class Kind(StrEnum):
    """What is contradicted; each says which promise it breaks and what to do."""

    CONTAINER = "container"
    """An unfinished run is not exactly once in the place its state names."""
    CLAIM = "claim"
    """A run counts as claimed and nobody can have it."""
    DANGLING = "dangling"
    """A place names a run that does not belong there."""
    HOLDER = "holder"
    """The holders of a limit are not the runs in hand that need it."""
    CROWDED = "crowded"
    """A limit has more holders than slots."""
    LOCK = "lock"
    """A unique lock or a place among a job's unfinished runs does not fit the runs."""
    PARKED = "parked"
    """Runs are parked for a limit and nothing will look at them."""
    BELL = "bell"
    """Runs are ready and their doorbell does not say so."""
    EXPIRY = "expiry"
    """A run's time to start will pass and nothing would notice."""
    ENDED = "ended"
    """A run's end, its history and the life of its record do not fit together."""
    OWNER = "owner"
    """Claims that nobody would ever rescue."""
    RECORD = "record"
    """A record cannot be understood."""
    TYPE = "type"
    """A key has another type than its name says."""
    LEFTOVER = "leftover"
    """A key whose owner is gone would stay for ever."""
    COUNT = "count"
    """A run was started more often than it was claimed, or than it may be."""
    FIRED = "fired"
    """A schedule fired one instant more than once."""
    LATE = "late"
    """What is due is not made to happen."""
    UNKNOWN = "unknown"
    """A key that this version does not know."""
    SCHEMA = "schema"
    """The namespace is laid out by a newer version."""
    CHANGED = "changed"
    """A run that had ended, or an epoch, went back between two readings."""
    PROCESS = "process"
    """A process of an attempt goes on without a claim."""

    @property
    def invariant(self) -> str:
        """The promise that is broken, ``I1`` to ``I8``; empty when it is none of them."""
        return _INVARIANTS.get(self, "")

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity.WARNING if self in _WARNINGS else Severity.ERROR

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _REMEDIES.get(self, "jobctl doctor --repair")


_INVARIANTS = {
    Kind.CONTAINER: "I1", Kind.CLAIM: "I1", Kind.DANGLING: "I1", Kind.HOLDER: "I2",
    Kind.CROWDED: "I2", Kind.ENDED: "I3", Kind.PARKED: "I3", Kind.BELL: "I3", Kind.EXPIRY: "I3",
    Kind.OWNER: "I3", Kind.LATE: "I3", Kind.LOCK: "I4", Kind.CHANGED: "I5", Kind.FIRED: "I6",
    Kind.PROCESS: "I7", Kind.COUNT: "I8",
}  # fmt: skip
_WARNINGS = {Kind.CROWDED, Kind.COUNT, Kind.FIRED, Kind.LATE, Kind.UNKNOWN, Kind.CHANGED}
_REMEDIES = {
    Kind.CROWDED: "it ends as they end; expected when a limit was lowered, or a failover lost claims",
    Kind.COUNT: "look at its attempts with jobctl inspect; expected after the store lost data",
    Kind.FIRED: "look at the schedule's history; expected after the store lost data",
    Kind.LATE: "look at the daemon's log, and restart the daemon when it says nothing",
    Kind.UNKNOWN: "delete it when no newer jobctl and no other program uses it",
    Kind.SCHEMA: "upgrade this host",
    Kind.CHANGED: "the store was restored or failed over meanwhile: jobctl doctor --verify again",
    Kind.PROCESS: "it is stopped when its supervisor hears of it; without one, kill it yourself",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One contradiction. Two are equal when they say the same of the same key."""

    kind: Kind
    key: str
    """The key that shows it, without the namespace's prefix; for processes their number."""
    what: str
    """One sentence."""
    run: str = ""
    """Id of the run concerned, empty when there is none."""
    mend: tuple[str, ...] = field(default=(), compare=False)
    """What ``repair.lua`` is to look at, see there; empty when nothing can be done in the store."""
    since: int = field(default=0, compare=False)
    """When the run was submitted, in epoch ms; 0 when unknown."""

    def __str__(self) -> str:
        return self.what

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.kind.severity

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return self.kind.remedy
