"""Which of a schedule's undecided instants run, which are made up for, and which are let go.

Pure: from (rule, cursor, now, policy) to a plan. Suspend, downtime and a stalled supervisor are
all the same to it. The work is bounded by what the plan lists, not by how long the host was away.
"""

from __future__ import annotations

from datetime import timedelta

from jobctl.model.frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Protocol

    class Instants(Protocol):
        """A rule, or a schedule with its window."""

        def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
            """Return the first instant strictly after ``after``."""

        def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
            """Return how many instants lie in (after, until]."""


TOLERANCE = 300.0
"""Seconds; a fire no later than this simply happens, a later one was missed."""
GRACE = 1.0
"""Seconds; a fire later than this is told to be late."""
CORRECTION = 3 * 3600.0
"""Seconds; a clock that was set back further is believed, and the cursor is not (cron(8))."""
LISTED = 200
"""Missed instants named one by one; older ones are only counted."""
_TICK = timedelta(microseconds=1)


class Due(Frozen):
    """One undecided instant and what becomes of it.

    ``kind`` is ``fire``, ``late`` (fires, but not in time), ``catchup`` (made up for) or
    ``missed`` (let go).
    """

    __slots__ = ("instant", "kind")

    instant: datetime
    kind: str

    def __init__(self, instant: datetime, kind: str) -> None:
        self._fill(instant, kind)


class Plan(Frozen):
    """What to do now, and when to look again.

    ``due`` is ascending, its instants distinct; ``upcoming`` is the next instant after now, or
    None; ``unlisted`` counts older missed instants that are not in ``due``.
    """

    __slots__ = ("due", "unlisted", "upcoming")

    due: tuple[Due, ...]
    unlisted: int
    upcoming: datetime | None

    def __init__(self, due: tuple[Due, ...], *, unlisted: int, upcoming: datetime | None) -> None:
        self._fill(due, unlisted, upcoming)


def plan_due(
    rule: Instants,
    *,
    last: datetime,
    now: datetime,
    missed: str,
    catchup_window: float,
    catchup_max: int,
    tolerance: float = TOLERANCE,
    grace: float = GRACE,
) -> Plan:
    """Decide every instant in (last, now].

    ``last`` is the last decided instant, or when the schedule was created or enabled. Instants
    at most ``tolerance`` seconds old fire. Older ones follow ``missed``: ``skip`` lets them go,
    ``once`` makes up for the newest, ``all`` for the newest ``catchup_max``; neither reaches
    back further than ``catchup_window`` seconds.

    A clock set back by up to three hours repeats nothing; set back further, it is believed, and
    the schedule goes on from now.
    """
    if (last - now).total_seconds() > CORRECTION:
        last = now
    first = rule.next_after(last, anchor=last)
    if first is None or first > now or last >= now:
        return Plan((), unlisted=0, upcoming=first)
    # An instant exactly as old as the tolerance still fires.
    edge = max(last, now - timedelta(seconds=tolerance) - _TICK)
    recent, upcoming = _instants(
        rule,
        first if first > edge else rule.next_after(edge, anchor=last),
        until=now,
        anchor=last,
    )
    fires = [Due(at, "late" if (now - at).total_seconds() > grace else "fire") for at in recent]
    if first > edge:
        # As nearly always: nothing is overdue, and counting it would cost more than all the rest.
        return Plan(tuple(fires), unlisted=0, upcoming=upcoming)
    older_until = fires[0].instant - _TICK if fires else now
    older, unlisted = _newest(
        rule, after=last, until=older_until, wanted=LISTED + max(catchup_max, 1), anchor=last
    )
    allowed = {"skip": 0, "once": 1, "all": catchup_max}[missed]
    made_up = [at for at in older if (now - at).total_seconds() <= catchup_window]
    made_up = made_up[-allowed:] if allowed else []
    let_go = older[: len(older) - len(made_up)]
    unlisted += max(len(let_go) - LISTED, 0)
    due = [Due(at, "missed") for at in let_go[-LISTED:]]
    due += [Due(at, "catchup") for at in made_up]
    return Plan(tuple(due + fires), unlisted=unlisted, upcoming=upcoming)


def _instants(
    rule: Instants, at: datetime | None, *, until: datetime, anchor: datetime
) -> tuple[list[datetime], datetime | None]:
    """Return the instants from ``at`` to ``until``, and the one after that."""
    found: list[datetime] = []
    while at is not None and at <= until:
        found.append(at)
        at = rule.next_after(at, anchor=anchor)
    return found, at


def _newest(
    rule: Instants, *, after: datetime, until: datetime, wanted: int, anchor: datetime
) -> tuple[list[datetime], int]:
    """Return the newest ``wanted`` instants of (after, until], ascending, and how many more there are."""
    total = rule.count(after, until, anchor=anchor) if after < until else 0
    if not total:
        return [], 0
    if total > wanted:
        after = _start_of_newest(rule, after=after, until=until, wanted=wanted, anchor=anchor)
    found, _ = _instants(rule, rule.next_after(after, anchor=anchor), until=until, anchor=anchor)
    return found, max(total - wanted, 0)


def _start_of_newest(
    rule: Instants, *, after: datetime, until: datetime, wanted: int, anchor: datetime
) -> datetime:
    """Return a moment after which exactly ``wanted`` instants follow until ``until``.

    Counting is cheap, so the span is doubled until it holds enough and then halved to fit.
    """
    span = timedelta(seconds=wanted)
    whole = until - after
    while span < whole and rule.count(until - span, until, anchor=anchor) < wanted:
        span *= 2
    low, high = until - min(span, whole), until  # after low come at least `wanted`, after high none
    while True:
        middle = low + (high - low) / 2
        count = rule.count(middle, until, anchor=anchor)
        if count == wanted:
            return middle
        low, high = (middle, high) if count > wanted else (low, middle)
