"""The asynchronous client: the same operations in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jobctl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.host import Host


def test_everything_is_awaited(shop: Host) -> None:
    async def story() -> None:
        async with jobctl.AsyncClient(shop.config) as client:
            run = await client.submit("add", 1, 2)
            assert await run.wait("30s") == {"sum": 3}
            assert (await run.state(), await run.result()) == ("succeeded", {"sum": 3})
            assert (await run.inspect())["args"] == [1, 2]
            assert await client.run(run.id) == run
            assert await run.progress() is None
            says = await client.submit("says", "0")
            seen = [event.state async for event in says.events(timeout=30)]
            assert seen[-1] == "succeeded"
            assert await says.logs(lines=1) == "two\n"
            kept = await client.submit("kept")
            assert await kept.revoke() is True
            assert await client.revoke([kept.id]) == {kept.id: False}
            assert "add" in client.jobs

    asyncio.run(story())


def test_many_tasks_share_one_client_over_several_loops(shop: Host) -> None:
    client = jobctl.AsyncClient(shop.config)

    async def one(number: int) -> int:
        return int((await (await client.submit("add", number)).wait(60))["sum"])

    async def story() -> list[int]:
        runs = await client.submit_many("add", range(5))
        sums = await asyncio.gather(*(one(number) for number in range(10)))
        sums += [(await run.wait(60))["sum"] for run in runs]
        await client.close()
        return sums

    for _ in range(2):
        assert asyncio.run(story()) == [*range(10), *range(5)]


def test_client_goes_on_in_another_loop_and_is_closed_in_a_third(shop: Host) -> None:
    client = jobctl.AsyncClient(shop.config)

    async def add(number: int) -> object:
        return (await (await client.submit("add", number)).wait(30))["sum"]

    def files() -> int:
        return sum(str(one).startswith("socket:") for one in links())

    def links() -> Iterator[Path]:
        for one in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                yield one.readlink()

    before = files()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(add(number)) for number in (1, 2, 3)] == [1, 2, 3]
        asyncio.run(client.close())
        assert asyncio.run(add(4)) == 4
        gc.collect()
        asyncio.run(client.close())
    assert files() == before


def test_client_of_a_loop_that_still_runs_leaves_it_its_answers(shop: Host) -> None:
    client = jobctl.AsyncClient(shop.config)

    async def elsewhere() -> list[object]:
        runs = await client.submit_many("add", range(20))
        return [(await run.wait(30))["sum"] for run in runs]

    async def both() -> list[list[object]]:
        other = asyncio.to_thread(asyncio.run, elsewhere())
        return list(await asyncio.gather(elsewhere(), other, elsewhere()))

    assert asyncio.run(both()) == [list(range(20))] * 3
    asyncio.run(client.close())


def test_failures_are_the_same_errors(shop: Host) -> None:
    async def story() -> None:
        async with jobctl.AsyncClient(shop.config) as client:
            with pytest.raises(jobctl.InvalidArguments, match="path: is missing"):
                await client.submit("thumbnail")
            with pytest.raises(jobctl.NoSuchJob):
                await client.submit("nothing")
            run = await client.submit("broken")
            with pytest.raises(jobctl.JobFailed, match="LookupError: no"):
                await run.wait(30)
            kept = await client.submit("kept")
            with pytest.raises(jobctl.WaitTimeout):
                await kept.wait(0.02)
            with pytest.raises(jobctl.RunNotEnded):
                await kept.result()

    asyncio.run(story())


def test_output_is_followed_while_the_loop_goes_on(shop: Host, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def story() -> bytes:
        async with jobctl.AsyncClient(shop.config) as client:
            run = await client.submit("talks", pipe=str(pipe))
            seen = b""
            async for piece in run.follow():
                if b"asks" in piece:
                    # Only what goes on meanwhile lets the run end.
                    await asyncio.wait_for(client.submit("add", 1), 30)
                    await asyncio.to_thread(pipe.write_text, "answer\n")
                seen += piece
            assert await run.state() == "succeeded"
            return seen

    assert asyncio.run(asyncio.wait_for(story(), 60)) == b"asks\ngot answer\n"


def test_following_can_be_given_up(shop: Host) -> None:
    async def story() -> None:
        async with jobctl.AsyncClient(shop.config) as client:
            kept = await client.submit("kept")
            follower = asyncio.ensure_future(anext(kept.follow()))
            assert await asyncio.wait([follower], timeout=0.3) == (set(), {follower})
            follower.cancel()
            with pytest.raises(asyncio.CancelledError):
                await follower
            assert await kept.revoke() is True
            assert [piece async for piece in kept.follow()] == []

    asyncio.run(story())


def test_client_that_was_left_is_not_used_again(shop: Host) -> None:
    async def story() -> None:
        client = jobctl.AsyncClient(shop.config)
        async with client:
            done = await client.submit("add", 1)
            assert await done.wait(60) == {"sum": 1}
            kept = await client.submit("kept")
            waiter = asyncio.ensure_future(kept.wait())
            await asyncio.sleep(0)
        uses = (
            lambda: client.submit("add", 1),
            lambda: client.submit_many("add", [1]),
            lambda: client.run(kept.id),
            lambda: client.revoke([kept.id]),
            kept.state,
            kept.wait,
            kept.progress,
            kept.logs,
            lambda: anext(kept.follow()),
            lambda: anext(kept.events()),
            done.logs,
        )
        for use in uses:
            with pytest.raises(jobctl.UsageError, match="closed at the end of its `async with`"):
                await use()
        with pytest.raises(jobctl.UsageError, match="closed"):
            await asyncio.wait_for(waiter, 60)
        # What was read already needs no connection.
        assert await done.result() == {"sum": 1}
        async with client:
            assert await kept.revoke() is True

    asyncio.run(story())
