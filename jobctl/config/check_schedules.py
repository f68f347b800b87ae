"""Time zones, schedules, and what has to fit the gaps between their instants."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobctl.config.problem import WARNING, Problem
from jobctl.model.catchup import TOLERANCE
from jobctl.model.cron_fields import drawn
from jobctl.model.schedule import ScheduleError, load_zone, parse_rule, smallest_gap
from jobctl.model.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobctl.config.gather import Draft, Entry
    from jobctl.config.positions import Path
    from jobctl.config.schema import JobTable, ScheduleTable
    from jobctl.model.schedule import Rule

_ANY_ZONE = "UTC"
"""Stands for the host's zone, and for zones that are wrong and reported elsewhere."""


def check_zone(name: str, entry: Entry[Any], path: Path) -> Iterator[Problem]:
    """Yield the problem of a time zone that does not exist."""
    try:
        load_zone(name)
    except ScheduleError as error:
        message, _, remedy = error.message.partition(": ")
        literal = entry.source.positions.literals.get(entry.path + path, "")
        if "${" in literal:
            # What a variable holds is for nobody's eyes.
            message = f"what {literal} stands for is not a time zone"
        yield entry.problem(path, code="timezone", message=message, remedy=remedy)


def check_schedules(
    job: Entry[JobTable], layers: dict[str, tuple[Any, Entry[JobTable]]], draft: Draft
) -> Iterator[Problem]:
    """Yield what is wrong with the schedules of a job."""
    zone, zone_entry = layers.get("timezone", (None, None))
    if zone is None and draft.settings is not None and draft.settings.table is not None:
        zone = draft.settings.table.timezone
    if zone is not None and zone_entry is not None:
        yield from check_zone(zone, zone_entry, ("timezone",))
    jitter, jitter_entry = layers.get("jitter", (0.0, None))
    texts, entry = layers.get("schedule", ((), job))
    for index, text in enumerate(texts):
        rule, problems = _rule(text, zone, entry, ("schedule", index), job=job.name)
        yield from problems
        yield from _gap(rule, jitter, jitter_entry, ("jitter",))
    tables, entry = layers.get("schedules", ((), job))
    for index, table in enumerate(tables or ()):
        yield from _table(
            table, entry, ("schedules", index), job=job.name, layers=layers, zone=zone
        )
    rules = [*texts, *(table.schedule for table in tables or ())]
    yield from _of_other_hosts(rules, layers, draft)
    yield from _twice(layers, job)
    if texts or tables:
        yield from _made_up(job, layers, tables or ())
    if not texts and not tables and "jitter" in layers and jitter_entry is job:
        yield job.problem(
            "jitter", code="no-effect", severity=WARNING,
            message="a job without a schedule has no use for this", remedy="remove it",
        )  # fmt: skip


def _besides(table: ScheduleTable) -> str:
    """Return all that is written in a schedule's table but the rule."""
    keys = sorted(table.model_fields_set - {"schedule"})
    return repr([(key, getattr(table, key)) for key in keys]) if keys else ""


def _twice(
    layers: dict[str, tuple[Any, Entry[JobTable]]], job: Entry[JobTable]
) -> Iterator[Problem]:
    """Yield the schedules of a job that ask for the same as an earlier one."""
    texts, text_entry = layers.get("schedule", ((), job))
    tables, table_entry = layers.get("schedules", ((), job))
    asked: list[tuple[str, str, Entry[JobTable], Path]]
    asked = [(text, "", text_entry, ("schedule", index)) for index, text in enumerate(texts)]
    asked += [
        (
            table.schedule,
            _besides(table),
            table_entry,
            ("schedules", index, "schedule"),
        )
        for index, table in enumerate(tables or ())
    ]
    seen: set[tuple[str, str]] = set()
    for text, rest, entry, path in asked:
        what = " ".join(text.lower().split()), rest
        if what in seen and not drawn(text):
            yield entry.problem(
                path, code="duplicate", severity=WARNING,
                message="an earlier schedule of this job is the same, so each instant makes two runs",
                remedy="remove one of the two",
            )  # fmt: skip
        seen.add(what)


def _of_other_hosts(
    rules: Iterable[str], layers: dict[str, tuple[Any, Entry[JobTable]]], draft: Draft
) -> Iterator[Problem]:
    """Yield that the runs of a boot or start are in the way of those of other hosts."""
    overlap, entry = layers.get("overlap", ("allow", None))
    shared = draft.settings is not None and draft.settings.table is not None
    shared = shared and draft.settings.table.redis is not None  # type: ignore[union-attr]
    boots = [text for text in rules if text.strip().lower() in ("@reboot", "@start")]
    if shared and boots and overlap != "allow" and entry is not None:
        what = {"skip": "skips", "replace": "replaces"}.get(overlap, "waits for")
        yield entry.problem(
            "overlap", code="conflict", severity=WARNING,
            message=f"{boots[0]} runs once for each host, but with a shared store one host's run {what} another's",
            remedy='leave it out, then only runs of the same host count, or write "allow"',
        )  # fmt: skip


def _made_up(
    job: Entry[JobTable],
    layers: dict[str, tuple[Any, Entry[JobTable]]],
    tables: Iterable[ScheduleTable],
) -> Iterator[Problem]:
    """Yield what keeps missed instants from being made up for, though that is asked for."""
    missed, entry = layers.get("missed", ("skip", None))
    policies = {missed, *(table.missed for table in tables if table.missed is not None)}
    if entry is not None and missed == "all" and layers.get("overlap", ("skip",))[0] == "skip":
        yield entry.problem(
            "missed", code="conflict", severity=WARNING,
            message='with overlap = "skip", the runs for several missed instants skip one another',
            remedy='write overlap = "queue-all", or missed = "once"',
        )  # fmt: skip
    if policies == {"skip"}:
        for key in ("catchup_window", "catchup_max"):
            if key in layers and layers[key][1] is job:
                yield job.problem(
                    key, code="no-effect", severity=WARNING,
                    message='nothing is made up for with missed = "skip", the default',
                    remedy='write missed = "once" or "all", or remove it',
                )  # fmt: skip
        return
    deadline, entry = layers.get("start_deadline", (None, None))
    if deadline is not None and entry is not None and deadline <= TOLERANCE:
        yield entry.problem(
            "start_deadline", code="conflict", severity=WARNING,
            message="what is made up for is more than five minutes late, and would expire at once",
            remedy="make it longer than the outages that are to be made up for, or leave it out",
        )  # fmt: skip


def _table(
    table: ScheduleTable,
    entry: Entry[JobTable],
    path: Path,
    *,
    job: str,
    layers: dict[str, tuple[Any, Entry[JobTable]]],
    zone: str | None,
) -> Iterator[Problem]:
    if table.timezone is not None:
        yield from check_zone(table.timezone, entry, (*path, "timezone"))
        zone = table.timezone
    rule, problems = _rule(table.schedule, zone, entry, (*path, "schedule"), job=job)
    yield from problems
    if table.jitter is not None:
        yield from _gap(rule, table.jitter, entry, (*path, "jitter"))
    else:
        jitter, jitter_entry = layers.get("jitter", (0.0, None))
        yield from _gap(rule, jitter, jitter_entry, ("jitter",))
    if table.not_before is not None and table.not_after is not None:
        first = datetime.fromisoformat(table.not_before)
        if first >= datetime.fromisoformat(table.not_after):
            yield entry.problem(
                (*path, "not_after"), code="conflict", message="it is not after not_before",
                remedy="swap the two, or leave one out",
            )  # fmt: skip


def _rule(
    text: str, zone: str | None, entry: Entry[JobTable], path: Path, *, job: str
) -> tuple[Rule | None, list[Problem]]:
    try:
        rule = parse_rule(text, timezone=_usable(zone), hash_key=job)
    except ScheduleError as error:
        about = f"{error.field}: " if error.field else ""
        message, _, remedy = error.message.partition(": ")
        problem = entry.source.problem(
            entry.path + _written(entry, path),
            code="schedule",
            message=about + message,
            remedy=remedy,
            # One for the quote, and one because columns count from 1 here.
            offset=error.column + 1 if error.column >= 0 else 0,
        )
        return None, [problem]
    return rule, [
        entry.problem(_written(entry, path), code="schedule", message=warning, severity=WARNING)
        for warning in rule.warnings
    ]


def _written(entry: Entry[JobTable], path: Path) -> Path:
    """Return the path of a rule as it is written: the only one of a job may stand without a list."""
    return path if (*entry.path, *path) in entry.source.positions.values else path[:1]


def _usable(zone: str | None) -> str:
    if zone is None:
        return _ANY_ZONE
    try:
        load_zone(zone)
    except ScheduleError:
        return _ANY_ZONE
    return zone


def _gap(
    rule: Rule | None, jitter: float, entry: Entry[JobTable] | None, path: Path
) -> Iterator[Problem]:
    if rule is None or entry is None or not jitter:
        return
    gap = smallest_gap(rule)
    if gap is not None and jitter >= gap:
        yield entry.problem(
            path, code="conflict",
            message=f"{format_duration(jitter)} is not shorter than the time between two instants"
            f" of {rule.text!r}, {format_duration(gap)}",
            remedy="make it shorter, or the schedule rarer",
        )  # fmt: skip
