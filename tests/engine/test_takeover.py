"""Who decides an instant when several supervisors know of each other, and some are gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from clockwork import an_identity
from test_scheduler import SetClock, a_config

from jobctl.engine.scheduler import Scheduler
from jobctl.engine.timetable import TAKEOVER_LEAST, TAKEOVER_MOST, takeover_delay
from jobctl.model.job import JobDef, Overlap, ScheduleDef
from jobctl.model.rules import schedule_entries
from jobctl.store import queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobctl.model.config import Config
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore

NOON = datetime(2021, 6, 1, 12, 0, tzinfo=UTC)
PEERS = ["s0", "s1", "s2"]
RANKED = sorted(PEERS, key=lambda sid: takeover_delay("j", supervisor=sid, peers=PEERS))
MINUTE = timedelta(minutes=1)
BUSY = ScheduleDef(name="b", rule="* * * * *")


class Crew:
    """Supervisors that know of each other, all with the same clock."""

    def __init__(self, server: EmbeddedStore, config: Config, clock: SetClock) -> None:
        self.keys = Keys(config.settings.namespace)
        self.calls: dict[str, list[str | None]] = {sid: [] for sid in PEERS}
        self.stores = {sid: AsyncStore(server.address) for sid in PEERS}
        self.schedulers = {sid: self._scheduler(sid, clock) for sid in PEERS}
        for sid, scheduler in self.schedulers.items():
            self._listen(self.stores[sid], self.calls[sid])
            scheduler.configure(config)

    def _scheduler(self, sid: str, clock: SetClock) -> Scheduler:
        return Scheduler(
            self.stores[sid],
            self.keys,
            an_identity(sid, host=sid),
            peers=lambda: PEERS,
            clock=clock,
        )

    @staticmethod
    def _listen(store: AsyncStore, heard: list[str | None]) -> None:
        try_many = store.try_many

        async def listening(calls: list[Call]) -> list:  # type: ignore[type-arg]
            heard.extend(call.script for call in calls)
            return await try_many(calls)

        store.try_many = listening  # type: ignore[method-assign,assignment]

    async def tick(self, *sids: str) -> list[float]:
        return [await self.schedulers[sid].tick() for sid in sids]

    async def close(self) -> None:
        for store in self.stores.values():
            await store.close()


@pytest.fixture
def play(store: BlockingStore, server: EmbeddedStore):
    """Runs a story with a crew whose only schedule was last decided at noon."""

    def run(story: Callable[[Crew, SetClock], Awaitable[None]], config: Config) -> Keys:
        clock = SetClock(NOON + timedelta(seconds=1))
        keys = Keys(config.settings.namespace)
        for entry in schedule_entries(config, host="h", timezone="UTC"):
            last = round(NOON.timestamp() * 1000)
            key = keys.schedule(entry.name)
            store.run(Call(("HSET", key, "gen", entry.generation, "last", last), bool))

        async def main() -> None:
            crew = Crew(server, config, clock)
            await crew.tick(*PEERS)
            await story(crew, clock)
            await crew.close()

        asyncio.run(main())
        return keys

    return run


def shared(rule: str) -> Config:
    config = a_config(rule, overlap=Overlap.ALLOW)
    return replace(config, settings=replace(config.settings, redis="redis://localhost"))


def test_only_the_first_asks_at_the_instant(play, store: BlockingStore) -> None:
    first, *others = RANKED

    async def story(crew: Crew, clock: SetClock) -> None:
        clock.at = NOON + MINUTE
        pauses = await crew.tick(*others)
        assert min(pauses) >= TAKEOVER_LEAST
        assert all(not crew.calls[sid] for sid in others)
        await crew.tick(first)

    keys = play(story, shared("* * * * *"))

    (decision,) = store.run(queries.schedule_history(keys, "j", newest=10))
    assert decision.who == first


def test_others_look_before_they_ask_for_what_is_decided(play, store: BlockingStore) -> None:
    async def story(crew: Crew, clock: SetClock) -> None:
        clock.at = NOON + MINUTE
        await crew.tick(RANKED[0])
        clock.at += timedelta(seconds=TAKEOVER_MOST + 0.1)
        pauses = await crew.tick(*RANKED[1:])
        assert min(pauses) > 50
        assert all(not crew.calls[sid] for sid in RANKED[1:])

    keys = play(story, shared("* * * * *"))

    assert len(store.run(queries.schedule_history(keys, "j", newest=10))) == 1


def test_another_decides_within_a_second_when_the_first_is_gone(play, store: BlockingStore) -> None:
    _, second, third = RANKED

    async def story(crew: Crew, clock: SetClock) -> None:
        (pause,) = await crew.tick(second)
        clock.at += timedelta(seconds=pause, milliseconds=1)
        assert clock.at <= NOON + MINUTE + timedelta(seconds=TAKEOVER_MOST)
        await crew.tick(second)
        clock.at = NOON + MINUTE + timedelta(seconds=TAKEOVER_MOST)
        await crew.tick(third)

    keys = play(story, shared("* * * * *"))

    (decision,) = store.run(queries.schedule_history(keys, "j", newest=10))
    assert decision.who == second


def test_a_configuration_that_comes_while_another_is_introduced_is_not_lost(
    play, store: BlockingStore
) -> None:
    config = shared("0 0 1 1 *")

    async def story(crew: Crew, clock: SetClock) -> None:
        sid = RANKED[0]
        run = crew.stores[sid].run

        async def interrupting(call: Call):  # type: ignore[type-arg]
            if call.script == "schedule":
                crew.stores[sid].run = run  # type: ignore[method-assign]
                crew.schedulers[sid].configure(busy)
            return await run(call)

        crew.stores[sid].run = interrupting  # type: ignore[method-assign,assignment]
        crew.schedulers[sid].configure(config)
        await crew.tick(sid)
        await crew.tick(sid)

    busy = replace(config, jobs={"b": replace(config.jobs["j"], name="b", schedules=(BUSY,))})
    keys = play(story, config)

    assert store.run(queries.schedule(keys, "b"))


def test_what_is_due_is_decided_while_many_schedules_are_introduced(
    play, store: BlockingStore
) -> None:
    """A reload with thousands of schedules takes a while, and the old ones do not wait for it."""
    config = shared("* * * * *")
    more = {
        f"x{n}": JobDef(
            name=f"x{n}", command="true", timezone="UTC",
            schedules=(ScheduleDef(name=f"x{n}", rule="0 0 1 1 *"),),
        )
        for n in range(500)
    }  # fmt: skip

    async def story(crew: Crew, clock: SetClock) -> None:
        sid = RANKED[0]
        crew.schedulers[sid].configure(replace(config, jobs=more | config.jobs))
        introduced = 0
        run = crew.stores[sid].run

        async def watching(call: Call):  # type: ignore[type-arg]
            nonlocal introduced
            if call.script == "schedule":
                introduced += 1
                if introduced == 2:
                    clock.at = NOON + MINUTE
                if introduced == 4:
                    assert "tick" in crew.calls[sid]
            return await run(call)

        crew.stores[sid].run = watching  # type: ignore[method-assign,assignment]
        await crew.tick(sid)
        assert introduced > 4
        await crew.tick(sid)

    keys = play(story, config)

    assert len(store.run(queries.schedule_history(keys, "j", newest=10))) == 1


def test_who_took_over_asks_at_once_from_then_on(play, store: BlockingStore) -> None:
    _, second, third = RANKED

    async def story(crew: Crew, clock: SetClock) -> None:
        clock.at = NOON + MINUTE + timedelta(seconds=TAKEOVER_MOST)
        await crew.tick(second, third)
        clock.at = NOON + 2 * MINUTE
        await crew.tick(second, third)

    keys = play(story, shared("* * * * *"))

    found = store.run(queries.schedule_history(keys, "j", newest=10))
    assert [decision.who for decision in found] == [second, second]


def test_who_was_absent_is_waited_for_again_once_it_decides(play, store: BlockingStore) -> None:
    first, second, _ = RANKED

    async def story(crew: Crew, clock: SetClock) -> None:
        clock.at = NOON + MINUTE + timedelta(seconds=TAKEOVER_MOST)
        await crew.tick(second)
        clock.at = NOON + 2 * MINUTE
        await crew.tick(first, second)
        crew.calls[second].clear()
        clock.at = NOON + 3 * MINUTE
        await crew.tick(second)
        assert not crew.calls[second]
        await crew.tick(first)

    keys = play(story, shared("* * * * *"))

    found = store.run(queries.schedule_history(keys, "j", newest=10))
    assert [decision.who for decision in found] == [first, first, second]


def test_who_was_absent_is_not_passed_over_for_ever(play, store: BlockingStore) -> None:
    first, second, _ = RANKED

    async def story(crew: Crew, clock: SetClock) -> None:
        clock.at = NOON + MINUTE + timedelta(seconds=TAKEOVER_MOST)
        await crew.tick(second)
        clock.at = NOON + 2 * MINUTE
        await crew.tick(second)
        clock.at = NOON + 3 * MINUTE
        await crew.tick(second)
        await crew.tick(second)
        await crew.tick(first)

    keys = play(story, shared("* * * * *"))

    found = store.run(queries.schedule_history(keys, "j", newest=10))
    assert [decision.who for decision in found] == [first, second, second]
