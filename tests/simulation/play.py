"""One simulation: which schedules, which stops, and what is said of it in the end."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, Missed, Overlap, ScheduleDef
from tests.simulation.judge import Judge, changes, instants_of, walls
from tests.simulation.year import World

if TYPE_CHECKING:
    from jobctl.store.address import Address
    from tests.simulation.judge import Verdict
    from tests.simulation.year import Record

ZONES = (
    "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Cairo",
    "Asia/Beirut", "America/Santiago", "Pacific/Chatham", "Africa/Casablanca", "America/Havana",
)  # fmt: skip
RULES = (
    "0 0 * * *", "15 0 * * *", "45 1 * * *", "30 2 * * *", "0 3 * * *", "59 23 * * *",
    "0 0-23/3 * * *", "10 2,3 L * *", "20 2 * * sun", "5 0 1,15 * fri", "30 0 * * fri#1",
    "0 * * * *", "*/20 1-3 * * *", "30 */2 * * *", "*/15 0 * * 6,0",
    "@every 7h", "@every 25h",
)  # fmt: skip
"""Fixed times that clocks skip and repeat, wall-clock rules, and intervals blind to both."""
POLICIES = (Missed.SKIP, Missed.ONCE, Missed.ALL)
CATCHUP_MAX = 5
AROUND = 6 * 3600.0
"""Seconds before and after a change of clocks that an outage may begin and last."""


class Play:
    """A simulation from its seed to its verdict."""

    def __init__(
        self,
        *,
        start: datetime,
        end: datetime,
        zones: tuple[str, ...] = ZONES,
        rules: tuple[str, ...] = RULES,
        drawn: int = 4,
        hosts: int = 3,
        seed: int = 0,
    ) -> None:
        """``drawn`` is how many random rules each zone gets besides ``rules``."""
        self.start, self.end = start.timestamp(), end.timestamp()
        self.zones = zones
        self.hosts = hosts
        self.seed = seed
        self._random = random.Random(seed)
        self.changes = {
            zone: changes(ZoneInfo(zone), start=self.start, end=self.end) for zone in zones
        }
        self.jobs = self._jobs(rules, drawn)
        self.record: Record
        self.took = 0.0

    def _jobs(self, rules: tuple[str, ...], drawn: int) -> dict[str, JobDef]:
        jobs: dict[str, JobDef] = {}
        for zone in self.zones:
            for rule in (*rules, *(self._rule() for _ in range(drawn))):
                name = f"j{len(jobs)}"
                jobs[name] = JobDef(
                    name=name,
                    command="true",
                    timezone=zone,
                    schedules=(ScheduleDef(name=name, rule=rule),),
                    missed=POLICIES[len(jobs) % len(POLICIES)],
                    catchup_max=CATCHUP_MAX,
                    overlap=Overlap.ALLOW,
                )
        return jobs

    def _rule(self) -> str:
        """Return a random rule that is busy in the first hours of the day."""
        pick = self._random
        minute = pick.choice(
            (str(pick.randrange(60)), f"{pick.randrange(30)},{pick.randrange(30, 60)}")
        )
        hour = pick.choice(("0", "1", "2", "3", "0-3", "1,2", "2-4/2", "*/3", "23"))
        day = pick.choice(("*", "*", "*/2", "1-15", "L", "15W"))
        weekday = pick.choice(("*", "*", "sun", "1-5", "sat,sun"))
        return f"{minute} {hour} {day} * {weekday}"

    def outages(self) -> list[tuple[float, float]]:
        """Return outages of all hosts over about half of the changes of clocks."""
        found: list[tuple[float, float]] = []
        for at in sorted(at for zone in self.changes.values() for at in zone):
            begin = at - self._random.uniform(60.0, AROUND)
            if self._random.random() < 0.5 and begin > max(
                [self.start, *(end for _, end in found)]
            ):
                found.append((begin, at + self._random.uniform(60.0, AROUND)))
        return found

    def go(self, address: Address) -> Verdict:
        """Live through it and judge it. The store's keys of its namespace must be its own."""
        began = time.monotonic()
        settings = Settings(namespace=f"year-{self.seed}", redis=str(address))
        world = World(
            address,
            Config(settings=settings, jobs=self.jobs),
            hosts=self.hosts,
            start=self.start,
            end=self.end,
            outages=self.outages(),
            seed=self.seed,
        )
        self.record = asyncio.run(world.live())
        verdict = self._judge()
        self.took = time.monotonic() - began
        return verdict

    def _judge(self) -> Verdict:
        # What comes due in the last moments may be undecided when the time is over.
        until = min(self.end, max(end for _, end in self.record.spans)) - 2.0
        judge = Judge(self.record, until=until)
        for zone in self.zones:
            minutes, begin = walls(ZoneInfo(zone), start=self.start, end=self.end)
            for name, job in self.jobs.items():
                if job.timezone == zone:
                    rule = job.schedules[0].rule
                    expected = instants_of(rule, minutes, begin, start=self.start, end=until)
                    judge.schedule(name, expected, missed=job.missed.value, most=job.catchup_max)
        return judge.verdict

    def summary(self, verdict: Verdict) -> str:
        """Return what happened, in lines for people."""
        record = self.record
        kinds = ", ".join(f"{verdict.kinds[kind]:,} {word}" for kind, word in (
            ("fire", "fired"), ("late", "late"), ("catchup", "caught up"), ("missed", "missed"),
        ))  # fmt: skip
        ends = ", ".join(f"{at:,} {what}" for at, what in (
            (record.stops, "stops"), (record.kills, "of them kills in the middle of a tick"),
            (record.ticks, "ticks"),
        ))  # fmt: skip
        lines = [
            f"{_day(self.start)} to {_day(self.end)}, seed {self.seed}:",
            f"  {self.hosts} supervisors, {len(self.jobs)} schedules in {len(self.zones)} zones",
            *(
                f"  {zone:<20} clocks change {', '.join(map(_minute, at)) or 'never'}"
                for zone, at in self.changes.items()
            ),
            f"  {ends}",
            f"  {verdict.instants:,} instants by the reference evaluator; decided: {kinds}",
            f"  runs in the store: {sum(map(len, record.runs.values())):,}",
            f"  kind checked for {verdict.judged:,} instants",
            f"  wrong: {len(verdict.wrong)}   [{self.took:.0f} s]",
        ]
        return "\n".join([*lines, *(f"  ! {line}" for line in verdict.wrong[:20])])


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def _minute(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%MZ}"
