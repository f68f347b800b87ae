"""Hooks that would go round in a circle, and keys about notices that do nothing by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobctl.config.build import HOOKS, layered
from jobctl.config.problem import WARNING, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.config.gather import Draft, Entry
    from jobctl.config.schema import JobTable

_NEEDS = {"mail_on": "mail_to", "mail_every": "mail_to"}


def check_notices(layers: dict[str, tuple[Any, Entry[JobTable]]]) -> Iterator[Problem]:
    """Yield a warning for what a job says of mails that nobody gets."""
    for key, needed in _NEEDS.items():
        value, entry = layers.get(key, (None, None))
        if (
            entry is not None
            and value != "never"
            and entry.name != "defaults"
            and needed not in layers
        ):
            yield entry.problem(
                key, code="no-effect", message=f"without {needed} nobody is mailed",
                remedy=f"add {needed}, or leave this out", severity=WARNING,
            )  # fmt: skip


def check_circles(draft: Draft) -> Iterator[Problem]:
    """Yield a problem for each job whose hooks come back to it."""
    after: dict[str, dict[str, str]] = {}
    entries: dict[tuple[str, str], Entry[JobTable]] = {}
    for name, job in draft.jobs.items():
        after[name] = {}
        for key, (names, entry) in layered(job, draft.defaults).items():
            if key in HOOKS:
                entries[name, key] = entry
                after[name] |= {hook: key for hook in names if hook in draft.jobs}  # type: ignore[attr-defined]  # a list of names
    told: set[frozenset[str]] = set()
    for name, hooks in after.items():
        for first, key in hooks.items():
            way = _way(after, first, name)
            if way is None or frozenset(way) in told:
                continue
            told.add(frozenset(way))
            said = " → ".join((name, *way))
            yield entries[name, key].problem(
                key, code="circle", message=f"these hooks go round in a circle: {said}",
                remedy="take one of them out: a hook must not lead back to the job it is of",
            )  # fmt: skip


def _way(after: dict[str, dict[str, str]], start: str, goal: str) -> list[str] | None:
    """Return the jobs from ``start`` to ``goal``, both included; the shortest way, if there is one."""
    before: dict[str, str | None] = {start: None}
    line = [start]
    for name in line:
        if name == goal:
            way = [name]
            while (earlier := before[way[-1]]) is not None:
                way.append(earlier)
            return way[::-1]
        for hook in after.get(name, ()):
            if hook not in before:
                before[hook] = name
                line.append(hook)
    return None
