"""Who is declared dead, and by whom, against a real store in trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from jobctl.clock import SYSTEM_CLOCK, Clock
from jobctl.engine.rescuer import Rescuer
from jobctl.errors import JobctlError
from jobctl.model.admission import Admission, NewRun
from jobctl.model.ids import new_id
from jobctl.model.run import Request
from jobctl.store import membership, queries, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.embedded import EmbeddedStore
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

KEYS = Keys("rescue")
ME, OTHER = "here~a", "there~b"
LOOK = 5.0


class SetClock(Clock):
    """A clock that stands until it is set."""

    at = 1000.0

    def boottime(self) -> float:
        return self.at


class World:
    """Two supervisors; the other one holds a claimed run."""

    def __init__(self, store: BlockingStore) -> None:
        self.store = store
        for sid in (ME, OTHER):
            store.run(membership.register(KEYS, supervisor=sid, facts={"host": sid}))
            store.run(membership.add_pool(KEYS, supervisor=sid, owner=f"{sid}/p.1"))
        run = NewRun(request=Request(id=new_id(), job="j"), admission=Admission())
        store.run(transitions.submit(KEYS, [run]))
        claim = transitions.claim(
            KEYS, supervisor=OTHER, owner=f"{OTHER}/p.1", want=1, queues=("default",)
        )
        self.run_id = store.run(claim).claims[0].id

    def beat(self, *sids: str, load: str = "{}") -> None:
        for sid in sids:
            self.store.run(membership.beat(KEYS, supervisor=sid, load=load, owners=[]))

    @property
    def lost(self) -> bool:
        return self.store.run(queries.supervisor(KEYS, OTHER)).get("st") == "lost"

    @property
    def state(self) -> str | None:
        return self.store.run(queries.state(KEYS, self.run_id))[0]


class Watcher:
    """A rescuer whose ticks are asked for one by one, on a clock that is set."""

    def __init__(self, world: World, server: EmbeddedStore) -> None:
        self.world = world
        self.clock = SetClock()
        self.store = AsyncStore(server.address)
        self.rescuer = Rescuer(self.store, KEYS, supervisor=ME, clock=self.clock)

    async def watch(self, seconds: float, *beating: str, every: float = LOOK) -> None:
        """Look every few seconds for a while, in which some go on to beat."""
        end = self.clock.at + seconds
        while self.clock.at < end:
            self.clock.at += every
            self.world.beat(*beating)
            await self.rescuer.tick()


def watching(store: BlockingStore, server: EmbeddedStore) -> tuple[World, Watcher]:
    world = World(store)
    return world, Watcher(world, server)


def test_runs_of_a_silent_supervisor_are_taken_back(store: BlockingStore, server: EmbeddedStore):
    world, watcher = watching(store, server)

    async def story() -> None:
        async with watcher.store:
            await watcher.watch(30, ME, OTHER)
            await watcher.watch(25, ME)
            assert not world.lost
            await watcher.watch(10, ME)

    asyncio.run(story())
    assert world.lost
    assert world.state == "q"


def test_a_supervisor_that_beats_is_left_alone(store: BlockingStore, server: EmbeddedStore):
    world, watcher = watching(store, server)

    async def story() -> None:
        async with watcher.store:
            await watcher.watch(200, ME, OTHER)

    asyncio.run(story())
    assert not world.lost


@pytest.mark.parametrize(
    ("load", "decides"),
    [
        ('{"draining": false, "schedules": {"known": 3}}', True),
        ('{"draining": true, "schedules": {"known": 3}}', False),
        ('{"draining": false}', False),
        ('{"alone": true, "pools": {}}', False),
        ("", False),
        ("[]", False),
    ],
    ids=["decides", "drains", "leaves them to others", "only its pool lives", "none", "broken"],
)
def test_only_who_decides_schedules_is_ranked_for_them(
    store: BlockingStore, server: EmbeddedStore, load: str, *, decides: bool
):
    async def story() -> None:
        world = World(store)
        watcher = Watcher(world, server)
        world.beat(ME, OTHER, load=load)
        await watcher.rescuer.tick()
        world.beat(ME, OTHER, load=load)
        await watcher.rescuer.tick()
        assert watcher.rescuer.alive == [OTHER]
        assert watcher.rescuer.deciding == ([OTHER] if decides else [])
        await watcher.store.close()

    asyncio.run(story())


def test_a_new_connection_begins_to_watch_anew(store: BlockingStore, server: EmbeddedStore):
    world, watcher = watching(store, server)

    async def story() -> None:
        async with watcher.store:
            for _ in range(6):
                await watcher.watch(25, ME)
                watcher.store.drop()
            assert not world.lost
            await watcher.watch(35, ME)

    asyncio.run(story())
    assert world.lost


def test_a_connection_lost_in_the_middle_of_a_look_begins_anew(
    store: BlockingStore, server: EmbeddedStore
):
    """The beats are read over the new connection, after all those who were cut off as well."""
    world, watcher = watching(store, server)
    inner = watcher.store.run_many

    async def cut_between(calls: list[Call]) -> list:
        watcher.store.drop()
        return await inner(calls)

    async def story() -> None:
        async with watcher.store:
            await watcher.watch(30, ME)
            watcher.store.run_many = cut_between  # type: ignore[method-assign]
            await watcher.watch(5, ME)

    asyncio.run(story())
    assert not world.lost


def test_an_observer_that_slept_declares_nobody_dead(store: BlockingStore, server: EmbeddedStore):
    """The store may have slept with it, on the same host: then nobody's beats arrived."""
    world, watcher = watching(store, server)

    async def story() -> None:
        async with watcher.store:
            await watcher.watch(10, ME, OTHER)
            watcher.clock.at += 3600
            await watcher.watch(5, ME)
            assert not world.lost
            await watcher.watch(20, ME)
            assert not world.lost
            await watcher.watch(15, ME)

    asyncio.run(story())
    assert world.lost


def test_a_store_that_refuses_beats_kills_nobody(store: BlockingStore, server: EmbeddedStore):
    """Without its replicas, or with a full disk, it answers reads: everybody's beats stand still."""
    world, watcher = watching(store, server)

    async def story() -> None:
        async with watcher.store:
            await watcher.watch(20, ME, OTHER)
            store.run(Call(("CONFIG", "SET", "min-replicas-to-write", "1"), bool))
            try:
                await watcher.watch(120)
            finally:
                store.run(Call(("CONFIG", "SET", "min-replicas-to-write", "0"), bool))
            await watcher.watch(20, ME)
            assert not world.lost
            await watcher.watch(120, ME, OTHER)

    asyncio.run(story())
    assert not world.lost


def test_a_store_that_stands_still_for_longer_than_the_ttl_kills_nobody(
    server_binary: Path, short_dir: Path
):
    """Real time and signals, with a TTL of one second."""

    async def story() -> None:
        server = EmbeddedStore(short_dir / "store", server_binary)
        await server.start()
        try:
            with BlockingStore(server.address) as connection:
                world = World(connection)
                async with AsyncStore(server.address, timeout=0.3) as store:
                    await outlast_a_stop(server, world, store)
        finally:
            await server.stop()

    asyncio.run(story())


async def outlast_a_stop(server: EmbeddedStore, world: World, store: AsyncStore) -> None:
    rescuer = Rescuer(store, KEYS, supervisor=ME, clock=SYSTEM_CLOCK, ttl=1.0)

    async def look_for(seconds: float, *beating: str) -> int:
        failed = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            world.beat(*beating)
            try:
                await asyncio.sleep(await rescuer.tick())
            except JobctlError:
                failed += 1
        return failed

    assert not await look_for(0.6, ME, OTHER)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        assert await look_for(2.0), "the store answered though it stood still"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    with contextlib.suppress(JobctlError):
        await rescuer.tick()
    assert not world.lost
    await look_for(0.6, ME)
    assert not world.lost
    await look_for(1.5, ME)
    assert world.lost
