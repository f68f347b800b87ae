"""A configuration's schedules as rules, with what makes each one itself. Pure.

Host and namespace are part of the keys that draw ``~``, ``H`` and jitter, so the drawn times are
stable. With a shared store the host is left out of the draw of rules: all hosts must agree on the
instants they decide together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from jobctl.model.job import Missed, Overlap
from jobctl.model.schedule import BootRule, CronRule, jitter_offset, parse_rule
from jobctl.model.sealing import digest
from jobctl.model.zones import ends_gap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.model.config import Config
    from jobctl.model.job import JobDef, ScheduleDef
    from jobctl.model.schedule import Rule

OFF = "!off"
"""Ends the generation of a schedule that is switched off in jobs.toml, see ``store/lua/schedule.lua``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """One schedule of one job, ready to be evaluated."""

    name: str
    job: JobDef
    definition: ScheduleDef
    rule: Rule
    timezone: str
    generation: str
    """Digest of rule and zone, with ``!off`` while it is switched off: when it changes, the schedule
    starts anew, so that nothing is made up for which lies before."""
    jitter: float
    """Seconds added to every instant on this host."""
    missed: Missed
    not_before: float | None
    not_after: float | None
    """Epoch seconds."""
    per_host: bool = False
    """True when its runs are skipped only while the last one of the same host goes on."""

    @property
    def active(self) -> bool:
        """True when neither the job nor the schedule is switched off."""
        return self.job.enabled and self.definition.enabled

    def slot(self, at: datetime) -> str:
        """Return what the run of an instant is named after: the schedule, or else its job.

        The latter at the end of a gap in the clock, where the times run that were skipped: several
        of one job, and one due just then, are one run if they ask for the same.
        """
        rule = self.rule
        if (
            len(self.job.schedules) == 1
            or not isinstance(rule, CronRule)
            or not ends_gap(at, rule.zone)
        ):
            return self.name
        own = self.definition
        asked = [own.args, own.kwargs, own.queue, own.priority, own.expires]
        return f"{self.job.name} {json.dumps(asked, sort_keys=True, default=str)}"

    def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
        """Return the next instant within the schedule's window, without jitter."""
        if self.not_before is not None and after.timestamp() < self.not_before:
            after = datetime.fromtimestamp(self.not_before - 0.001, after.tzinfo)
        found = self.rule.next_after(after, anchor=anchor)
        if found is None or (self.not_after is not None and found.timestamp() > self.not_after):
            return None
        return found

    def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
        """Return how many instants of (after, until] lie within the schedule's window."""
        if self.not_before is not None and after.timestamp() < self.not_before:
            after = datetime.fromtimestamp(self.not_before - 0.001, after.tzinfo)
        if self.not_after is not None and until.timestamp() > self.not_after:
            until = datetime.fromtimestamp(self.not_after, until.tzinfo)
        return self.rule.count(after, until, anchor=anchor) if after < until else 0


def schedule_entries(
    config: Config, *, host: str, timezone: str, job: str | None = None
) -> list[ScheduleEntry]:
    """Return the schedules of all jobs, or of one. ``timezone`` is the host's, by name.

    Raises ``ScheduleError`` only for a configuration that was never checked.
    """
    return list(each_entry(config, host=host, timezone=timezone, job=job))


def each_entry(
    config: Config, *, host: str, timezone: str, job: str | None = None
) -> Iterator[ScheduleEntry]:
    """Yield what :func:`schedule_entries` returns, for who has others to give a turn meanwhile."""
    jobs = config.jobs.values() if job is None else [config.jobs[job]]
    shared = config.settings.redis is not None
    for item in jobs:
        for definition in item.schedules:
            yield _entry(config, item, definition, host=host, timezone=timezone, shared=shared)


def _entry(
    config: Config, job: JobDef, definition: ScheduleDef, *, host: str, timezone: str, shared: bool
) -> ScheduleEntry:
    zone = definition.timezone or job.timezone or config.settings.timezone or timezone
    place = config.settings.namespace if shared else f"{config.settings.namespace}@{host}"
    rule = parse_rule(definition.rule, timezone=zone, hash_key=f"{place}/{definition.name}")
    named = digest(f"{definition.rule}\0{zone}\0{place}".encode()).hex()[:12]
    spread = job.jitter if definition.jitter is None else definition.jitter
    missed = job.missed if definition.missed is None else definition.missed
    if rule.kind == "@at" and missed is Missed.SKIP:
        # A single instant that passed while the host was down is what the user waits for.
        missed = Missed.ONCE
    return ScheduleEntry(
        name=definition.name,
        job=job,
        definition=definition,
        rule=rule,
        timezone=zone,
        generation=named if job.enabled and definition.enabled else named + OFF,
        jitter=jitter_offset(spread, key=f"{definition.name}@{host}") if spread else 0.0,
        missed=missed,
        not_before=_epoch(definition.not_before),
        not_after=_epoch(definition.not_after),
        # Each host has its own boots and starts; the skipping that nobody asked for is between its own.
        per_host=shared
        and isinstance(rule, BootRule)
        and job.overlap is Overlap.SKIP
        and not job.overlap_written,
    )


def _epoch(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
