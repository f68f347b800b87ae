"""Other evaluators of schedules, asked the same question as ours, and readings of the rules.

A :class:`Reading` is the brute-force reference with some rules replaced by those of a peer. When
a peer's answer differs from ours and a reading gives it exactly, that reading is the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import warnings
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from croniter import CroniterError, croniter
from cronsim import CronSim, CronSimError

from tests.model.cron_reference import (
    CORRECTION,
    WEEKDAYS,
    Reference,
    date_term,
    plain,
    weekday_term,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.model.cron_cases import Case

MOST = 5
"""So many instants are compared."""
NOTHING = timedelta(0)
DAY = timedelta(days=1)


class RefusedError(Exception):
    """A peer does not take the expression."""


def ask_cronsim(case: Case) -> list[datetime]:
    try:
        peer = CronSim(case.text, case.start.astimezone(case.zone))
    except CronSimError as error:
        raise RefusedError(str(error)) from error
    return gather(case, iter(peer))


def ask_croniter(case: Case) -> list[datetime]:
    start = case.start.astimezone(case.zone)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer = croniter(case.text, start, ret_type=datetime, second_at_beginning=True)
    except CroniterError as error:
        raise RefusedError(str(error)) from error
    return gather(case, croniter_instants(peer))


def croniter_instants(peer: croniter) -> Iterator[datetime]:
    while True:
        try:
            yield peer.get_next()
        except CroniterError:  # It gives up the search.
            return


def gather(case: Case, peer: Iterator[datetime]) -> list[datetime]:
    """Return the first instants within the case's window."""
    found: list[datetime] = []
    for moment in peer:
        instant = moment.astimezone(UTC)
        if instant >= case.end or len(found) == MOST:
            break
        found.append(instant)
    return found


def ask_systemd(case: Case) -> list[datetime]:
    spec = f"{on_calendar(case.text)} {case.zone.key}"
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={MOST}",
         f"--base-time=@{int(case.start.timestamp())}", spec],
        capture_output=True, text=True, check=False, timeout=30,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": os.defpath},
    )  # fmt: skip
    if done.returncode:
        raise RefusedError(done.stderr.strip())
    found = re.findall(
        r"(?:Next elapse|Iter\. #\d+): \w+ (\d+-\d+-\d+ \d+:\d+:\d+) UTC", done.stdout
    )
    moments = [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in found]
    return gather(case, iter(moments))


def on_calendar(text: str) -> str:
    """Return a cron expression as OnCalendar, with its values written out."""
    words = text.lower().split()
    second, minute, hour, dom, month, dow = words if len(words) == 6 else ["0", *words]
    if re.search("w", dom) or ("l" in dom and dom != "l") or re.search("[#l]", dow):
        raise RefusedError("no such form")
    days = "~1" if dom == "l" else "-" + values(dom, 1, 31)
    weekdays = "" if dow in ("*", "?") else ",".join(WEEKDAYS[n] for n in weekday_values(dow)) + " "
    months = values(month, 1, 12, MONTH_NAMES)
    return f"{weekdays}*-{months}{days} {values(hour, 0, 23)}:{values(minute, 0, 59)}:{values(second, 0, 59)}"


MONTH_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def values(text: str, low: int, high: int, names: list[str] | None = None) -> str:
    found = plain(text, low, high, names)
    return "*" if len(found) == high - low + 1 else ",".join(map(str, sorted(found)))


def weekday_values(text: str) -> list[int]:
    week = [date(2021, 8, 1) + n * DAY for n in range(7)]  # a Sunday first
    reference = Reference(f"0 0 * * {text}")
    return [number for number, day in enumerate(week) if reference.day(day)]


class Reading(Reference):
    """The reference with other rules; the defaults are ours."""

    def __init__(
        self, text: str, *, days: str = "", gap: str = "fixed", fold: str = "fixed",
        limit: timedelta = CORRECTION,
    ) -> None:  # fmt: skip
        super().__init__(text)
        self.days = days
        self.gap = gap
        self.fold = fold
        self.limit = limit
        self.day = cache(self._day)

    def _day(self, day: date) -> bool:
        if not self.days:
            return super()._day(day)
        if day.month not in self.months:
            return False
        by_date = any(date_term(term, day) for term in self.dom.split(","))
        by_weekday = any(weekday_term(term, day) for term in self.dow.split(","))
        if self.days in ("date", "weekday"):
            return by_date if self.days == "date" else by_weekday
        if self.days == "and" or full(self.dom, date_term) or full(self.dow, weekday_term):
            return by_date and by_weekday
        return by_date or by_weekday

    def fires(self, walls: list[datetime]) -> list[int]:
        return list(self.firing(walls))

    def firing(self, walls: list[datetime]) -> Iterator[int]:
        """Yield the positions that fire, so that nobody walks further than he needs to."""
        floor = datetime.min  # noqa: DTZ901 (a wall time)
        previous = walls[0]
        for position, wall in enumerate(walls):
            jump = wall - previous - self.unit if position else NOTHING
            fire = self.matches(wall)
            if NOTHING < jump <= self.limit and self._rule(self.gap):
                skipped = previous + self.unit
                while skipped < wall and not fire:
                    fire = self.matches(skipped)
                    skipped += self.unit
            if jump < NOTHING and -jump <= self.limit and self._rule(self.fold):
                floor = previous + self.unit
            if fire and wall >= floor and position:
                yield position
            previous = wall

    def _rule(self, which: str) -> bool:
        return which == "all" or (which == "fixed" and self.fixed)


@cache
def full(field: str, term_matches: Callable[[str, date], bool]) -> bool:
    """Tell whether a day field names every day there is."""
    days = [date(2021, 8, 1) + n * DAY for n in range(31)]
    return all(any(term_matches(term, day) for term in field.split(",")) for day in days)
