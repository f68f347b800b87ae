"""What no table can tell by itself: names that must exist, times that must fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobctl.config.build import DEFAULT_POOL, HOOKS, layered
from jobctl.config.check_notices import check_circles, check_notices
from jobctl.config.check_params import check_params
from jobctl.config.check_pools import check_pools
from jobctl.config.check_schedules import check_schedules
from jobctl.config.explain import other_word
from jobctl.config.problem import WARNING, Problem
from jobctl.config.schema import JobTable
from jobctl.config.values import nearest
from jobctl.model.config import Durability
from jobctl.model.job import DEFAULT_QUEUE, Delivery, OnLost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.config.gather import Draft, Entry

Layers = dict[str, tuple[Any, "Entry[JobTable]"]]
"""The keys set for a job, each with the table it comes from."""


PYTHON_ONLY = {
    "interpreter": "name the interpreter in command",
    "expected": "use retry_on, no_retry_on or skip_codes with exit codes",
    "result_format": "write JSON or text to $JOBCTL_RESULT_FILE",
    "result_compression": "remove it",
}
"""Keys that mean nothing for a command, and what to do instead."""


def check_draft(draft: Draft) -> list[Problem]:
    """Return everything wrong between tables. A problem of ``[defaults]`` comes up once."""
    found: list[Problem] = []
    if draft.defaults is not None:
        found += _inactive(draft.defaults)
    for job in draft.jobs.values():
        found += _inactive(job)
        if job.table is not None:
            found += _job(job, draft)
    found += check_circles(draft)
    found += _settings(draft)
    found += _security(draft)
    found += check_pools(draft)
    return list(dict.fromkeys(found))


def _job(job: Entry[JobTable], draft: Draft) -> Iterator[Problem]:
    layers: Layers = layered(job, draft.defaults)
    yield from _what_to_run(job, layers, draft)
    yield from _times(layers)
    yield from _losses(job, layers)
    yield from _codes(layers)
    yield from _mask(layers)
    if draft.complete:
        yield from _references(layers, draft)
    yield from check_schedules(job, layers, draft)
    yield from check_params(job, layers)
    yield from check_notices(layers)


def _what_to_run(job: Entry[JobTable], layers: Layers, draft: Draft) -> Iterator[Problem]:
    if "command" in layers and "python" in layers:
        yield layers["python"][1].problem(
            "python", code="conflict", message="a job has a command or a Python function, not both",
            remedy="keep one of command and python",
        )  # fmt: skip
    elif not {"command", "python"} & layers.keys() and draft.discovered and not _tried(job, draft):
        yield job.source.problem(
            job.path, at_key=True, code="missing", message="there is nothing to run",
            remedy='add command = "…" or python = "package.module:function"',
        )  # fmt: skip
    if "python" in layers:
        if "shell" in layers and layers["shell"][1] is job:
            yield job.problem(
                "shell", code="no-effect", message="a Python job has no use for this",
                remedy="remove it", severity=WARNING,
            )  # fmt: skip
        return
    for key, remedy in PYTHON_ONLY.items():
        if key in layers and layers[key][1] is job:
            yield job.problem(
                key, code="no-effect", message="it is used for Python jobs only",
                remedy=remedy, severity=WARNING,
            )  # fmt: skip


def _tried(job: Entry[JobTable], draft: Draft) -> bool:
    """Tell whether what to run is written, but wrong: that problem is reported already."""
    section = job.source.data.get("jobs")
    own = section.get(job.name) if isinstance(section, dict) else None
    keys = [
        key
        for one in (own, draft.main.data.get("defaults"))
        if isinstance(one, dict)
        for key in one
    ]
    runs = ("command", "python")
    known = JobTable.model_fields
    return any(
        key in runs
        or (key not in known and (other_word(key) in runs or nearest(key, known) in runs))
        for key in keys
    )


def _losses(job: Entry[JobTable], layers: Layers) -> Iterator[Problem]:
    delivery, on_lost = (layers.get(key, (None, None)) for key in ("delivery", "on_lost"))
    if delivery[0] == Delivery.AT_MOST_ONCE and on_lost[0] == OnLost.RETRY and on_lost[1] is job:
        yield job.problem(
            "on_lost", code="no-effect",
            message='with delivery = "at-most-once" a lost run is not repeated',
            remedy="remove it, or the other", severity=WARNING,
        )  # fmt: skip


def _times(layers: Layers) -> Iterator[Problem]:
    for shorter, longer in (("soft_timeout", "timeout"), ("timeout", "total_timeout")):
        low, entry = layers.get(shorter, (None, None))
        high = layers.get(longer, (None, None))[0]
        if entry is None or low is None or high is None:
            continue
        if low > high or (shorter == "soft_timeout" and low == high):
            yield entry.problem(
                shorter, code="conflict", message=f"it is not shorter than {longer}",
                remedy=f"make it shorter than {longer}, or leave it out",
            )  # fmt: skip
    low, _ = layers.get("retry_delay", (None, None))
    high, entry = layers.get("retry_max_delay", (None, None))
    if entry is not None and low is not None and low > high:
        yield entry.problem(
            "retry_max_delay", code="conflict", message="it is shorter than retry_delay",
            remedy="make it at least as long",
        )  # fmt: skip


def _codes(layers: Layers) -> Iterator[Problem]:
    codes, entry = layers.get("skip_codes", ((), None))
    success = layers.get("success_codes", ((0,), None))[0]
    for code in codes:
        if code in success and entry is not None:
            yield entry.problem(
                "skip_codes", code="conflict",
                message=f"{code} already means success", remedy="name it in one of the two",
            )  # fmt: skip


def _mask(layers: Layers) -> Iterator[Problem]:
    value, entry = layers.get("umask", (None, None))
    if entry is None:
        return
    literal = entry.source.positions.literals.get((*entry.path, "umask"), "")
    if literal.isdecimal() and int(literal):
        yield entry.problem(
            "umask", code="value", message=f"{literal} is a decimal number, octal {value:03o}",
            remedy=f'write "{literal.zfill(3)}" if you mean these octal digits, or 0o{value:o}',
        )  # fmt: skip


def _references(layers: Layers, draft: Draft) -> Iterator[Problem]:
    names, entry = layers.get("limits", ((), None))
    for index, name in enumerate(names):
        if name not in draft.limits and entry is not None:
            yield _unknown(entry, "limits", index, name, draft.limits, what="limit")
    for key in HOOKS:
        names, entry = layers.get(key, ((), None))
        for index, name in enumerate(names):
            if name not in draft.jobs and entry is not None:
                yield _unknown(entry, key, index, name, draft.jobs, what="job", severity=WARNING)
    queue, entry = layers.get("queue", (DEFAULT_QUEUE, None))
    if entry is not None:
        yield from unserved(queue, entry, ("queue",), draft)


def _unknown(
    entry: Entry[JobTable],
    key: str,
    index: int,
    name: str,
    known: Iterable[str],
    *,
    what: str,
    **more: str,
) -> Problem:
    close = nearest(name, known)
    remedy = f"did you mean '{close}'?" if close else f"add [{what}s.{name}]"
    path = (key, index)
    if (*entry.path, *path) not in entry.source.positions.values:
        path = (key,)  # type: ignore[assignment]  # one name without a list around it
    return entry.problem(
        path, code="reference", message=f"there is no {what} {name!r}", remedy=remedy, **more
    )


def served_queues(draft: Draft) -> set[str]:
    """Return the queues that the pools of this file serve; ``*`` stands for all."""
    served: set[str] = set() if DEFAULT_POOL in draft.pools else {DEFAULT_QUEUE}
    for pool in draft.pools.values():
        # What a wrong table would have served is not known.
        served |= {"*"} if pool.table is None else set(pool.table.queues)
    return served


def unserved(
    queue: str, entry: Entry[JobTable], key: tuple[str | int, ...], draft: Draft
) -> Iterator[Problem]:
    """Yield a warning when no pool of this file takes runs from a queue."""
    served = served_queues(draft)
    if queue not in served and "*" not in served:
        close = nearest(queue, served)
        hint = f"did you mean '{close}'? Otherwise add" if close else "add"
        yield entry.problem(
            key, code="unserved", severity=WARNING,
            message=f"no pool in this file serves the queue {queue!r}",
            remedy=f"{hint} it to the queues of a [pools.…], here or on another host",
        )  # fmt: skip


def _inactive(entry: Entry[JobTable]) -> Iterator[Problem]:
    if entry.table is None:
        return
    for key in JobTable.INACTIVE:
        if key in entry.table.model_fields_set:
            yield entry.source.problem(
                (*entry.path, key), at_key=True, code="inactive", severity=WARNING,
                message="accepted, not acted on by this version",
            )  # fmt: skip


def _settings(draft: Draft) -> Iterator[Problem]:
    entry = draft.settings
    if entry is None or entry.table is None or entry.table.redis is not None:
        return
    if entry.table.durability == Durability.REPLICATED:
        yield entry.problem(
            "durability", code="conflict", message="the embedded store has no replicas",
            remedy="name a server that has some with redis =, or leave durability out: what the "
            "embedded store accepts is on disk",
        )  # fmt: skip


def _security(draft: Draft) -> Iterator[Problem]:
    entry, settings = draft.security, draft.settings
    shared = settings is not None and settings.table is not None and settings.table.redis
    if entry is None or entry.table is None:
        if shared and settings is not None:
            yield settings.problem(
                "redis", code="unsigned", severity=WARNING,
                message="whoever can write to this store can submit any job of this file",
                remedy="sign runs: `jobctl keys init`, see docs/how-to/shared-redis.md; "
                'or say sign = "none" in [security]',
            )  # fmt: skip
        return
    if shared and entry.table.sign == "hmac" and entry.table.key_file is None:
        yield entry.source.problem(
            entry.path, at_key=True, code="missing", message="there is no key to sign with",
            remedy='make one with `jobctl keys init` and write key_file = "…", or sign = "none"',
        )  # fmt: skip
