"""What must have become of every instant of the year, worked out without the product's help."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.model.cron_reference import MINUTE, Reference, walls_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from tests.simulation.year import Record

TOLERANCE = 300.0
WINDOW = 86_400.0
SETTLED = 1.5
"""Seconds within which supervisors that stay up have decided an instant, whoever was first."""
SLACK = 2.0
"""Seconds around a border within which either side of it is right."""


def instants_of(
    rule: str, walls: list[datetime], begin: datetime, *, start: float, end: float
) -> list[float]:
    """Return the instants of a rule in (start, end], by the walk over every minute.

    ``walls`` are the wall times of the minutes from ``begin``, which is some hours before.
    """
    if rule.startswith("@every"):
        step = float(rule.removeprefix("@every").strip().removesuffix("h")) * 3600
        return [start + step * (n + 1) for n in range(int((end - start) // step))]
    found = (begin.timestamp() + 60.0 * position for position in Reference(rule).fires(walls))
    return [at for at in found if start < at <= end]


def walls(zone: ZoneInfo, *, start: float, end: float) -> tuple[list[datetime], datetime]:
    """Return the wall time of every minute from some hours before ``start``, and when they begin."""
    begin = datetime.fromtimestamp(start, UTC) - timedelta(hours=6)
    return walls_of(zone, begin, datetime.fromtimestamp(end, UTC) + MINUTE, MINUTE), begin


def changes(zone: ZoneInfo, *, start: float, end: float) -> list[float]:
    """Return when the zone's offset changes, to the minute."""
    found = []
    at = datetime.fromtimestamp(start, UTC)
    offset = at.astimezone(zone).utcoffset()
    while at.timestamp() < end:
        at += MINUTE
        if at.astimezone(zone).utcoffset() != offset:
            offset = at.astimezone(zone).utcoffset()
            found.append(at.timestamp())
    return found


@dataclass
class Verdict:
    """What was wrong, and a count of what was right."""

    wrong: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    instants: int = 0
    judged: int = 0
    """Instants of which it is known what had to become of them, not only that it was decided."""


class Judge:
    """Judges one schedule after the other."""

    def __init__(self, record: Record, *, until: float) -> None:
        """Judge what is due up to ``until``, an epoch second."""
        self._record = record
        self._until = until
        self._spans = record.spans
        self.verdict = Verdict()

    def schedule(self, name: str, expected: list[float], *, missed: str, most: int) -> None:
        """Compare what became of a schedule with what had to."""
        verdict = self.verdict
        decisions = [
            one for one in self._record.decisions.get(name, []) if one.instant <= self._until
        ]
        runs = [at for at in self._record.runs.get(name, []) if at <= self._until]
        decided = [one.instant for one in decisions]
        verdict.instants += len(expected)
        verdict.kinds.update(one.kind for one in decisions)
        doubled = [at for at, count in Counter(decided).items() if count > 1]
        for what, found in (
            ("was decided more than once", doubled),
            ("was never decided", sorted(set(expected) - set(decided))),
            ("was decided and is no instant", sorted(set(decided) - set(expected))),
        ):
            verdict.wrong += [f"{name}: {_shown(at)} {what}" for at in found]
        if decided != sorted(decided):
            verdict.wrong.append(f"{name}: decisions are out of order")
        accepted = [one.instant for one in decisions if one.answer == "ok"]
        if accepted != runs:
            verdict.wrong.append(f"{name}: its runs are not those of its decisions")
        if any((one.kind == "missed") == (one.answer == "ok") for one in decisions):
            verdict.wrong.append(f"{name}: a decision that does not fit its answer")
        self._outcomes(name, expected, {one.instant: one.kind for one in decisions}, missed, most)

    def _outcomes(
        self, name: str, expected: list[float], kinds: dict[float, str], missed: str, most: int
    ) -> None:
        """Compare kinds: fires while somebody was up, and what the policy says otherwise."""
        outages: dict[float, list[float]] = {}
        for at in expected:
            earliest, latest = self._earliest(at), self._latest(at)
            if latest is None or earliest is None:
                continue
            if latest - at <= TOLERANCE:
                self._must(name, at, kinds, ("fire", "late"))
            elif earliest - at > TOLERANCE + SLACK and latest - earliest < SETTLED + SLACK:
                outages.setdefault(earliest, []).append(at)
        for back, instants in outages.items():
            within = [at for at in instants if back - at <= WINDOW]
            if any(abs(back - at - WINDOW) < SLACK for at in instants):
                continue
            allowed = {"skip": 0, "once": 1, "all": most}[missed]
            made_up = set(within[-allowed:] if allowed else [])
            for at in instants:
                self._must(name, at, kinds, ("catchup",) if at in made_up else ("missed",))

    def _must(self, name: str, at: float, kinds: dict[float, str], wanted: tuple[str, ...]) -> None:
        self.verdict.judged += 1
        if kinds.get(at) not in wanted:
            self.verdict.wrong.append(
                f"{name}: {_shown(at)} is {kinds.get(at)}, not {' or '.join(wanted)}"
            )

    def _earliest(self, at: float) -> float | None:
        """Return the first moment from ``at`` at which somebody was up, whatever his clock said."""
        found = [max(begin, at) for begin, end in self._near(at - SLACK) if end > at - SLACK]
        return min(found, default=None)

    def _latest(self, at: float) -> float | None:
        """Return the moment by which somebody must have decided ``at``."""
        found = [max(begin, at) for begin, end in self._near(at) if end - max(begin, at) > SETTLED]
        first = min(found, default=None)
        return None if first is None else first + SETTLED

    def _near(self, at: float) -> list[tuple[float, float]]:
        if not hasattr(self, "_index"):
            # The last end so far grows, so spans that are over can be skipped by halving.
            ends: list[float] = []
            for _, end in self._spans:
                ends.append(max(end, ends[-1] if ends else end))
            self._index = ends
        first = bisect_left(self._index, at)
        return self._spans[first : first + 60]


def _shown(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"
