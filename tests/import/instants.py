"""The instants of an original line, by the reference evaluator, and of what was written for it."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from jobctl.model.schedule import parse_rule
from tests.model.cron_reference import DAY, MINUTE, Reference, walls_of

if TYPE_CHECKING:
    from collections.abc import Iterable

START = datetime(2025, 3, 20, 12, 0, 30, tzinfo=UTC)
"""Ten days before clocks change in Europe."""
NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip


def of_the_line(expression: str, zone: str, count: int) -> list[datetime]:
    """Return the first instants after START that the reference evaluator finds, day by day."""
    reference = Reference(NICKNAMES.get(expression, expression))
    where = ZoneInfo(zone)
    day = START.date() - DAY
    found: list[datetime] = []
    while len(found) < count:
        if reference.day(day):
            begin, walls = around(day, where)
            instants = [
                begin + at * MINUTE for at in reference.fires(walls) if walls[at].date() == day
            ]
            found += [instant for instant in instants if instant > START]
        day += DAY
    return found[:count]


@cache
def around(day: date, zone: ZoneInfo) -> tuple[datetime, list[datetime]]:
    """Return the wall times of a day with some before and after, and when the first of them is."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    return begin, walls_of(zone, begin, begin + timedelta(hours=54), MINUTE)


def of_the_job(job: dict[str, Any], zone: str, count: int, *, name: str = "") -> list[datetime]:
    """Return the first instants after START of a job of jobs.toml, all its schedules together."""
    schedules = job.get("schedule", [])
    texts = [schedules] if isinstance(schedules, str) else schedules
    rules = [parse_rule(text, timezone=job.get("timezone", zone), hash_key=name) for text in texts]
    rules += [
        parse_rule(table["schedule"], timezone=table.get("timezone", job.get("timezone", zone)))
        for table in job.get("schedules", [])
    ]
    return merged(rules, count)


def merged(rules: Iterable[Any], count: int) -> list[datetime]:
    rules = list(rules)
    found: list[datetime] = []
    at = START
    while len(found) < count:
        following = [when for rule in rules if (when := rule.next_after(at, anchor=START))]
        if not following:
            break
        at = min(following)
        found.append(at)
    return found


def by_systemd(expression: str, count: int = 25) -> list[datetime]:
    """Return the instants after START that ``systemd-analyze`` prints."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={START:%F %T} UTC", expression],
        capture_output=True, text=True, check=True, timeout=30,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    found = re.findall(
        r"(?:Next elapse|Iter(?:ation|\.) #\d+|\(in UTC\)): \w+ (\S+ \S+) (\w+)", done.stdout
    )
    return [
        datetime.fromisoformat(text).replace(tzinfo=UTC) for text, zone in found if zone == "UTC"
    ]
