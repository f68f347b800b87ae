"""What the keys of a pool mean for each other, and for the Python jobs that it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobctl.config.build import layered
from jobctl.model.job import DEFAULT_QUEUE
from jobctl.model.pool import SHARED_PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobctl.config.gather import Draft, Entry
    from jobctl.config.problem import Problem
    from jobctl.config.schema import JobTable, PoolTable

_WANTS_PROCESS = {
    "max_rss": "memory is that of the whole interpreter",
    "strict_single": "a run cannot be killed alone",
}
"""Keys of jobs that ask for a process of their own, and why there is none."""


def check_pools(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with pools, and with jobs whose runs would share a child."""
    for pool in draft.pools.values():
        if pool.table is not None:
            yield from _pool(pool, pool.table)
    shared = _shared_queues(draft)
    for job in draft.jobs.values():
        if job.table is not None and shared:
            yield from _job(layered(job, draft.defaults), shared)


def _pool(pool: Entry[PoolTable], table: PoolTable) -> Iterator[Problem]:
    if not table.queues:
        yield pool.problem(
            "queues", code="value", message="a pool without queues runs nothing",
            remedy='name at least one, or "*" for all',
        )  # fmt: skip
    if table.python == "inline" and (table.slots or 1) > 1:
        yield pool.problem(
            "slots", code="conflict", message='python = "inline" runs one function at a time',
            remedy='leave slots out, or use "process", "thread" or "async"',
        )  # fmt: skip
    yield from _scaling(pool, table)


def _scaling(pool: Entry[PoolTable], table: PoolTable) -> Iterator[Problem]:
    scaling = [key for key in ("min", "max", "autoscale") if getattr(table, key) is not None]
    if scaling and (table.slots is not None or table.python == "inline"):
        fixed = "slots" if table.slots is not None else 'python = "inline"'
        yield pool.problem(
            scaling[0], code="conflict", message=f"with {fixed} the number of slots is fixed",
            remedy="keep slots, or min and max",
        )  # fmt: skip
    elif table.min is not None and table.max is not None and table.min > table.max:
        yield pool.problem(
            "min", code="conflict", message=f"it is greater than max = {table.max}",
            remedy="make it smaller, or leave one of them out",
        )  # fmt: skip


def _shared_queues(draft: Draft) -> dict[str, str]:
    """Return the queues whose runs share children on this host, with the pool that says so."""
    return {
        queue: name
        for name, pool in draft.pools.items()
        if pool.table is not None and pool.table.python in SHARED_PYTHON
        for queue in pool.table.queues
    }


def _job(
    layers: Mapping[str, tuple[Any, Entry[JobTable]]], shared: dict[str, str]
) -> Iterator[Problem]:
    if "python" not in layers:
        return
    queue = layers.get("queue", (DEFAULT_QUEUE, None))[0]
    pool = shared.get(queue) or shared.get("*")
    if pool is None:
        return
    for key, why in _WANTS_PROCESS.items():
        value, entry = layers.get(key, (None, None))
        if value and entry is not None:
            yield entry.problem(
                key, code="conflict",
                message=f"its runs share an interpreter in pool {pool!r}: {why}",
                remedy='remove it, or name a queue of a pool with python = "process"',
            )  # fmt: skip
