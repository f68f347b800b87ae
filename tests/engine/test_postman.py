"""The postman against a real store: what becomes of notices that cannot be delivered at once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import delivery
from jobctl.engine.deliveries import Deliveries
from jobctl.engine.places import Places
from jobctl.engine.postman import Postman
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, MailDef
from jobctl.store.aio import AsyncStore
from tests.listeners import MailServer, WebServer, free_port
from tests.store.store_world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.store.address import Address
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.calls import Call
    from jobctl.store.embedded import EmbeddedStore

A, B = "h1~a", "h2~b"
DEADLINE = 20.0


class Office:
    """A postman of supervisor ``h1~a`` that knows these jobs."""

    def __init__(self, store: BlockingStore, server: EmbeddedStore, state: Path) -> None:
        self.world = World(store)
        self._server = server
        self._state = state

    async def deliver(
        self, *jobs: JobDef, until: Callable[[], object], mail: MailDef | None = None
    ) -> None:
        """Let the postman work until something is true."""
        connection = AsyncStore(self.world_address, name="postman")
        postman = self.postman(connection, *jobs, mail=mail)
        bugs: list[BaseException] = []
        postman.start(bugs.append)
        try:
            async with asyncio.timeout(DEADLINE):
                while not until():
                    postman.wake()
                    await asyncio.sleep(0.02)
        finally:
            await postman.stop()
            await connection.close()
        assert bugs == []

    @property
    def world_address(self) -> Address:
        return self._server.address

    def postman(
        self, connection: AsyncStore, *jobs: JobDef, mail: MailDef | None = None
    ) -> Postman:
        keys = self.world.keys
        made = Deliveries(
            connection,
            keys,
            host="h1",
            timezone="UTC",
            state_dir=self._state,
            schedules=lambda _: [],
            seal=lambda _, envelope: envelope,
            clock=SYSTEM_CLOCK,
        )
        postman = Postman(connection, keys, supervisor=A, deliveries=made, clock=SYSTEM_CLOCK)
        postman.configure(
            Config(
                settings=Settings(namespace=keys.namespace, redis="x"),
                jobs={job.name: job for job in jobs},
                mail=mail or MailDef(),
            )
        )
        return postman

    @property
    def waiting(self) -> int:
        keys = self.world.keys
        return self.world.raw("LLEN", keys.outbox(A)) + self.world.raw("LLEN", keys.notices)

    def fail(self, **options: object) -> str:
        run_id = self.world.running(**{"notices": "x", **options})
        self.world.settle(run_id, "x", reason="exit", fields=("at", "1", "rc", "1"))
        return run_id


@pytest.fixture
def office(store: BlockingStore, server: EmbeddedStore, tmp_path: Path) -> Office:
    return Office(store, server, tmp_path)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes repetitions come soon."""
    for module in ("postman", "places"):
        monkeypatch.setattr(f"jobctl.engine.{module}.pause", lambda _: 0.05)


def test_pauses_grow_and_are_bounded() -> None:
    assert [delivery.pause(number) for number in (1, 2, 3, 8, 50)] == [5, 10, 20, 600, 600]


def test_what_foreign_servers_say_is_one_safe_line() -> None:
    assert delivery.quoted(b"no\r\n\x1b[2Jway" + b"x" * 900).startswith("no ?[2Jway")
    assert len(delivery.quoted("x" * 900)) == delivery.CUT


@pytest.mark.usefixtures("hasty")
def test_call_is_repeated_until_it_is_taken(office: Office) -> None:
    office.fail()
    with WebServer(statuses=[503, 500]) as web:
        job = JobDef(name="j", ping_url=web.url)
        asyncio.run(office.deliver(job, until=lambda: not office.waiting))
        assert len(web.tried) == 3
        assert web.paths == ["/1"]


def test_refused_notice_is_given_up_and_counted(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.fail()
    with WebServer(status=404) as web:
        job = JobDef(name="j", ping_url=web.url)
        asyncio.run(office.deliver(job, until=lambda: not office.waiting))
        assert len(web.tried) == 1
    assert office.world.counters()["undelivered"] == 1
    assert any(
        record.levelno == logging.ERROR and "was not delivered" in record.message
        for record in caplog.records
    )


@pytest.mark.usefixtures("hasty")
def test_notice_that_is_too_old_gets_one_more_try(office: Office) -> None:
    office.fail()
    (raw,) = office.world.raw("LRANGE", office.world.keys.outbox(A), 0, -1)
    old = raw.replace(b'"t":1', b'"t":')
    office.world.raw("LSET", office.world.keys.outbox(A), 0, old)
    with WebServer(status=503) as web:
        job = JobDef(name="j", ping_url=web.url)
        asyncio.run(office.deliver(job, until=lambda: not office.waiting))
        assert len(web.tried) == 1
    assert office.world.counters()["undelivered"] == 1


@pytest.mark.usefixtures("hasty")
def test_mail_goes_on_to_those_who_did_not_get_it(office: Office) -> None:
    office.fail()
    with MailServer(answers={"b": "451 later"}) as post:
        job = JobDef(name="j", mail_to=("a", "b"), mail_on="always")

        def until() -> bool:
            if post.mails:
                post.answers.clear()
            return not office.waiting

        asyncio.run(office.deliver(job, until=until, mail=MailDef(smtp=post.url)))
    assert [mail.to for mail in post.mails] == [["a"], ["b"]]
    assert post.mails[0].message["Message-ID"] == post.mails[1].message["Message-ID"]


def test_notice_of_a_job_that_only_another_host_knows_reaches_that_host(office: Office) -> None:
    office.world.supervisor(B)
    office.fail()
    keys = office.world.keys
    asyncio.run(office.deliver(until=lambda: office.world.raw("LLEN", keys.notices) == 1))
    assert office.world.raw("LLEN", keys.outbox(A)) == 0


def test_notice_of_a_job_that_nobody_knows_is_given_up_in_the_end(office: Office) -> None:
    office.fail()
    (raw,) = office.world.raw("LRANGE", office.world.keys.outbox(A), 0, -1)
    office.world.raw("LSET", office.world.keys.outbox(A), 0, raw.replace(b'"t":1', b'"t":'))
    asyncio.run(office.deliver(until=lambda: not office.waiting))
    assert office.world.counters()["undelivered"] == 1


def test_what_is_no_notice_is_thrown_away(office: Office) -> None:
    for raw in ("", "{", "[]", '{"no":"x"}', "\xff"):
        office.world.raw("RPUSH", office.world.keys.notices, raw)
    asyncio.run(office.deliver(until=lambda: not office.waiting))
    assert office.world.counters()["undelivered"] == 5


def test_hook_runs_once_however_often_its_notice_comes(office: Office) -> None:
    office.fail()
    keys = office.world.keys
    (raw,) = office.world.raw("LRANGE", keys.outbox(A), 0, -1)
    jobs = JobDef(name="j", on_failure=("tell",)), JobDef(name="tell", command="true")
    for _ in range(2):
        asyncio.run(office.deliver(*jobs, until=lambda: not office.waiting))
        office.world.raw("RPUSH", keys.outbox(A), raw)
    office.world.raw("DEL", keys.outbox(A))
    assert len(office.world.claim(9)) == 1


def test_hooks_above_each_other_end(office: Office) -> None:
    jobs = JobDef(name="j", on_failure=("j",)), JobDef(name="other")
    office.fail()
    runs = 1
    while True:
        asyncio.run(office.deliver(*jobs, until=lambda: not office.waiting))
        claims = office.world.take().claims
        if not claims:
            break
        runs += 1
        office.world.settle(claims[0].id, "x", reason="exit")
    assert runs == 6


@pytest.mark.usefixtures("hasty")
def test_place_that_is_down_holds_up_no_other(office: Office) -> None:
    for _ in range(30):
        office.fail(job="dead")
    office.fail(job="j")
    with WebServer() as web:
        jobs = (
            JobDef(name="dead", ping_url=f"http://127.0.0.1:{free_port()}"),
            JobDef(name="j", ping_url=web.url),
        )
        asyncio.run(office.deliver(*jobs, until=lambda: web.calls and office.waiting == 30))
    assert len(web.calls) == 1


def test_two_looks_at_the_same_time_lose_nothing_that_was_said(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        office.fail()
    first, second = office.world.raw("LRANGE", office.world.keys.outbox(A), 0, -1)

    async def story() -> None:
        connection = AsyncStore(office.world_address, name="postman")
        postman = office.postman(connection, JobDef(name="j"))
        await postman.tick()
        await turning(lambda: postman._done == [first, second])
        postman._done.pop()
        answers = asyncio.Event()

        async def late(call: Call[object]) -> object:
            await answers.wait()
            return await AsyncStore.run(connection, call)

        monkeypatch.setattr(connection, "run", late)
        looks = [asyncio.create_task(postman.tick()) for _ in range(2)]
        await asyncio.sleep(0)
        postman._done.append(second)
        answers.set()
        await asyncio.gather(*looks)
        await postman.tick()
        await postman.stop()
        await connection.close()

    asyncio.run(story())
    assert office.waiting == 0


def test_end_does_not_wait_for_what_failed_before(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobctl.engine.postman.LAST_MOMENT", 1000.0)
    office.fail()

    async def story() -> None:
        connection = AsyncStore(office.world_address, name="postman")
        url = f"http://127.0.0.1:{free_port()}"
        postman = office.postman(connection, JobDef(name="j", ping_url=url))
        async with asyncio.timeout(DEADLINE):
            await postman.finish()
        await postman.stop()
        await connection.close()

    asyncio.run(story())
    assert office.waiting == 1


async def turning(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is true."""
    while not condition():  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0)


def test_place_takes_few_at_a_time_and_nobody_while_it_is_down() -> None:
    async def story() -> None:
        places = Places(SYSTEM_CLOCK)
        inside: list[str] = []
        release = asyncio.Event()

        async def visit(name: str) -> None:
            async with places.turn(name):
                inside.append(name)
                await release.wait()

        visits = [asyncio.create_task(visit("a")) for _ in range(5)]
        visits.append(asyncio.create_task(visit("b")))
        async with asyncio.timeout(DEADLINE):
            await turning(lambda: len(inside) == 3)
        assert sorted(inside) == ["a", "a", "b"]
        places.down("a")
        release.set()
        async with asyncio.timeout(DEADLINE):
            await visits[-1]
            await turning(lambda: sum(task.done() for task in visits) == 3)
        assert inside.count("a") == 2
        for task in visits:
            task.cancel()
        await asyncio.gather(*visits, return_exceptions=True)

    asyncio.run(story())
