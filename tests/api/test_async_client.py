"""The asynchronous client: the same operations in an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import jobctl

if TYPE_CHECKING:
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
