"""The scheduler against a real store, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from clockwork import an_identity

from jobctl.clock import Clock
from jobctl.engine.scheduler import Scheduler
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, Missed, Overlap, ScheduleDef
from jobctl.model.rules import schedule_entries
from jobctl.store import outbox, queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore
    from jobctl.store.queries import Decision

NOON = datetime(2021, 6, 1, 12, 0, tzinfo=UTC)


class SetClock(Clock):
    """A clock that stands until it is set."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def epoch(self) -> float:
        return self.at.timestamp()

    def monotonic(self) -> float:
        return self.at.timestamp()


def a_config(rule: str, **keys: object) -> Config:
    job = JobDef(
        name="j",
        command="true",
        schedules=(ScheduleDef(name="j", rule=rule),),
        timezone="UTC",
        **keys,  # type: ignore[arg-type]
    )
    return Config(settings=Settings(namespace=f"sched-{id(job)}"), jobs={"j": job})


class World:
    """A namespace in which the schedule was last decided at a given instant."""

    def __init__(self, store: BlockingStore, server: EmbeddedStore, config: Config) -> None:
        self.store = store
        self.server = server
        self.config = config
        self.keys = Keys(config.settings.namespace)

    def decided(self, last: datetime) -> None:
        (entry,) = schedule_entries(self.config, host="h", timezone="UTC")
        ms = round(last.timestamp() * 1000)
        key = self.keys.schedule("j")
        self.store.run(Call(("HSET", key, "gen", entry.generation, "last", ms), bool))

    async def tick(self, clock: SetClock, *, supervisors: int = 1) -> None:
        """Let supervisors look at their clocks, all at once."""
        stores = [AsyncStore(self.server.address) for _ in range(supervisors)]
        schedulers = [
            Scheduler(
                store,
                self.keys,
                an_identity(f"s{number}"),
                peers=list,
                clock=clock,
            )
            for number, store in enumerate(stores)
        ]
        for scheduler in schedulers:
            scheduler.configure(self.config)
        await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
        for store in stores:
            await store.close()

    def decisions(self) -> list[Decision]:
        return self.store.run(queries.schedule_history(self.keys, "j", newest=200))[::-1]

    def kinds(self) -> list[tuple[str, str]]:
        """What was decided, oldest first, as (time of day, kind)."""
        return [
            (f"{datetime.fromtimestamp(d.instant, UTC):%H:%M}", d.kind) for d in self.decisions()
        ]

    def queued(self) -> int:
        return self.store.run(queries.ready_length(self.keys, "default", 5))


@pytest.fixture
def world(store: BlockingStore, server: EmbeddedStore):
    def make(rule: str, **keys: object) -> World:
        return World(store, server, a_config(rule, **keys))

    return make


def test_due_instant_fires_and_is_written_down(world) -> None:
    here = world("*/10 * * * *")
    here.decided(NOON)

    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=10, milliseconds=20))))

    assert here.kinds() == [("12:10", "fire")]
    assert here.queued() == 1


def test_nothing_fires_early(world) -> None:
    here = world("*/10 * * * *")
    here.decided(NOON)

    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=9, seconds=59))))

    assert here.kinds() == []


@pytest.mark.parametrize(
    ("missed", "kinds", "runs"),
    [
        (
            Missed.SKIP,
            [("12:10", "missed"), ("12:20", "missed"), ("12:30", "missed"), ("12:40", "fire")],
            1,
        ),
        (
            Missed.ONCE,
            [("12:10", "missed"), ("12:20", "missed"), ("12:30", "catchup"), ("12:40", "fire")],
            2,
        ),
        (
            Missed.ALL,
            [("12:10", "catchup"), ("12:20", "catchup"), ("12:30", "catchup"), ("12:40", "fire")],
            4,
        ),
    ],
)
def test_missed_instants_follow_the_policy(world, missed: Missed, kinds: object, runs: int) -> None:
    here = world("*/10 * * * *", missed=missed, overlap=Overlap.ALLOW)
    here.decided(NOON)

    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=40, milliseconds=5))))

    assert here.kinds() == kinds
    assert here.queued() == runs


def test_each_instant_is_decided_once_by_many_supervisors(world) -> None:
    here = world("* * * * *", missed=Missed.ALL, overlap=Overlap.ALLOW)
    here.decided(NOON)

    for minute in range(1, 31):
        clock = SetClock(NOON + timedelta(minutes=minute, milliseconds=minute))
        asyncio.run(here.tick(clock, supervisors=4))

    assert len(here.decisions()) == 30
    assert here.queued() == 30


def test_two_instants_of_an_overlapping_job_give_one_run_and_one_skip(world) -> None:
    here = world("* * * * *", overlap=Overlap.SKIP)
    here.decided(NOON)
    for minute in (1, 2):
        asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=minute))))

    assert [decision.answer.split()[0] for decision in here.decisions()] == ["ok", "skip"]


def test_clock_set_back_repeats_nothing(world) -> None:
    here = world("*/10 * * * *", overlap=Overlap.ALLOW)
    here.decided(NOON)
    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=10))))

    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=5))))
    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=10, seconds=1))))

    assert here.kinds() == [("12:10", "fire")]


def test_new_schedule_replays_no_past(world) -> None:
    here = world("* * * * *", missed=Missed.ALL)

    asyncio.run(here.tick(Clock()))  # type: ignore[arg-type]

    assert here.kinds() == []


def test_store_whose_clock_is_behind_loses_no_instant(world) -> None:
    here = world("* * * * * *", overlap=Overlap.ALLOW)
    now = Clock().now()
    here.decided(now)
    ahead = SetClock(now + timedelta(seconds=5))

    asyncio.run(here.tick(ahead))
    early = len(here.decisions())
    wait_until(lambda: Clock().now() > ahead.at)
    asyncio.run(here.tick(ahead))

    assert early < 5
    assert len(here.decisions()) == 5


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("missed", "said"),
    [
        (Missed.SKIP, "4 scheduled runs were missed (missed = skip)"),
        (Missed.ONCE, "3 scheduled runs were missed (missed = once makes up for the newest alone"),
        (Missed.ALL, "2 scheduled runs were missed (missed = all makes up for the newest catchup_max"),
    ],
)  # fmt: skip
def test_log_says_why_instants_were_let_go(
    world, caplog: pytest.LogCaptureFixture, missed: Missed, said: str
) -> None:
    here = world("0 * * * *", missed=missed, catchup_max=2)
    here.decided(NOON)

    asyncio.run(here.tick(SetClock(NOON + timedelta(hours=4, minutes=30))))

    assert said in caplog.text


@pytest.mark.parametrize("minutes", [4, 30])
def test_late_runs_of_one_downtime_are_one_notice(world, minutes: int) -> None:
    here = world("* * * * *", overlap=Overlap.ALLOW, late_after=30.0, mail_to=("root",))
    here.decided(NOON)

    asyncio.run(here.tick(SetClock(NOON + timedelta(minutes=minutes, seconds=5))))

    assert here.queued() > 3
    assert here.store.run(outbox.length(here.keys.notices)) == 1
