"""Whether what pools import and call in the interpreters of their jobs is there.

Hooks are looked up, never called: they are there for their effects. What cannot be imported may be
what a ``child_init`` makes importable, so that is a note, and no warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobctl.config.problem import NOTE, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jobctl.config.gather import Entry
    from jobctl.config.problem import Problem
    from jobctl.config.schema import PoolTable
    from jobctl.model.job import JobDef
    from jobctl.model.pool import PoolDef

EVERY = "*"
MENDED = {
    "preload": "until it is mended, Python runs of the pool fail on this host",
    "child_init": "until it is mended, Python runs of the pool fail on this host",
    "child_exit": "until it is mended, interpreters of the pool end without it on this host",
}
"""Remedies, by the key of the pool. In this order they come in an interpreter, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Something that a pool imports or calls, looked up as a job of it would find it."""

    pool: PoolDef
    key: str
    value: str
    job: JobDef

    @property
    def item(self) -> dict[str, object]:
        """What the child is asked."""
        if self.key == "preload":
            return {"kind": "module", "name": self.value}
        return {"kind": "hook", "hook": self.value}


class Serving:
    """Which pools that import or call something serve which queue."""

    def __init__(self, pools: Iterable[PoolDef]) -> None:
        self._pools: dict[str, list[PoolDef]] = {}
        for pool in pools:
            if pool.preload or pool.child_init or pool.child_exit:
                for queue in pool.queues:
                    self._pools.setdefault(queue, []).append(pool)

    def pools(self, job: JobDef) -> list[PoolDef]:
        """Return those that may run a job."""
        return self._pools.get(job.queue, []) + self._pools.get(EVERY, [])

    def without(self, jobs: Iterable[JobDef]) -> list[PoolDef]:
        """Return those that run none of these jobs."""
        busy = {pool.name for job in jobs for pool in self.pools(job)}
        every = {pool.name: pool for pools in self._pools.values() for pool in pools}
        return [pool for name, pool in every.items() if name not in busy]

    def init_of(self, job: JobDef) -> PoolDef | None:
        """Return a pool that calls something before the first run of a job."""
        return next((pool for pool in self.pools(job) if pool.child_init), None)


def hooks_of(pools: Iterable[tuple[PoolDef, JobDef]]) -> list[Hook]:
    """Return what is looked up for pools, each with a job of it, in the order of an interpreter."""
    found = []
    for pool, job in pools:
        values = {
            "preload": pool.preload,
            "child_init": (pool.child_init,),
            "child_exit": (pool.child_exit,),
        }
        for key in MENDED:
            found += [
                Hook(pool=pool, key=key, value=one, job=job)
                for one in values[key]
                if one is not None
            ]
    return sorted(found, key=lambda hook: list(MENDED).index(hook.key))


class Verdicts:
    """What is wrong with hooks, each time once, in however many places it is found."""

    def __init__(self, entries: Mapping[str, Entry[PoolTable]]) -> None:
        self._entries = entries
        self._found: dict[tuple[str, str, str, str, str], list[str]] = {}

    def take(self, hook: Hook, answer: Mapping[str, Any], *, remedy: str = "") -> None:
        """Take what a child says of one; ``remedy`` is a better one than usual."""
        if "wrong" not in answer:
            return
        severity, usual = WARNING, answer.get("remedy") or MENDED[hook.key]
        if hook.key == "child_exit" and hook.pool.child_init and may_need_init(answer):
            severity, usual = NOTE, unjudged(hook.pool, answer)
        found = hook.pool.name, hook.key, answer["wrong"], remedy or usual, severity
        self._found.setdefault(found, []).append(hook.job.name)

    def problems(self) -> Iterator[Problem]:
        """Yield what there is."""
        for (pool, key, wrong, remedy, severity), jobs in self._found.items():
            named = f"job {jobs[0]} does" if len(jobs) == 1 else f"jobs {_several(jobs)} do"
            if not any(jobs):
                named = "[defaults] says"
            yield self._entries[pool].problem(
                key, code="unjudged" if severity == NOTE else "hook", severity=severity,
                message=f"{wrong}, looked for as {named}", remedy=remedy,
            )  # fmt: skip


def may_need_init(answer: Mapping[str, Any]) -> bool:
    """Return whether what a child says may be otherwise after a ``child_init``."""
    return not answer.get("imported", True) and not answer.get("certain")


def unjudged(pool: PoolDef, answer: Mapping[str, Any]) -> str:
    """Return what is said in place of a remedy, or behind one, where that is so."""
    said = (
        f"this is not judged, for pool {pool.name} calls {pool.child_init} before, "
        "and jobctl check does not"
    )
    return f"{answer['remedy']}; {said}" if "remedy" in answer else said


def _several(names: list[str]) -> str:
    if len(names) > 3:  # noqa: PLR2004 (a line is to stay one)
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"
