"""Definitions of pools, as those of :mod:`jobctl.model.job`."""

from __future__ import annotations

from jobctl.model.job import DEFAULT_QUEUE
from jobctl.model.records import record

IDLE_AUTO = "auto"
SHARED_PYTHON = ("thread", "async")
"""Values of a pool's ``python`` with which runs share an interpreter."""


@record(frozen=True, slots=True, kw_only=True)
class PoolDef:
    """A pool process: how many slots it has and which queues it serves, in order of preference."""

    name: str
    slots: int
    """Attempts it runs at the same time; default: the number of CPUs."""
    min: int | None = None
    """Fewest slots of a pool that changes their number by itself; default with ``max``: 1."""
    max: int | None = None
    """Most slots of such a pool; default with ``min``: the number of CPUs."""
    autoscale: str | None = None
    """By what it adds slots when all are busy: ``depth``, as soon as runs wait (the default);
    ``wait``, when they have waited for a second; ``cpu``, as long as the host has CPU to spare."""
    prefetch: int = 0
    """Runs it claims ahead for each slot and keeps until a slot is free; 0: only short ones."""
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    """Queues it serves, in order of preference; ``*`` is every other queue that jobs.toml knows."""
    python: str = "process"
    """How Python jobs run in it: ``process``, a warm interpreter per slot; ``thread`` and ``async``,
    all of them beside each other in one; ``inline``, one after the other in one."""
    max_runs_per_child: int = 1000
    """Calls after which a warm interpreter is replaced."""
    max_rss_per_child: int | None = None
    """Resident bytes above which a warm interpreter is replaced after its call."""
    idle_timeout: float | str | None = IDLE_AUTO
    """Seconds without a call after which a warm interpreter is let go; the one that is used next
    stays. ``auto``: five hundred times as long as it took to make, from 5 seconds to 10 minutes;
    ``none``: never."""
    preload: tuple[str, ...] = ()
    """Modules imported once, by a template from which the interpreters are forked."""
    child_init: str | None = None
    """``module:function``, called once in every new interpreter, before its first run."""
    child_exit: str | None = None
    """``module:function``, called once in every interpreter before it ends by itself."""

    @property
    def first_slots(self) -> int:
        """How many slots it has until something changes their number."""
        return self.min or self.slots
