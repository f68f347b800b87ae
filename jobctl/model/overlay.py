"""Schedules that are kept in the store: of their own, or changes of those in jobs.toml. Pure.

They are for jobs that jobs.toml defines, and obey the same rules as schedules there.
"""

from __future__ import annotations

import json
from datetime import datetime
from math import inf

from jobctl.errors import UsageError
from jobctl.model.config import to_plain
from jobctl.model.job import Missed, ScheduleDef
from jobctl.model.params import bind
from jobctl.model.records import record
from jobctl.model.schedule import ScheduleError, parse_rule, smallest_gap
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobctl.model.config import Config
    from jobctl.model.job import JobDef

KEYS = frozenset(ScheduleDef.__annotations__) - {"name", "enabled"}
"""What a live schedule may say: the fields of a schedule, by their names there."""


class LiveError(ValueError):
    """Raised for a live schedule that cannot be used; the message says why, in one sentence."""


@record(frozen=True, slots=True, kw_only=True)
class LiveSchedule:
    """One record: a schedule of its own, or what is different of one in jobs.toml."""

    name: str
    job: str
    own: bool
    """True: there is no such schedule in jobs.toml."""
    keys: dict[str, object]
    """Some of :data:`KEYS`, JSON-ready; ``rule`` always, when it is a schedule of its own."""
    by: str
    """Who made or last changed it, ``user@host``."""
    at: float
    """When, epoch seconds."""


def encode_live(live: LiveSchedule) -> str:
    """Return a record as text without blanks or line breaks; its name is not in it."""
    data = {"j": live.job, "o": live.own, "k": to_plain(live.keys), "b": live.by, "t": live.at}
    return json.dumps(data, separators=(",", ":")).replace(" ", "\\u0020")


def decode_live(name: str, text: str) -> LiveSchedule:
    """Return what :func:`encode_live` made a text of; raises :class:`LiveError`."""
    try:
        data = json.loads(text)
        live = LiveSchedule(
            name=name, job=data["j"], own=data["o"] is True, keys=data["k"], by=data["b"],
            at=float(data["t"]),
        )  # fmt: skip
        sane = isinstance(live.keys, dict) and all(isinstance(x, str) for x in (live.job, live.by))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LiveError("its record cannot be understood") from error
    if not sane or not live.keys.keys() <= KEYS:
        raise LiveError("its record has something that this version does not know")
    return live


def definition_of(live: LiveSchedule, job: JobDef, *, timezone: str) -> ScheduleDef:
    """Return the schedule that a record stands for; raises :class:`LiveError`.

    ``timezone`` is the default zone of jobs.toml or of the host.
    """
    below = next((item for item in job.schedules if item.name == live.name), None)
    if live.own and below is not None:
        raise LiveError("jobs.toml has a schedule of this name, which counts")
    if not live.own and below is None:
        raise LiveError("jobs.toml has no such schedule any more")
    keys = dict(live.keys)
    try:
        if keys.get("missed") is not None:
            keys["missed"] = Missed(str(keys["missed"]))
        if "args" in keys:
            keys["args"] = tuple(keys["args"])  # type: ignore[arg-type]  # checked by bind
        if below is None:
            made = ScheduleDef(name=live.name, **{"args": job.args, "kwargs": job.kwargs, **keys})  # type: ignore[arg-type]
        else:
            from dataclasses import replace  # noqa: PLC0415 (only where there are live schedules)

            made = replace(below, **keys)  # type: ignore[arg-type]
        return _checked(made, job, timezone=timezone)
    except (TypeError, AttributeError, ValueError) as error:
        if isinstance(error, LiveError):
            raise
        raise LiveError(f"{error}") from error


def _checked(made: ScheduleDef, job: JobDef, *, timezone: str) -> ScheduleDef:
    """Return a schedule with its arguments bound; raises :class:`LiveError`."""
    from dataclasses import replace  # noqa: PLC0415 (as above)

    _check_values(made)
    zone = made.timezone or job.timezone or timezone
    try:
        rule = parse_rule(made.rule, timezone=zone, hash_key=job.name)
    except ScheduleError as error:
        raise LiveError(f"{made.rule!r}: {error}") from error
    jitter = job.jitter if made.jitter is None else made.jitter
    gap = smallest_gap(rule)
    if jitter and gap is not None and jitter >= gap:
        raise LiveError(
            f"a jitter of {format_duration(jitter)} is not shorter than the time between two "
            f"instants of {made.rule!r}, {format_duration(gap)}"
        )
    try:
        args, kwargs = bind(job, made.args, made.kwargs, text=False)
    except UsageError as error:
        raise LiveError(str(error)) from error
    return replace(made, args=args, kwargs=kwargs)


def _check_values(made: ScheduleDef) -> None:
    """Raise :class:`LiveError` for what no command line would have let through."""
    texts = (made.rule, made.timezone, made.queue, made.not_before, made.not_after)
    numbers = (made.jitter, made.expires)
    sane = isinstance(made.rule, str) and all(one is None or isinstance(one, str) for one in texts)
    sane = sane and all(one is None or _is_number(one) for one in numbers)
    sane = sane and (made.priority is None or made.priority in range(10))
    sane = sane and (made.max_runs is None or (_is_number(made.max_runs) and made.max_runs >= 1))
    sane = sane and isinstance(made.kwargs, dict)
    if not sane:
        raise LiveError("its record has a value that cannot be meant")
    for moment in (made.not_before, made.not_after):
        if moment is not None and datetime.fromisoformat(moment).tzinfo is None:
            raise LiveError(f"{moment} has no offset from UTC")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf


def overlaid(
    config: Config, lives: Iterable[LiveSchedule], *, timezone: str
) -> tuple[Config, dict[str, str]]:
    """Return a configuration with live schedules, and what keeps some from being used, by name.

    ``timezone`` is the host's, by name.
    """
    from dataclasses import replace  # noqa: PLC0415 (as above)

    zone = config.settings.timezone or timezone
    of_jobs: dict[str, list[ScheduleDef]] = {}
    problems: dict[str, str] = {}
    owners = _owners(config)
    for live in lives:
        job = config.jobs.get(live.job)
        try:
            if job is None:
                raise LiveError(f"jobs.toml has no job {live.job}")  # noqa: TRY301
            if owners.get(live.name, live.job) != live.job:
                raise LiveError("jobs.toml has a schedule of this name, of another job")  # noqa: TRY301
            made = definition_of(live, job, timezone=zone)
        except LiveError as error:
            problems[live.name] = str(error)
            continue
        of_jobs.setdefault(live.job, []).append(made)
    if not of_jobs:
        return config, problems
    jobs = dict(config.jobs)
    for name, made_of in of_jobs.items():
        job = jobs[name]
        changed = {item.name: item for item in made_of}
        kept = [changed.pop(item.name, item) for item in job.schedules]
        jobs[name] = replace(job, schedules=(*kept, *changed.values()))
    return replace(config, jobs=jobs), problems


def _owners(config: Config) -> Mapping[str, str]:
    """Return which job each schedule of jobs.toml belongs to."""
    return {item.name: job.name for job in config.jobs.values() for item in job.schedules}
