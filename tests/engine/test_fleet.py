"""Pools that cannot be started, with real processes and a real store."""

from __future__ import annotations

import asyncio
import errno
import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from clockwork import an_identity

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine import crashes, pools, takeover
from jobctl.engine.fleet import Fleet
from jobctl.engine.lock import prepare
from jobctl.errors import NotAcceptedError
from jobctl.model.admission import Admission, NewRun
from jobctl.model.config import Config, Settings
from jobctl.model.pool import PoolDef
from jobctl.model.run import Request
from jobctl.store import failpoints, membership, queries, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore

KEYS = Keys("fleet")
SUPERVISOR = "here~a"


class Starts:
    """What becomes of starts of pools, in their order; those after them succeed."""

    def __init__(self, place: Path, *fates: str) -> None:
        self._crash = place / "crash.py"
        self._crash.write_text("raise SystemExit(70)\n")
        self.fates = list(fates)

    def popen(self, words: list[str], **options: Any) -> subprocess.Popen[bytes]:
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "refused":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        if fate == "crash":
            words = [str(self._crash) if word == pools.KEEPER else word for word in words]
        return subprocess.Popen(words, **options)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starts:
    made = Starts(tmp_path)
    instead = SimpleNamespace(Popen=made.popen, DEVNULL=subprocess.DEVNULL)
    monkeypatch.setattr(pools, "subprocess", instead)
    return made


class Crewed:
    """A fleet of one pool, drained at the end."""

    def __init__(self, server: EmbeddedStore, state_dir: Path) -> None:
        prepare(state_dir)
        self._store = AsyncStore(server.address)
        self.config = Config(
            settings=Settings(namespace=KEYS.namespace, state_dir=str(state_dir)),
            pools={"p": PoolDef(name="p", slots=1)},
        )
        self.fleet = Fleet(
            an_identity(SUPERVISOR), state_dir=state_dir, code="", store=self._store, keys=KEYS,
            on_fenced=lambda: None, on_changed=lambda: None, clock=SYSTEM_CLOCK,
        )  # fmt: skip

    async def __aenter__(self) -> Fleet:
        facts = {"host": "here"}
        await self._store.run(membership.register(KEYS, supervisor=SUPERVISOR, facts=facts))
        await self.fleet.start(self.config)
        return self.fleet

    async def __aexit__(self, *_: object) -> None:
        await self.fleet.drain(0)
        await self._store.close()


async def ready(fleet: Fleet) -> None:
    """Wait until a pool serves."""
    async with asyncio.timeout(20):
        while not any(pool["pid"] for pool in fleet.load()["pools"].values()):  # type: ignore[attr-defined]  # noqa: ASYNC110 - nobody would tell
            await asyncio.sleep(0.01)


def test_a_pool_that_is_given_up_has_a_successor_also_when_that_is_refused_at_first(
    server: EmbeddedStore, tmp_path: Path, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes, "HOPELESS", 1)
    starts.fates = ["crash", "refused"]

    async def play() -> list[str]:
        async with Crewed(server, tmp_path / "state") as fleet:
            await ready(fleet)
            return fleet.owners()

    assert len(asyncio.run(play())) == 1
    assert not starts.fates


def test_a_pool_that_dies_at_its_very_start_is_told_of_by_the_pid_its_keeper_saw(
    server: EmbeddedStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What it refuses first thing, before it has said who it is.
    monkeypatch.setenv(failpoints.RULES_VARIABLE, "no such rule")

    async def play() -> None:
        async with Crewed(server, tmp_path / "state") as fleet:
            async with asyncio.timeout(20):
                while "ended unexpectedly" not in caplog.text:  # noqa: ASYNC110 - nobody would tell
                    await asyncio.sleep(0.01)
            monkeypatch.delenv(failpoints.RULES_VARIABLE)
            await ready(fleet)

    asyncio.run(play())
    said = re.findall(r"pool p(.*) ended unexpectedly: (.*)", caplog.text)
    assert [how for _, how in said] == ["exit code 78"] * len(said)
    assert all(re.fullmatch(r" \(pid [1-9]\d*\)", who) for who, _ in said), said


def test_a_pool_whose_pid_nobody_knows_is_told_of_without_one(
    server: EmbeddedStore, tmp_path: Path, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    starts.fates = ["crash"]

    async def play() -> None:
        async with Crewed(server, tmp_path / "state") as fleet:
            await ready(fleet)

    asyncio.run(play())
    assert "pool p ended unexpectedly: nobody knows how" in caplog.text


def test_a_pool_that_begins_when_all_are_drained_ends_with_them(
    server: EmbeddedStore, tmp_path: Path
) -> None:
    async def play() -> list[str]:
        async with Crewed(server, tmp_path / "state") as fleet:
            await ready(fleet)
            async with asyncio.timeout(20):
                await asyncio.gather(fleet.order("restart", "p", 0), fleet.drain(None))
            return fleet.owners()

    assert asyncio.run(play()) == []


def test_a_pool_whose_replacement_is_refused_serves_on(
    server: EmbeddedStore, tmp_path: Path, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    starts.fates = ["", "refused"]

    async def play() -> tuple[list[str], list[str]]:
        async with Crewed(server, tmp_path / "state") as fleet:
            await ready(fleet)
            before = fleet.owners()
            await fleet.order("restart", "p", 0)
            await ready(fleet)
            return before, fleet.owners()

    before, after = asyncio.run(play())
    assert before == after
    assert "pool p is not replaced" in caplog.text


def test_a_reload_that_cannot_start_a_pool_at_once_is_told_and_may_be_tried_again(
    server: EmbeddedStore, tmp_path: Path, starts: Starts
) -> None:
    starts.fates = ["", "refused"]

    async def play() -> set[str]:
        crewed = Crewed(server, tmp_path / "state")
        async with crewed as fleet:
            more = replace(
                crewed.config, pools={**crewed.config.pools, "q": PoolDef(name="q", slots=1)}
            )
            with pytest.raises(NotAcceptedError, match="pool q cannot be started"):
                await fleet.configure(more)
            await fleet.configure(more)
            return {owner.rpartition("/")[2][0] for owner in fleet.owners()}

    assert asyncio.run(play()) == {"p", "q"}


class LateClaim:
    """A run that the store gives a pool which has just ended: of that claim nobody reads the answer."""

    def __init__(self, store: BlockingStore) -> None:
        self.store = store
        run = NewRun(request=Request(id="late", job="j", queue="other"), admission=Admission())
        store.run(transitions.submit(KEYS, [run]))

    def claim(self, owner: str) -> bool:
        reply = self.store.run(
            transitions.claim(KEYS, supervisor=SUPERVISOR, owner=owner, want=1, queues=("other",))
        )
        return [one.id for one in reply.claims] == ["late"]

    def waits(self) -> bool:
        found = self.store.run(queries.run(KEYS, "late"))
        return found is not None and found.letter == "q"

    async def wait(self) -> None:
        async with asyncio.timeout(20):
            while not self.waits():  # noqa: ASYNC110 - nobody would tell
                await asyncio.sleep(0.01)


def test_what_the_store_gave_a_pool_that_was_replaced_to_the_last_waits_again(
    server: EmbeddedStore, store: BlockingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, ended, on_end = LateClaim(store), [], Fleet._on_end

    def claims_first(fleet: Fleet, pool: pools.PoolHandle) -> None:
        ended.append((pool.owner, late.claim(pool.owner)))
        on_end(fleet, pool)

    monkeypatch.setattr(Fleet, "_on_end", claims_first)

    async def play() -> None:
        async with Crewed(server, tmp_path / "state") as fleet:
            await ready(fleet)
            before = fleet.owners()
            await fleet.order("restart", "p", 0)
            async with asyncio.timeout(20):
                while not ended:  # noqa: ASYNC110 - nobody would tell
                    await asyncio.sleep(0.01)
            assert ended == [(*before, True)]
            await late.wait()
            assert not late.claim(*before)
            assert late.claim(*fleet.owners())

    asyncio.run(play())


def test_what_the_store_gave_a_pool_that_no_file_speaks_of_waits_again_after_a_takeover(
    server: EmbeddedStore, store: BlockingStore, tmp_path: Path
) -> None:
    late, owner = LateClaim(store), f"{SUPERVISOR}/p.1"
    prepare(tmp_path / "state")

    async def play() -> None:
        link = AsyncStore(server.address)
        await link.run(membership.register(KEYS, supervisor=SUPERVISOR, facts={"host": "here"}))
        await link.run(membership.add_pool(KEYS, supervisor=SUPERVISOR, owner=owner))
        assert late.claim(owner)
        found = await takeover.inherit(
            {"supervisor": SUPERVISOR}, state_dir=tmp_path / "state", supervisor=SUPERVISOR,
            store=link, keys=KEYS,
        )  # fmt: skip
        assert found == ([], [])
        await link.close()

    asyncio.run(play())
    assert late.waits()
    assert not late.claim(owner)
