"""Claims that travel with the wait for a bell, against a real store."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from test_pump import a_pump, register, submit

from jobctl.engine.hold import Hold
from jobctl.engine.ledger import Held
from jobctl.engine.listener import Listener
from jobctl.model.run import Request
from jobctl.store import queries
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jobctl.engine.pump import Pump
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore
    from jobctl.store.transitions import ClaimReply


class CountingStore(AsyncStore):
    """Remembers the scripts it was asked for."""

    def __init__(self, *words: object, **more: object) -> None:
        super().__init__(*words, **more)  # type: ignore[arg-type]
        self.scripts: list[str | None] = []

    async def try_many(self, calls: list[Call]) -> list:
        self.scripts += [call.script for call in calls]
        return await super().try_many(calls)


class SlowEars(AsyncStore):
    """Has its answers long before it passes them on."""

    def __init__(self, *words: object, **more: object) -> None:
        super().__init__(*words, **more)  # type: ignore[arg-type]
        self.arrived, self.hurry = asyncio.Event(), asyncio.Event()

    async def try_many(self, calls: list[Call]) -> list:
        told = [call.told for call in calls]
        for call in calls:
            call.told = None
        replies = await super().try_many(calls)
        self.arrived.set()
        await self.hurry.wait()
        for tell, reply in zip(told, replies, strict=True):
            if tell is not None:
                tell(reply)
        return replies


class Pool:
    """A pump and a listener at work, with nothing behind them."""

    def __init__(self, link: AsyncStore, ears: AsyncStore, keys: Keys) -> None:
        self.claimed: list[str] = []
        self.stale: list[str] = []
        self.pump: Pump = a_pump(
            link,
            keys,
            self._on_claims,
            hush=self._hush,
            on_stale=lambda run_id, _: self.stale.append(run_id),
        )
        self.listener = Listener(self.pump, ears, keys)

    async def _hush(self) -> None:
        await self.listener.hush()

    def _on_claims(self, reply: ClaimReply) -> None:
        for claim in reply.claims:
            self.claimed.append(claim.id)
            request = Request(id=claim.id, job=claim.job)
            self.pump._ledger.running[claim.id] = Held(claim, request, 0.0, 1)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.pump.run()),
            asyncio.create_task(self.listener.run(), name="listener"),
        ]
        self.pump.look()
        try:
            async with asyncio.timeout(10):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - a list cannot be waited for
        await asyncio.sleep(0.005)


async def waiting(link: AsyncStore) -> None:
    """Return when somebody waits for a bell."""

    async def blocked() -> int:
        return await link.run(
            Call(
                ("INFO", "clients"), lambda text: int(text.split(b"blocked_clients:")[1].split()[0])
            )  # type: ignore[attr-defined]
        )

    while not await blocked():  # noqa: ASYNC110 - nobody would tell
        await asyncio.sleep(0.005)


def test_a_run_that_comes_to_an_idle_pool_is_there_with_the_bell(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-bell")
    register(store, keys)

    async def story() -> tuple[list[str], list[str | None]]:
        async with CountingStore(server.address) as link, AsyncStore(server.address) as ears:
            pool = Pool(link, ears, keys)
            async with pool.at_work():
                await waiting(link)
                link.scripts.clear()
                run_ids = []
                for place in range(3):
                    run_ids.append(submit(store, keys))
                    await until(lambda place=place: len(pool.claimed) > place)
                assert pool.claimed == run_ids
            return pool.claimed, link.scripts

    claimed, scripts = asyncio.run(story())
    assert len(claimed) == 3
    assert "claim" not in scripts


def test_what_a_bell_announces_beyond_one_run_is_claimed_at_once(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-more")
    register(store, keys)

    async def story() -> set[str]:
        async with AsyncStore(server.address) as link, SlowEars(server.address) as ears:
            pool = Pool(link, ears, keys)
            async with pool.at_work():
                await waiting(link)
                run_ids = {submit(store, keys) for _ in range(3)}
                ears.hurry.set()
                await until(lambda: len(pool.claimed) == 3)
                assert set(pool.claimed) == run_ids
            return run_ids

    asyncio.run(story())


def test_a_claim_whose_answer_is_on_its_way_is_not_given_back(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-way")
    register(store, keys)

    async def story() -> str:
        async with AsyncStore(server.address) as link, SlowEars(server.address) as ears:
            pool = Pool(link, ears, keys)
            async with pool.at_work():
                await waiting(link)
                run_id = submit(store, keys)
                await ears.arrived.wait()
                pool.pump.check()
                # The look at the pool's own set comes before the answer is passed on.
                hushed = pool.listener.hush
                called = asyncio.Event()

                async def hush() -> None:
                    called.set()
                    await hushed()

                pool.listener.hush = hush  # type: ignore[method-assign]
                await called.wait()
                ears.hurry.set()
                await until(lambda: pool.claimed == [run_id])
                await until(lambda: not pool.pump._reconcile)
                await until(lambda: pool.pump.clear)
            return run_id

    run_id = asyncio.run(story())
    run = store.run(queries.run_or_broken(keys, run_id))
    assert run is not None
    assert (run.letter, run.epoch) == ("c", 1)


def test_a_run_that_begins_during_a_look_is_not_taken_for_lost(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-begins")
    register(store, keys)

    class Link(AsyncStore):
        async def run(self, call: Call) -> object:
            answer = await super().run(call)
            if call.parts[0] == "SMEMBERS" and not begun:
                begun.append(submit(store, keys))
                await until(lambda: pool.claimed == begun)
            return answer

    begun: list[str] = []
    pool: Pool

    async def story() -> list[str]:
        nonlocal pool
        async with Link(server.address) as link, AsyncStore(server.address) as ears:
            pool = Pool(link, ears, keys)
            begun.append("not yet")
            async with pool.at_work():
                await waiting(link)
                begun.clear()
                pool.pump.check()
                await until(lambda: begun and pool.claimed == begun)
                await until(lambda: not pool.pump._reconcile)
            return pool.stale

    assert asyncio.run(story()) == []


@pytest.mark.parametrize("others", [False, True])
def test_only_a_pool_with_more_to_do_claims_with_a_settlement(
    store: BlockingStore, server: EmbeddedStore, *, others: bool
) -> None:
    keys = Keys(f"listener-settles-{others}")
    register(store, keys)

    async def story() -> list[str | None]:
        async with CountingStore(server.address) as link, AsyncStore(server.address) as ears:
            pool = Pool(link, ears, keys)
            async with pool.at_work():
                await waiting(link)
                run_id = submit(store, keys)
                await until(lambda: pool.claimed == [run_id])
                await waiting(link)
                link.scripts.clear()
                held = pool.pump._ledger.running.pop(run_id)
                if others:
                    pool.pump._ledger.running["another"] = held
                pool.pump.settle(Settlement(run_id, 1, "k", "", 0.0, ()))
                await pool.pump.wait_clear()
                scripts = [*link.scripts]
                again = submit(store, keys)
                await until(lambda: pool.claimed == [run_id, again])
            return scripts

    assert asyncio.run(story()) == (["settle", "claim"] if others else ["settle"])


def test_a_listener_that_is_begun_anew_leaves_no_claim_to_wait_for(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-anew")
    register(store, keys)

    async def story() -> None:
        async with AsyncStore(server.address) as link, AsyncStore(server.address) as ears:
            pool = Pool(link, ears, keys)
            async with pool.at_work():
                await waiting(link)
                assert pool.pump._beside
                for task in asyncio.all_tasks():
                    if task.get_name() == "listener":
                        task.cancel()
                await until(lambda: not pool.pump._beside)

    asyncio.run(story())


def test_a_pool_that_may_claim_nothing_only_listens(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("listener-hold")
    register(store, keys)

    async def story() -> list[str | None]:
        async with AsyncStore(server.address) as link, CountingStore(server.address) as ears:
            pool = Pool(link, ears, keys)
            pool.pump._hungry.set()
            pool.pump.holds.add(Hold.ALONE)
            async with pool.at_work():
                await waiting(link)
            return ears.scripts

    assert asyncio.run(story()) == [None]
