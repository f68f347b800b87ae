"""All schedules there are: those of jobs.toml, those kept in the store, and how each of them stands."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import NamedTuple

from jobctl.client.decision_words import ended
from jobctl.client.open import hint, shown
from jobctl.client.schedules import Fire, own_host
from jobctl.errors import NotFoundError, UsageError
from jobctl.host import host_zone
from jobctl.model.overlay import overlaid
from jobctl.model.rules import schedule_entries
from jobctl.model.run import LETTERS
from jobctl.model.schedule import AtRule, BootRule
from jobctl.store import decisions, pages, queries
from jobctl.store.live import opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobctl.client.open import Session
    from jobctl.model.config import Config
    from jobctl.model.overlay import LiveSchedule
    from jobctl.model.rules import ScheduleEntry
    from jobctl.store.queries import Decision

BATCH = 500
AMONG = 100
"""Schedules looked at, beyond those that are wanted, for some that are not switched off."""
LAGS = 20
"""Newest decisions whose lag is shown."""


class Catalogue:
    """The configuration with live schedules laid over it, as supervisors have it."""

    def __init__(self, session: Session) -> None:
        """Read the live schedules; raises a branch of ``JobctlError``."""
        records = session.run(decisions.live_schedules(session.keys))
        ring = session.signing.ring if records else None
        lives, self.refused = opened(records, ring)
        """``refused`` and ``unused`` say why, by name: not genuine, or it does not fit."""
        self.records = records
        self.lives: dict[str, LiveSchedule] = {one.name: one for one in lives}
        self.file: Config = session.config
        self.config, self.unused = overlaid(session.config, lives, timezone=host_zone())
        self._session = session

    def entries(self, job: str | None = None) -> list[ScheduleEntry]:
        """Return the schedules of all jobs, or of one."""
        return schedule_entries(
            self.config, host=own_host(self._session), timezone=host_zone(), job=job
        )

    def find(self, word: str) -> list[ScheduleEntry]:
        """Return the schedule of this name, or all of the job of this name.

        ``JOB#1`` is the first schedule of a job that has several. Raises ``NotFoundError``.
        """
        if word in self.config.jobs:
            found = self.entries(word)
            if not found:
                raise NotFoundError(
                    f"job {word} has no schedule; give it one in jobs.toml or with `jobctl schedule add`"
                )
            return found
        name = word.removesuffix("#1")
        live = self.lives.get(name)
        job = name.partition("#")[0] if live is None else live.job
        found = []
        if job in self.config.jobs:
            found = [entry for entry in self.entries(job) if entry.name == name]
        why = self.unused.get(name) or self.refused.get(name)
        if not found and why:
            raise NotFoundError(
                f"live schedule {shown(name)} is not used: {why}; put that right, or remove it with "
                f"`jobctl schedule rm {shown(name)}`"
            )
        if not found:
            known = (*self.config.jobs, *(entry.name for entry in self.entries()))
            names = list(dict.fromkeys(known))
            raise NotFoundError(f"no schedule or job {shown(word)}{hint(word, names)}")
        return found

    def one(self, word: str) -> ScheduleEntry:
        """Return the one schedule that ``word`` stands for; raises ``UsageError`` when it is several."""
        found = self.find(word)
        if len(found) > 1:
            names = ", ".join(f"{word}#1" if entry.name == word else entry.name for entry in found)
            raise UsageError(f"job {word} has {len(found)} schedules: name one of {names}")
        return found[0]

    def is_own(self, name: str) -> bool:
        """Return whether a schedule is only in the store."""
        live = self.lives.get(name)
        return live is not None and live.own and name not in self.unused


class Standing:
    """How one schedule stands. Times are epoch seconds."""

    def __init__(
        self,
        entry: ScheduleEntry,
        facts: Mapping[str, str],
        newest: Sequence[Decision],
        *,
        now: float,
    ) -> None:
        self.entry = entry
        self.newest = newest
        """Newest decisions first."""
        self.last = _seconds(facts.get("last"))
        """The last decided instant, or when it became a schedule."""
        self.fired = int(facts.get("fired", "0"))
        """Runs it has made in all."""
        self.dropped = int(facts.get("cut", "0"))
        """Decisions that are not in its history."""
        self.once = "once" in facts
        """Its next instant makes no run."""
        until = _seconds(facts.get("on"))
        self.off = "off" in facts and (until is None or until > now)
        """It is switched off at run time."""
        self.off_until = until if self.off else None
        most = entry.definition.max_runs
        self.spent = most is not None and self.fired >= most
        self.ended = self._has_ended(now)
        """No instant is to come, nor one to be decided."""
        lags = [one.lag for one in newest if one.kind == "fire" and one.answer.startswith("ok")]
        self.lag = sum(lags) / len(lags) if lags else None
        """How long after their instants its runs that were in time were accepted, on average."""
        self.lag_most = max(lags) if lags else None
        self.next = self._next(now)

    @property
    def state(self) -> str:
        """Return one of six words, or ``on``.

        ``once`` (its next instant makes no run), ``off``, ``off in file``, ``spent`` (``max_runs``
        is reached), ``done`` (of ``@at``), ``over`` (``not_after`` has passed).
        """
        if not self.entry.active:
            return "off in file"
        if self.off:
            return "off"
        if self.spent:
            return "spent"
        if self.ended:
            return "done" if isinstance(self.entry.rule, AtRule) else "over"
        return "once" if self.once else "on"

    def _has_ended(self, now: float) -> bool:
        if isinstance(self.entry.rule, BootRule):
            return False
        last = datetime.fromtimestamp(now if self.last is None else self.last, UTC)
        return self.entry.next_after(last, anchor=last) is None

    def _next(self, now: float) -> float | None:
        """Return the next instant that is to make a run."""
        found = next(self.coming(now), None)
        return None if found is None else found.timestamp()

    def coming(self, after: float) -> Iterator[datetime]:
        """Yield the instants after a time that are to make runs, as things are."""
        entry = self.entry
        if not entry.active or self.spent or isinstance(entry.rule, BootRule):
            return
        if self.off and self.off_until is None:
            return
        begin = datetime.fromtimestamp(after, UTC)
        if self.off_until is not None:
            begin = max(begin, datetime.fromtimestamp(self.off_until - 0.001, UTC))
        anchor = datetime.fromtimestamp(after if self.last is None else self.last, UTC)
        most = entry.definition.max_runs
        left = None if most is None else most - self.fired
        at = entry.next_after(begin, anchor=anchor)
        if at is not None and self.once and not self.off:
            at = entry.next_after(at, anchor=anchor)
        while at is not None and left != 0:
            yield at
            left = None if left is None else left - 1
            at = entry.next_after(at, anchor=anchor)


def standings(
    session: Session, entries: Sequence[ScheduleEntry], *, newest: int = LAGS
) -> list[Standing]:
    """Return how schedules stand, with their newest decisions."""
    out: list[Standing] = []
    keys, now = session.keys, session.clock.epoch()
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        facts = session.run_many([queries.schedule(keys, entry.name) for entry in batch])
        told = session.run_many(
            [queries.schedule_history(keys, entry.name, newest=newest) for entry in batch]
        )
        out += [
            Standing(entry, one, lines, now=now)
            for entry, one, lines in zip(batch, facts, told, strict=True)
        ]
    return out


class Became(NamedTuple):
    """What became of a run that a schedule made."""

    state: str
    why: str
    """Why it did nothing; empty when it did something, or may still."""


def became(session: Session, row: Standing, ids: Sequence[str]) -> dict[str, Became]:
    """Return what became of runs of a schedule; nothing of those that are forgotten."""
    unique = list(dict.fromkeys(ids))
    job, own = row.entry.job, row.entry.definition.expires
    expires = job.expires if own is None else own
    found = session.run_many([pages.ending(session.keys, one) for one in unique]) if unique else []
    out: dict[str, Became] = {}
    for one, (letter, reason) in zip(unique, found, strict=True):
        if letter in LETTERS:
            state = LETTERS[letter].value
            out[one] = Became(state, ended(state, reason, job, expires=expires))
    return out


def outlook(session: Session, entries: Sequence[ScheduleEntry]) -> list[Fire]:
    """Return the next instant of each schedule that is to make a run, by when that starts."""
    keys, now = session.keys, session.clock.epoch()
    fires: list[Fire] = []
    for start in range(0, len(entries), BATCH):
        batch = entries[start : start + BATCH]
        facts = session.run_many([queries.schedule(keys, entry.name) for entry in batch])
        for entry, one in zip(batch, facts, strict=True):
            at = Standing(entry, one, (), now=now).next
            if at is not None:
                fires.append(Fire(entry, datetime.fromtimestamp(at, UTC)))
    return sorted(fires, key=lambda fire: fire.start)


def coming(session: Session, *, most: int) -> list[Fire]:
    """Return the next ``most`` instants, at most one of each schedule, that are to make a run.

    Of many schedules only the first ones are asked after: those that are switched off are left out.
    """
    now = session.clock.now()
    active = [entry for entry in Catalogue(session).entries() if entry.active]
    first = ((entry.next_after(now, anchor=now), entry) for entry in active)
    ahead = [(at, entry.name, entry) for at, entry in first if at is not None]
    nearest = heapq.nsmallest(AMONG + most, ahead)
    return outlook(session, [entry for *_, entry in nearest])[:most]


def _seconds(text: str | None) -> float | None:
    return None if not text else float(text) / 1000
