"""Both executors against a real cluster: finding, following, and slots on their way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from store_world import World

from jobctl.errors import ConfigError, JobctlError
from jobctl.store import queries
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.failures import StoreBusyError
from jobctl.store.keys import Keys
from jobctl.store.verify import verify
from jobctl.store.verify.repair import repair
from tests.servers import Cluster, Server, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RESUME = 10.0


def plain(*words: str | int, blocking: float | None = None) -> Call[Any]:
    return Call(words, lambda reply: reply, blocking=blocking)


@pytest.fixture(scope="module")
def cluster(server_binary: Path) -> Iterator[Cluster]:
    """Three nodes without replicas; tests move only slots of namespaces of their own."""
    made = Cluster(server_binary)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def address(cluster: Cluster) -> Callable[[str], Address]:
    return lambda namespace: Address.parse(cluster.url).serving(namespace)


def other_than(cluster: Cluster, namespace: str) -> Any:
    serving = cluster.primary_of(namespace)
    return next(one for one in cluster.servers if one is not serving)


@pytest.mark.parametrize("namespace", ["default", "a", "b", "c", "shop"])
def test_namespace_is_served_by_the_node_of_its_slot(
    cluster: Cluster, address: Callable[[str], Address], namespace: str
) -> None:
    where = address(namespace)
    assert where.slot == cluster.slot_of(namespace)  # type: ignore[attr-defined]
    with BlockingStore(where) as store:
        store.run(queries.now(Keys(namespace)))
        assert store.server.port == cluster.primary_of(namespace).port


def test_blocking_calls_follow_a_slot_that_has_moved(
    cluster: Cluster, address: Callable[[str], Address], echo: Callable[[object], Call[object]]
) -> None:
    with BlockingStore(address("t")) as store:
        store.run(plain("SET", "jc:{t}:k", "v"))
        target = other_than(cluster, "t")
        cluster.move("t", target)
        # The new node does not know the script.
        assert store.run_many([echo("x"), plain("GET", "jc:{t}:k")]) == ["x", b"v"]
        assert store.server.port == target.port


def test_asynchronous_calls_follow_a_slot_that_has_moved(
    cluster: Cluster, address: Callable[[str], Address], echo: Callable[[object], Call[object]]
) -> None:
    async def story() -> None:
        async with AsyncStore(address("t")) as store, AsyncStore(address("t")) as ears:
            await store.run(plain("SET", "jc:{t}:k", "v"))
            bell = asyncio.create_task(ears.run(plain("BLPOP", "jc:{t}:b:q", 20, blocking=20.0)))
            source = cluster.primary_of("t")
            heard = lambda: source.info("clients")["blocked_clients"] == "1"  # noqa: E731
            await asyncio.to_thread(wait_for, heard, "somebody waits for the bell")
            target = other_than(cluster, "t")
            await asyncio.to_thread(cluster.move, "t", target)
            calls = [echo("x"), *[plain("GET", "jc:{t}:k")] * 20]
            assert await store.run_many(calls) == ["x", *[b"v"] * 20]
            assert store.server.port == target.port
            await store.run(plain("RPUSH", "jc:{t}:b:q", "1"))
            assert await asyncio.wait_for(bell, 10) == [b"jc:{t}:b:q", b"1"]

    asyncio.run(story())


def test_nothing_is_done_while_a_slot_is_on_its_way(
    cluster: Cluster, address: Callable[[str], Address], echo: Callable[[object], Call[object]]
) -> None:
    """One part of the keys is here and one there: a script would miss what has not arrived."""
    target = other_than(cluster, "u")
    call: Call[object] = Call(("jc:{u}:", "x"), lambda reply: reply, "echo")

    async def story() -> None:
        async with AsyncStore(address("u")) as store:
            with pytest.raises(StoreBusyError, match="moving this namespace"):
                await store.run(call)

    with BlockingStore(address("u")) as store:
        store.run(plain("SET", "jc:{u}:k", "v"))
        cluster.begin_move("u", target)
        with pytest.raises(StoreBusyError, match="moving this namespace"):
            store.run(call)
        asyncio.run(story())
        assert target.raw("CLUSTER", "COUNTKEYSINSLOT", cluster.slot_of("u")) == 0
        cluster.move("u", target)
        assert store.run(call) == [b"jc:{u}:", b"x"]


def test_single_server_is_no_cluster(server_binary: Path) -> None:
    single = Server(server_binary).start()
    try:
        url = f"redis+cluster://{single.place}"
        with (
            pytest.raises(ConfigError, match="is no node of a cluster"),
            BlockingStore(Address.parse(url).serving("t")) as store,
        ):
            store.run(plain("PING"))
    finally:
        single.close()


def test_node_named_as_a_single_server_says_how_to_name_the_cluster(cluster: Cluster) -> None:
    other = other_than(cluster, "default")
    with (
        BlockingStore(Address(host="127.0.0.1", port=other.port)) as store,
        pytest.raises(ConfigError, match=r"redis\+cluster://"),
    ):
        store.run(plain("GET", "jc:{default}:k"))


def test_calls_work_again_soon_after_the_node_died(server_binary: Path) -> None:
    cluster = Cluster(server_binary, replicas=1)
    try:
        cluster.start()
        old = cluster.primary_of("t")
        # Only one member is named: the others are learned, also when that one dies.
        url = f"redis+cluster://{old.place}"

        async def story() -> None:
            async with AsyncStore(Address.parse(url).serving("t")) as store:
                await store.run(plain("SET", "jc:{t}:k", "v"))
                await store.run(plain("WAIT", 1, 1000))
                old.kill()
                died = time.monotonic()
                answer = None
                while answer is None:
                    assert time.monotonic() - died < RESUME
                    try:
                        answer = await store.run(plain("GET", "jc:{t}:k"))
                    except JobctlError:
                        await asyncio.sleep(0.05)
                assert answer == b"v"
                assert store.server.port != old.port

        asyncio.run(story())
    finally:
        cluster.close()


def test_namespace_of_a_cluster_is_verified_and_mended(
    address: Callable[[str], Address],
) -> None:
    for namespace in ("one", "two", "three"):  # on different nodes
        with BlockingStore(address(namespace)) as store:
            world = World(store, namespace)
            ids = [world.submit() for _ in range(3)]
            assert verify(store, world.keys) == []
            world.raw("DEL", world.keys.queue("default", 5))
            done = repair(store, world.keys, pause=0)

            assert len(done.deeds) == 3
            assert done.left.findings == ()
            assert sorted(world.claim(3)) == sorted(ids)
