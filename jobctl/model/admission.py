"""What a job's definition means for the store when one of its runs is accepted. Pure."""

from __future__ import annotations

import json

from jobctl.model.job import JobDef, Overlap
from jobctl.model.notices import notice_word
from jobctl.model.records import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.model.config import Config
    from jobctl.model.job import QueueDef
    from jobctl.model.run import Request

_OVERLAP_LETTERS = {
    Overlap.ALLOW: "",
    Overlap.SKIP: "s",
    Overlap.QUEUE: "l",
    Overlap.QUEUE_ALL: "a",
    Overlap.REPLACE: "r",
}
_PERIODS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DEFAULT_KEEP = "10000:604800000:"


@record(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rules of one job that the store needs to accept, park, rescue and forget its runs."""

    limits: str = ""
    """Names of the limits to take, blank-separated."""
    overlap: str = ""
    """A letter, see ``store/lua/admit.lua``."""
    keep: str = ""
    """``runs:ttl ms:failed``; empty for the defaults."""
    on_lost: str = ""
    max_length: str = ""
    start_deadline: str = ""
    """Milliseconds after the due time."""
    notices: str = ""
    """Who is told of what, see :mod:`jobctl.model.notices`; empty for nobody of nothing."""


@record(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A request with its times; at most one of ``start_in`` and ``start_at`` is set."""

    request: Request
    admission: Admission
    start_in: float | None = None
    """Seconds from the store's now."""
    start_at: float | None = None
    """Epoch seconds."""
    expires_in: float | None = None
    """Seconds from the store's now."""
    unique: str = ""
    """Digest of what must be unique among unfinished runs."""
    keep_id: float = 0.0
    """Seconds for which its id, which somebody gave it, is known after its end, whatever has become
    of its record. 0 for an id that was made up."""


def admission_for(
    job: JobDef, *, queue: QueueDef | None = None, force: bool = False, depth: int = 0
) -> Admission:
    """Return the rules for runs of ``job`` sent to ``queue``; ``force`` lets them overlap.

    ``depth`` is how many runs are above one that a hook makes.
    """
    overlap = _OVERLAP_LETTERS[job.overlap]
    if force and overlap:
        overlap = "f"
    names = []
    if overlap in ("l", "a", "r"):
        names.append(f"o:{job.name}")
    if job.max_running is not None:
        names.append(f"j:{job.name}")
    if queue is not None and queue.max_running is not None:
        names.append(f"q:{queue.name}")
    names += [f"l:{name}" for name in job.limits]
    if job.rate is not None:
        names.append(f"t:{job.name}")
    failed = "" if job.keep_failed is None else str(job.keep_failed)
    keep = f"{job.keep_runs}:{int(job.keep_days * 86_400_000)}:{failed}"
    deadline = "" if job.start_deadline is None else str(int(job.start_deadline * 1000))
    return Admission(
        limits=" ".join(names),
        overlap=overlap,
        keep="" if keep == _DEFAULT_KEEP else keep,
        on_lost="" if job.repeatable else "f",
        max_length="" if queue is None or queue.max_length is None else str(queue.max_length),
        start_deadline=deadline,
        notices=notice_word(job, depth=depth),
    )


def unique_digest(job: JobDef, args: Iterable[object], kwargs: dict[str, object]) -> str:
    """Return the digest that unfinished runs of ``job`` may hold only once; empty when not unique."""
    if job.unique is None:
        return ""
    what: object = [job.name, [job.unique]]
    if job.unique == "args":
        what = [job.name, [list(args), kwargs]]
    elif job.unique.startswith("key:"):
        key = job.unique[len("key:") :]
        for name, value in kwargs.items():
            key = key.replace(f"{{{name}}}", str(value))
        what = ["key", key]
    from jobctl.model.sealing import digest  # noqa: PLC0415 (only unique jobs need it)

    text = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return digest(text.encode()).hex()[:20]


def limit_sizes(config: Config) -> dict[str, str]:
    """Return the size of every limit the configuration declares, as the store keeps it."""
    sizes = {f"l:{limit.name}": str(limit.slots) for limit in config.limits.values()}
    for queue in config.queues.values():
        if queue.max_running is not None:
            sizes[f"q:{queue.name}"] = str(queue.max_running)
    for job in config.jobs.values():
        if job.max_running is not None:
            sizes[f"j:{job.name}"] = str(job.max_running)
        if job.rate is not None:
            count, period = parse_rate(job.rate)
            sizes[f"t:{job.name}"] = f"{count}:{period}"
    return sizes


def parse_rate(text: str) -> tuple[int, int]:
    """Return (count, period in ms) of ``10/m``, ``3/10s`` or ``1/2h``.

    Raises ``ValueError`` with a plain sentence for anything else.
    """
    count, slash, period = text.partition("/")
    period = period.strip()
    unit = period[-1:]
    number = period[:-1] or "1"
    if (
        not (slash and count.strip().isascii() and count.strip().isdigit())
        or unit not in _PERIODS_MS
    ):
        raise ValueError(f'{text!r} is not a rate; write for example "10/m" or "3/10s"')
    if not (number.isascii() and number.isdigit()) or int(count) < 1 or int(number) < 1:
        raise ValueError(f"{text!r} is not a rate; count and period must be at least 1")
    return int(count), int(number) * _PERIODS_MS[unit]
