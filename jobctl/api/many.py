"""Several runs at once: what the items of ``submit_many`` ask for, and what is said of some of them."""

from __future__ import annotations

from jobctl.api.options import bare, several
from jobctl.errors import InvalidArguments, NotAcceptedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jobctl.client.plan import Ready
    from jobctl.errors import JobctlError
    from jobctl.store.transitions import Answer

SHOWN = 5
"""Items of many that a message names."""
_REFUSALS = frozenset(("other", "full", "skip"))


def name_of(job: object) -> str:
    """Return the name of a job that is given by it or by its decorated function."""
    name = getattr(job, "job_name", job)
    if not isinstance(name, str):
        raise InvalidArguments(
            f"{job!r} is no job: give its name, or a function that is decorated with @job"
        )
    return bare(name)


def requests_of(
    job: object, items: Iterable[object] | None, common: Mapping[str, object]
) -> Iterable[tuple[str, Sequence[object], Mapping[str, object]]]:
    """Yield what each item asks for: job, arguments, named arguments with options.

    With a job, an item is a dict of named arguments, a tuple or list of arguments, or the only
    argument. Without one, it is ``(job, arguments)`` or ``(job, arguments, named arguments)``.
    """
    if items is None:
        asked: Any = job
        if isinstance(job, str) or hasattr(job, "job_name"):
            raise InvalidArguments(
                f"submit_many of {name_of(job)}: there are no items; pass a list of arguments, such "
                f"as submit_many({name_of(job)!r}, [(1,), (2,)])"
            )
        for number, item in enumerate(several("items", asked, "pass a list of (job, arguments)")):
            _require_own_id(number, common, "submit_many")
            if not isinstance(item, tuple) or len(item) not in (2, 3):
                raise InvalidArguments(
                    f"{item!r} asks for no run; write (job, arguments), or submit_many(job, items)"
                )
            args, kwargs = _of_item(item[1])
            more = item[2] if len(item) == 3 else {}  # noqa: PLR2004 (see above)
            if not isinstance(more, dict):
                raise InvalidArguments(f"{item!r}: its options are no dict: {more!r}")
            yield name_of(item[0]), args, {**common, **kwargs, **more}
        return
    name = name_of(job)
    found = several("items", items, "pass a list of arguments, such as [(1,), (2,)]")
    for number, item in enumerate(found):
        _require_own_id(number, common, f"submit_many of {name}")
        args, kwargs = _of_item(item)
        yield name, args, ({**common, **kwargs} if common else kwargs)


def _require_own_id(number: int, common: Mapping[str, object], what: str) -> None:
    """Raise InvalidArguments for a second item that would have the id of the first."""
    if number and common.get("_id") is not None:
        error = InvalidArguments(
            f"{what}: `_id` is that of a single run, and item {number} would have the same; give each"
            " its own, such as {'path': 'a.png', '_id': 'thumbnail-a'}"
        )
        error.items = (number,)
        raise error


def _of_item(item: object) -> tuple[Sequence[object], Mapping[str, object]]:
    if isinstance(item, dict):
        return (), item
    if isinstance(item, tuple | list):
        return item, {}
    return (item,), {}


def of_items(error: JobctlError, count: int) -> str:
    """Return the message of an error that ended the submit of ``count`` items at some of them."""
    first, last = error.items[0], error.items[-1]
    text = f"item {first}" if first == last else f"items {first} to {last}"
    text = f"{text} of {count} (counted from 0): {error}"
    if first:
        text += f"; the {first} before were sent and answered"
    if last + 1 < count:
        text += f"; the {count - 1 - last} behind were not sent"
    return text


def require_all(runs: Sequence[Ready], answers: Sequence[Answer]) -> None:
    """Raise when any of several runs was not accepted, with the items and the ids of those."""
    if not _REFUSALS.intersection(answer.kind for answer in answers):
        return
    foreign = [item for item, answer in enumerate(answers) if answer.kind == "other"]
    refused = [item for item, answer in enumerate(answers) if answer.kind in ("full", "skip")]
    if foreign:
        shown = "; ".join(
            f"item {item}, for job {runs[item].job}: {runs[item].id} is of job {answers[item].detail}"
            for item in foreign[:SHOWN]
        )
        more = "; …" if len(foreign) > SHOWN else ""
        error: JobctlError = InvalidArguments(
            f"{len(foreign)} of {len(runs)} runs were not submitted, their `_id` is that of a run of "
            f"another job ({shown}{more}); leave it out or give them others. {_of_the_rest(refused)}",
            job=runs[foreign[0]].job,
            ids=[runs[item].id for item in foreign],
        )
    else:
        job = runs[refused[0]].job
        error = NotAcceptedError(
            f"{len(refused)} of {len(runs)} runs were not accepted, the first of job {job}, item "
            f"{refused[0]}: its queue is full, or it must not overlap; which they are is in `items` "
            "and `ids`",
            job=job,
            ids=[runs[item].id for item in refused],
        )
    error.items = foreign or refused
    raise error


def _of_the_rest(refused: Sequence[int]) -> str:
    if not refused:
        return "All others were accepted"
    shown = ", ".join(map(str, refused[:SHOWN])) + (", …" if len(refused) > SHOWN else "")
    return (
        f"Of the others {len(refused)} were not accepted for now (items {shown}): their queue is full, "
        "or they must not overlap"
    )
