"""What programs are told, and when, while the store is away."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import jobctl
from jobctl.model.ids import new_id
from jobctl.store import failpoints
from jobctl.store.failpoint_plan import Plan
from tests.acceptance.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS = '[jobs.a]\ncommand = "true"\nqueue = "nobody"\n'


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a server that takes connections and what is sent, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def host() -> Iterator[Host]:
    """A host of this test's own, whose daemon is not up."""
    found = Host()
    found.write(JOBS)
    yield found
    found.close()


@pytest.mark.parametrize("ask", ["state", "refresh", "progress", "wait"])
def test_question_that_is_not_answered_is_not_said_to_have_done_something(
    shop: Host, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        run = client.submit("kept")
        monkeypatch.setattr("jobctl.client.steps.OUTAGE", 0.0)
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:*=drop"))
        with pytest.raises(jobctl.StoreUnreachable, match="no reply from the store") as caught:
            _ = run.state if ask == "state" else getattr(run, ask)()
    assert "unknown" not in str(caught.value)


def test_order_that_is_not_answered_is_said_to_be_unknown(
    shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobctl.Client(shop.config, store_wait=0) as client:
        run = client.submit("kept")
        monkeypatch.setattr(failpoints, "active", Plan("cli", "after:revoke=drop"))
        with pytest.raises(jobctl.NotAccepted, match="unknown whether the request was carried out"):
            run.revoke()


def test_store_that_hangs_is_waited_for_no_longer_than_one_that_is_away(
    deaf: str, shop: Host
) -> None:
    began = time.monotonic()
    with (
        jobctl.Client(shop.config, redis=deaf, store_wait=2) as client,
        pytest.raises(jobctl.SubmitUnknown, match="no answer in time"),
    ):
        client.submit("kept")

    async def once_more() -> None:
        async with jobctl.AsyncClient(shop.config, redis=deaf, store_wait=2) as other:
            with pytest.raises(jobctl.StoreUnreachable, match="no reply"):
                await other._carry_out(other._operations.record(new_id()))

    asyncio.run(once_more())
    assert 4 <= time.monotonic() - began < 9


def test_wait_with_an_end_waits_no_longer_for_a_store_that_hangs(host: Host) -> None:
    ends: list[jobctl.JobFailed] = []

    def wait_long() -> None:
        with pytest.raises(jobctl.JobFailed) as caught:
            run.wait(60)
        ends.append(caught.value)

    host.start()
    server = host.server()
    with jobctl.Client(host.config) as client:
        run = client.submit("a")
        other = threading.Thread(target=wait_long)
        other.start()
        server.suspend()
        try:
            for _ in range(2):
                began = time.monotonic()
                with pytest.raises(jobctl.StoreUnreachable):
                    run.wait(0.5)
                assert time.monotonic() - began < 3
        finally:
            server.resume()
        with pytest.raises(jobctl.WaitTimeout):
            run.wait(0.5)
        run.revoke()
        other.join(30)
    assert [end.state for end in ends] == ["revoked"]


def test_wait_with_an_end_in_a_loop_leaves_the_connection_to_others(host: Host) -> None:
    async def story() -> None:
        async with jobctl.AsyncClient(host.config) as client:
            run = await client.submit("a")
            longer = asyncio.create_task(run.wait())
            await run.refresh()
            server.suspend()
            try:
                began = time.monotonic()
                with pytest.raises(jobctl.StoreUnreachable, match="no reply from the store"):
                    await run.wait(0.5)
                assert time.monotonic() - began < 3
            finally:
                server.resume()
            await run.revoke()
            with pytest.raises(jobctl.JobFailed):
                await longer

    host.start()
    server = host.server()
    asyncio.run(story())


def test_submit_between_two_daemons_waits_for_the_second(host: Host) -> None:
    found: list[Any] = []

    def by_hand() -> None:
        found.append(host.run("submit", "a", "--store-wait", "60s"))

    def submit(client: jobctl.Client | None) -> None:
        try:
            mine = client or jobctl.Client(host.config, store_wait=60)
            found.append(mine.submit("a").id)
            mine.close()
        except BaseException as error:
            found.append(error)
            raise

    host.start()
    with jobctl.Client(host.config, store_wait=60) as client:
        client.submit("a")
        host.stop()
        # One that knew the first, and one that is made meanwhile.
        waiting = [threading.Thread(target=submit, args=[who]) for who in (client, None)]
        waiting.append(threading.Thread(target=by_hand))
        for thread in waiting:
            thread.start()
        host.start()
        for thread in waiting:
            thread.join(60)
    assert [type(item) for item in found] == [str, str, str]


def test_submit_where_no_daemon_ever_was_is_told_so_at_once(host: Host) -> None:
    began = time.monotonic()
    with (
        jobctl.Client(host.config, store_wait=60) as client,
        pytest.raises(jobctl.StoreUnreachable, match="no daemon is running"),
    ):
        client.submit("a")
    assert time.monotonic() - began < 30
    shutil.rmtree(host.state, ignore_errors=True)


def test_another_namespace_under_a_living_client_is_warned_of(
    host: Host, shop: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of before would seem to be forgotten, and new ones to wait for nothing."""
    monkeypatch.setattr("jobctl.api.operations.LOOK_EVERY", 0.0)
    with jobctl.Client(shop.config) as other:
        address = f"unix://{other._operations.session.address.path}"
    host.redis = address
    host.write(JOBS, settings='namespace = "first"\n')
    with jobctl.Client(host.config) as client:
        run = client.submit("a")
        host.write(JOBS, settings='namespace = "second"\n')
        says = r"now names namespace second at .*, before it was namespace first at "
        with pytest.warns(UserWarning, match=says):
            second = client.submit("a")
        assert client.run(second.id) == second
        with pytest.raises(
            jobctl.NoSuchRun, match=r"no run \w+ in namespace second .*are in namespace first"
        ):
            run.refresh()
        assert second.state == "queued"


def submit(host: Host) -> None:
    jobctl.Client(host.config).submit("a")


def submit_from_a_loop(host: Host) -> None:
    async def ask() -> None:
        async with jobctl.AsyncClient(host.config) as client:
            await client.submit("a")

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [submit, submit_from_a_loop])
def test_trouble_is_told_once_and_not_with_all_it_came_from(
    host: Host, ask: Callable[[Host], None]
) -> None:
    with pytest.raises(jobctl.StoreUnreachable, match="no daemon is running") as caught:
        ask(host)
    assert "".join(traceback.format_exception(caught.value)).count("Traceback") == 1
