"""Both executors against real sentinels, over real failovers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.errors import ConfigError, JobctlError, NotPermittedError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.watch import Watch
from tests.servers import SentinelGroup, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobctl.store.group_address import GroupAddress

RESUME = 10.0
"""Seconds within which calls work again after a primary died."""


def plain(*words: str | int, blocking: float | None = None) -> Call[Any]:
    return Call(words, lambda reply: reply, blocking=blocking)


@pytest.fixture
def group(server_binary: Path) -> Iterator[SentinelGroup]:
    made = SentinelGroup(server_binary)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def calm(server_binary: Path) -> Iterator[SentinelGroup]:
    """A group with passwords that nobody disturbs."""
    made = SentinelGroup(server_binary, password="data", sentinel_password="watch")
    try:
        yield made.start()
    finally:
        made.close()


def ask_blocking(address: Address) -> str:
    with BlockingStore(address) as store:
        store.run(plain("SET", "k", "v"))
        return store.server.host + f":{store.server.port}"


def ask_async(address: Address) -> str:
    async def story() -> str:
        async with AsyncStore(address) as store:
            await store.run(plain("SET", "k", "v"))
            return store.server.host + f":{store.server.port}"

    return asyncio.run(story())


@pytest.fixture(params=[ask_blocking, ask_async], ids=["blocking", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[[Address], str]:
    return request.param  # type: ignore[no-any-return]


def test_sentinels_lead_to_the_primary_with_passwords_of_both(ask, calm: SentinelGroup) -> None:
    assert ask(Address.parse(calm.url)) == calm.primary.place


def test_dead_sentinels_are_passed_over(ask, calm: SentinelGroup) -> None:
    nobody = [f"127.0.0.1:{port}" for port in free_ports(2)]
    url = calm.url.replace("@", f"@{nobody[0]},{nobody[1]},")
    assert ask(Address.parse(url)) == calm.primary.place


def test_service_that_is_not_watched_is_named(ask, calm: SentinelGroup) -> None:
    with pytest.raises(ConfigError, match="watches no service 'other'"):
        ask(Address.parse(calm.url.replace("/main", "/other")))


def test_wrong_password_of_the_sentinels_is_told(ask, calm: SentinelGroup) -> None:
    with pytest.raises(NotPermittedError, match="refuses these credentials") as caught:
        ask(Address.parse(calm.url.replace("=watch", "=wrong")))
    assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_servers_that_are_no_sentinels_are_told(ask, calm: SentinelGroup) -> None:
    url = f"redis+sentinel://{calm.primary.place}/main?sentinel_password=data"
    with pytest.raises(ConfigError, match="is not a sentinel"):
        ask(Address.parse(url))


def test_without_any_sentinel_the_group_is_unreachable(ask) -> None:
    places = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    with pytest.raises(UnreachableError, match="cannot reach any sentinel"):
        ask(Address.parse(f"redis+sentinel://{places}/main"))


def test_calls_work_again_soon_after_the_primary_died(group: SentinelGroup) -> None:
    async def story() -> None:
        async with AsyncStore(Address.parse(group.url)) as store:
            await store.run(plain("SET", "before", "1"))
            await store.run(plain("WAIT", 1, 1000))
            old = group.primary
            old.kill()
            died = time.monotonic()
            answer = None
            while answer is None:
                assert time.monotonic() - died < RESUME
                try:
                    answer = await store.run(plain("GET", "before"))
                    await store.run(plain("SET", "after", "1"))
                except JobctlError:
                    await asyncio.sleep(0.05)
            assert answer == b"1"
            assert store.server.port != old.port
            assert store.generation == 2

    asyncio.run(story())


def test_blocking_calls_find_the_new_primary_too(group: SentinelGroup) -> None:
    with BlockingStore(Address.parse(group.url)) as store:
        store.run(plain("SET", "k", "v"))
        old = group.primary
        group.sentinels[0].raw("SENTINEL", "FAILOVER", "main")
        new = group.wait_failover(old)
        deadline = time.monotonic() + RESUME
        while True:
            try:
                store.run(plain("SET", "k", "w"))
                if store.server.port == new.port:
                    break
            except JobctlError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert new.raw("GET", "k") == b"w"


def test_primary_that_still_answers_but_was_replaced_is_left(group: SentinelGroup) -> None:
    """A primary that its sentinels cannot reach goes on; the watch must take us away from it."""

    async def story() -> None:
        address: GroupAddress = Address.parse(group.url)  # type: ignore[assignment]
        old = group.primary
        async with AsyncStore(address) as store, AsyncStore(address) as ears:
            await store.run(plain("SET", "k", "v"))
            waiting = asyncio.create_task(ears.run(plain("BLPOP", "bell", 30, blocking=30.0)))
            watch = Watch(address, (store, ears))
            await watch.look()
            assert store.generation == 1
            old.pause()
            await asyncio.to_thread(group.wait_failover, old)
            await watch.look()
            with pytest.raises(JobctlError):
                await waiting
            await store.run(plain("SET", "k", "w"))
            assert store.server.port == group.primary.port
        old.go_on()

    asyncio.run(story())
