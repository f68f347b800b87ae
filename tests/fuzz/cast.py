"""Who takes part in a programme, and what jobs, limits and schedules there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

QUEUES = ("default", "night", "bulk")
LIMITS = {"l:db": "2", "l:net": "1", "l:wide": "3", "j:one": "1", "q:bulk": "3", "t:fast": "3:40"}
RATES = {"t:fast": (3, 0.040)}
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one": {"limits": "j:one"},
    "two": {"limits": "l:db l:net"},
    "wide": {"limits": "l:wide"},
    "bulk": {"limits": "q:bulk l:db", "queue": "bulk"},
    "fast": {"limits": "t:fast l:db"},
    "skip": {"overlap": "s"},
    "latest": {"overlap": "l", "limits": "o:latest"},
    "every": {"overlap": "a", "limits": "o:every"},
    "newest": {"overlap": "r", "limits": "o:newest l:net"},
    "forced": {"overlap": "f"},
    "once": {"on_lost": "f"},
    "short": {"keep": "3:600000:2"},
    "full": {"queue": "night", "max_length": "4", "limits": "l:net"},
    "hasty": {"start_deadline": "15"},
    "told": {"notices": "rdkxevs,m20,l15,p3"},
}
SCHEDULED = ("plain", "skip", "latest", "every", "newest")
KEPT = {"h:short": 3, "hf:short": 2}
"""Histories, and how many runs each keeps."""


@dataclass
class Held:
    """What a supervisor believes to hold."""

    epoch: int
    attempt: int
    started: bool = False


@dataclass
class Supervisor:
    sid: str
    held: dict[str, Held] = field(default_factory=dict)
    heard: int = 0
    """The last beat whose answer it got."""
    messages: set[str] = field(default_factory=set)
    fenced: bool = False
    delivered: list[bytes] = field(default_factory=list)
    """Notices that it has delivered and did not say so yet."""

    @property
    def owner(self) -> str:
        return f"{self.sid}/p.1"


@dataclass
class Schedule:
    """A schedule as one supervisor after the other sees it."""

    name: str
    job: str
    generation: str = "1"
    last: float = 0.0
    most: int | None = None
