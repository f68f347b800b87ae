"""Which runs may travel to a Python interpreter together, and how many: pure policy.

A bundle saves what handing over costs, and what it may cost in return is bounded: only runs travel
together that are expected to be over in a moment, whose interpreter is the same anyway, and which
may be begun without anybody having to know of each beginning first. A run may be a bundle by itself,
which keeps its answer when everybody dies who could have told it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.model.job import Delivery

if TYPE_CHECKING:
    from collections import deque

    from jobctl.engine.ledger import Held
    from jobctl.engine.pace import Pace
    from jobctl.model.job import JobDef

MOST = 64
"""Runs in one bundle."""
LONGEST = 0.01
"""Seconds that a bundle may be expected to take."""
GRAIN = 0.0005
"""Seconds of expected work below which it does not pay to spread runs over idle interpreters."""
ENVELOPE_MOST = 16 * 1024
"""Bytes of arguments with which a run still travels with others."""
LIMIT_LEAST = 0.25
"""Seconds; time limits below are watched from the very start of a run."""
LOOK_MOST = 256
"""Waiting runs among which company is looked for."""


def may_travel(job: JobDef) -> bool:
    """Return whether runs of a job may go in bundles at all, be it one by one."""
    return (
        job.python is not None
        and job.delivery is Delivery.AT_LEAST_ONCE
        and not job.strict_single
        and job.only_if is None
        and job.user is None
        and job.group is None
        and job.stdin is None
        and not job.env_file
        and (job.timeout is None or job.timeout >= LIMIT_LEAST)
        and (job.soft_timeout is None or job.soft_timeout >= LIMIT_LEAST)
        and (job.total_timeout is None or job.total_timeout >= LIMIT_LEAST)
    )


def fits(held: Held) -> bool:
    """Return whether a run is small enough to travel, and nobody wants it stopped."""
    timeout = held.request.timeout
    return (
        held.stop_order is None
        and len(held.claim.envelope) <= ENVELOPE_MOST
        and (timeout is None or timeout >= LIMIT_LEAST)
    )


def size(waiting: int, *, slots: int, expected: float) -> int:
    """Return how many of ``waiting`` runs one interpreter gets, when one takes ``expected`` seconds.

    They are spread evenly over all slots, unless there are so few that it does not pay.
    """
    pace = max(expected, 1e-6)
    share = max(-(-waiting // slots), int(GRAIN / pace))
    return max(1, min(waiting, share, MOST, int(LONGEST / pace)))


def gather(backlog: deque[Held], *, job: str, most: int) -> list[Held]:
    """Take the next runs of a job out of the backlog, up to ``most``; the others keep their order."""
    taken: list[Held] = []
    others: list[Held] = []
    while backlog and len(taken) < most and len(others) < LOOK_MOST:
        held = backlog.popleft()
        (taken if held.request.job == job and fits(held) else others).append(held)
    backlog.extendleft(reversed(others))
    return taken


def together(
    backlog: deque[Held], job: JobDef | None, *, pace: Pace, slots: int, room: int
) -> list[Held]:
    """Take out of the backlog its first run, which is one of ``job``, and what may go with it.

    ``room`` is how many runs the interpreter may still take. Runs of a job that is not short go one
    by one, as those of a job that nobody knows yet. Nothing is taken out when the first must be
    called without a bundle: it needs a start of its own, or the last bundle of its job came to nothing.
    """
    head = backlog[0]
    if job is None or room < 1 or pace.given_up(job.name):
        return []
    if not (may_travel(job) and fits(head)):
        return []
    if len(backlog) == 1:
        return [backlog.popleft()]
    expected = pace.expected(job.name)
    most = 1 if expected is None else size(len(backlog), slots=slots, expected=expected)
    backlog.popleft()
    return [head, *gather(backlog, job=job.name, most=min(most, room) - 1)]
