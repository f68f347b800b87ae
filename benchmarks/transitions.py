"""Claims and settlements a second through both executors, by batch size."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.daemon import new_run
from benchmarks.report import Row
from jobctl.store import membership
from jobctl.store import transitions as moves
from jobctl.store.aio import AsyncStore
from jobctl.store.binary import find_binary
from jobctl.store.blocking import BlockingStore
from jobctl.store.embedded import EmbeddedStore
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report import Scene

SUPERVISOR, OWNER = "bench~1.1", "bench~1.1/default.1"
KEYS = Keys("default")
FIELDS: tuple[str | bytes | int, ...] = (
    "at", 1, "a1",
    ('{"n":1,"o":"succeeded","v":"k","ho":"bench","po":"bench~1.1/default.1","pi":12345,'
    '"st":1700000000.123,"fn":1700000000.125,"du":0.0021,"us":0.0008,"sy":0.0007,"ms":1835008}'),
    "du", "0.0021", "st", 1_700_000_000_123, "fs", 1_700_000_000_123, "pi", 12345, "rc", 0,
)  # fmt: skip
"""What a pool writes about an attempt."""
BATCHES = (1, 8, 32)


def measure(scene: Scene) -> list[Row]:
    """Measure on a server of our own, which syncs every write."""
    return asyncio.run(_measure(scene))


async def _measure(scene: Scene) -> list[Row]:
    server = EmbeddedStore(scene.directory / "store", find_binary(None))
    await server.start()
    rates: dict[tuple[str, int], list[float]] = {}
    try:
        with BlockingStore(server.address) as blocking:
            aio = AsyncStore(server.address)
            blocking.run(membership.register(KEYS, supervisor=SUPERVISOR, facts={}))
            blocking.run(membership.add_pool(KEYS, supervisor=SUPERVISOR, owner=OWNER))
            for _ in range(scene.pick(5, 3)):
                for batch in BATCHES:
                    count = scene.pick(2000, 500) * (1 if batch == 1 else 3)
                    _fill(blocking, count)
                    rates.setdefault(("AsyncStore", batch), []).append(
                        await _drain_async(aio, batch, count)
                    )
                    _fill(blocking, count)
                    rates.setdefault(("BlockingStore", batch), []).append(
                        _drain_blocking(blocking, batch, count)
                    )
            await aio.close()
    finally:
        await server.stop()
    return [
        Row(f"claim + settle, {name}, batch {batch}", statistics.median(figures), "runs/s")
        for (name, batch), figures in sorted(rates.items())
    ]


def _fill(store: BlockingStore, count: int) -> None:
    runs = [new_run("nothing") for _ in range(count)]
    for start in range(0, count, 500):
        store.run(moves.submit(KEYS, runs[start : start + 500]))


def _calls(batch: int, claimed: Sequence[moves.Claim]) -> list[moves.Call[object]]:
    """Return what a pool sends in one turn: settlements of the last batch, the claim of the next."""
    items = [moves.Settlement(one.id, one.epoch, "k", "", 0.0, FIELDS) for one in claimed]
    calls: list[moves.Call[object]] = []
    if items:
        calls.append(moves.settle(KEYS, owner=OWNER, items=items))  # type: ignore[arg-type]
    calls.append(
        moves.claim(KEYS, supervisor=SUPERVISOR, owner=OWNER, want=batch, queues=("default",))  # type: ignore[arg-type]
    )
    return calls


async def _drain_async(store: AsyncStore, batch: int, count: int) -> float:
    claimed: Sequence[moves.Claim] = ()
    started, done = time.perf_counter(), 0
    while True:
        replies = await store.run_many(_calls(batch, claimed))
        done += len(claimed)
        claimed = replies[-1].claims  # type: ignore[attr-defined]
        if done == count:
            return count / (time.perf_counter() - started)


def _drain_blocking(store: BlockingStore, batch: int, count: int) -> float:
    claimed: Sequence[moves.Claim] = ()
    started, done = time.perf_counter(), 0
    while True:
        replies = store.run_many(_calls(batch, claimed))
        done += len(claimed)
        claimed = replies[-1].claims  # type: ignore[attr-defined]
        if done == count:
            return count / (time.perf_counter() - started)
