"""Many supervisors live through a year of a few seconds, on a real store, and are stopped and killed.

Time is a number that the driver sets: it always goes to the moment at which a supervisor wants to
tick next, or at which one is to start or stop. What is due at the same moment is done at the same
time, so the supervisors really meet in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobctl.clock import Clock
from jobctl.engine.identity import Identity
from jobctl.engine.scheduler import Scheduler
from jobctl.errors import JobctlError
from jobctl.model.rules import schedule_entries
from jobctl.store import queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from jobctl.model.config import Config
    from jobctl.model.rules import ScheduleEntry
    from jobctl.store.address import Address
    from jobctl.store.queries import Decision

DAY = 86_400.0
UP_MEAN = 9 * DAY
DOWN = ((0.02, 60.0), (120.0, 1800.0), (3600.0, 40_000.0), (DAY, 4 * DAY))
"""Shortest and longest of a few sorts of stops, in seconds."""
KILLED = 400
"""One of so many ticks that ask the store is cut off in the middle, as by ``kill -9``."""
KNOWN_ALIVE = 30.0
"""Seconds that others count a dead supervisor among their peers."""
SKEW = 0.1
"""Seconds by which the clocks of hosts differ from the true time, at most."""


class HostClock(Clock):
    """The clock of one host: the driver's time and a constant error."""

    def __init__(self, world: World, skew: float) -> None:
        self._world = world
        self._skew = skew

    def epoch(self) -> float:
        return self._world.now + self._skew

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch(), UTC)

    def monotonic(self) -> float:
        return self._world.now

    def boottime(self) -> float:
        return self._world.now


@dataclass
class Host:
    """One supervisor of the simulation, up or down."""

    id: str
    clock: HostClock
    scheduler: Scheduler | None = None
    store: AsyncStore | None = None
    up_since: float = 0.0
    down_since: float = 0.0
    turn: int = 0
    """Grows when its plans change, so that an old one is known."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When it was up."""

    @property
    def up(self) -> bool:
        return self.scheduler is not None


@dataclass
class Record:
    """What the store was found to hold in the end."""

    decisions: dict[str, list[Decision]] = field(default_factory=dict)
    """Schedule to every decision it ever listed, oldest first."""
    runs: dict[str, list[float]] = field(default_factory=dict)
    """Schedule (by its job) to the scheduled instants of its runs, in the order they were queued."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When each supervisor was up."""
    stops: int = 0
    kills: int = 0
    ticks: int = 0


class World:
    """A store, a few supervisors, and the time. All times are epoch seconds."""

    def __init__(
        self,
        address: Address,
        config: Config,
        *,
        hosts: int,
        start: float,
        end: float,
        outages: list[tuple[float, float]],
        seed: int,
    ) -> None:
        """During ``outages`` all supervisors are down."""
        self.now = start
        self._address = address
        self._config = config
        self._keys = Keys(config.settings.namespace)
        self._end = end
        self._outages = sorted(outages)
        self._random = random.Random(seed)
        self._hosts = [
            Host(f"s{number}", HostClock(self, self._random.uniform(-SKEW, SKEW)))
            for number in range(hosts)
        ]
        self._plans: list[tuple[float, int, str, str, int]] = []
        self._order = 0
        self._record = Record()

    async def live(self) -> Record:
        """Go through the whole time; return what happened."""
        self._looker = AsyncStore(self._address, timeout=60.0)
        await self._begin_at(self.now)
        for host in self._hosts:
            self._plan(self.now, "start", host)
        for begin, _ in self._outages:
            self._plan(begin, "outage")
        self._plan(self.now + DAY, "look")
        while self._plans and self._plans[0][0] < self._end:
            await self._step()
        await self._finish()
        return self._record

    async def _begin_at(self, start: float) -> None:
        """Let all schedules have been decided up to ``start``."""
        ms = round(start * 1000)
        calls = [
            Call(("HSET", self._keys.schedule(one.name), "gen", one.generation, "last", ms), bool)
            for one in self._entries()
        ]
        await self._looker.run_many(calls)

    def _entries(self) -> list[ScheduleEntry]:
        return schedule_entries(self._config, host="h", timezone="UTC")

    def _plan(self, at: float, what: str, host: Host | None = None) -> None:
        self._order += 1
        turn = 0 if host is None else host.turn
        heapq.heappush(self._plans, (at, self._order, what, "" if host is None else host.id, turn))

    async def _step(self) -> None:
        """Do everything that is planned for the earliest moment."""
        self.now = at = self._plans[0][0]
        ticking: list[Host] = []
        while self._plans and self._plans[0][0] <= at:
            _, _, what, name, turn = heapq.heappop(self._plans)
            host = next((one for one in self._hosts if one.id == name), None)
            if host is None:
                await (self._look() if what == "look" else self._outage())
            elif turn == host.turn:
                if what == "tick":
                    ticking.append(host)
                elif what == "start":
                    self._start(host)
                else:
                    await self._stop(host, self._pause())
        await asyncio.gather(*(self._tick(host) for host in ticking))

    def _pause(self) -> float:
        return self._random.uniform(*self._random.choice(DOWN))

    def _start(self, host: Host) -> None:
        host.store = AsyncStore(self._address, timeout=60.0)
        host.scheduler = Scheduler(
            host.store,
            self._keys,
            Identity(
                supervisor=host.id, host=host.id, timezone="UTC", boot_id="boot", start_id=host.id
            ),
            peers=self._peers,
            clock=host.clock,
        )
        host.scheduler.configure(self._config)
        host.up_since = self.now
        host.turn += 1
        self._plan(self.now, "tick", host)
        self._plan(self.now + self._random.expovariate(1 / UP_MEAN), "stop", host)

    def _peers(self) -> list[str]:
        return [one.id for one in self._hosts if one.up or self.now - one.down_since < KNOWN_ALIVE]

    async def _stop(self, host: Host, pause: float) -> None:
        if host.store is not None:
            await host.store.close()
            host.spans.append((host.up_since, self.now))
            self._record.stops += 1
        host.store = host.scheduler = None
        host.down_since = self.now
        host.turn += 1
        self._plan(self.now + pause, "start", host)

    async def _outage(self) -> None:
        begin, end = self._outages.pop(0)
        for host in self._hosts:
            await self._stop(host, end - begin + self._random.uniform(0.0, 90.0))

    async def _tick(self, host: Host) -> None:
        assert host.scheduler is not None
        self._record.ticks += 1
        task = asyncio.ensure_future(host.scheduler.tick())
        if self._random.randrange(KILLED) == 0:
            for _ in range(self._random.randrange(1, 30)):
                await asyncio.sleep(0)
            if not task.done():
                assert host.store is not None
                host.store.drop()
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, JobctlError):
                    await task
                self._record.kills += 1
                await self._stop(host, self._pause())
                return
        pause = await task
        self._plan(self.now + max(pause, 0.001), "tick", host)

    async def _look(self) -> None:
        """Take note of what was decided since the last look, and take it out of the store."""
        names = [entry.name for entry in self._entries()]
        history = [queries.schedule_history(self._keys, name, newest=200) for name in names]
        for name, found in zip(names, await self._looker.run_many(history), strict=True):
            self._record.decisions.setdefault(name, []).extend(found[::-1])
        queue = self._keys.queue("default", 5)
        ids = await self._looker.run(
            Call(("LRANGE", queue, 0, -1), lambda reply: [one.decode() for one in reply])  # type: ignore[attr-defined]
        )
        for run in await self._looker.run_many([queries.run(self._keys, one) for one in ids]):
            assert run is not None
            assert run.request.scheduled_at is not None
            self._record.runs.setdefault(run.request.job, []).append(run.request.scheduled_at)
        gone = [queue, *(self._keys.run(one) for one in ids)]
        gone += [self._keys.schedule_history(name) for name in names]
        await self._looker.run(Call(("UNLINK", *gone), int))  # type: ignore[arg-type]
        self._plan(self.now + DAY, "look")

    async def _finish(self) -> None:
        self.now = self._end
        for host in self._hosts:
            if host.up:
                host.spans.append((host.up_since, self.now))
            if host.store is not None:
                await host.store.close()
        await self._look()
        await self._looker.close()
        self._record.spans = sorted(span for host in self._hosts for span in host.spans)
