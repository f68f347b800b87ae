"""The pump between a pool and a real store."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobctl.engine.hold import Hold
from jobctl.engine.host_journal import HostJournal
from jobctl.engine.ledger import Held, Ledger
from jobctl.engine.pump import Pump
from jobctl.model.admission import Admission, NewRun
from jobctl.model.ids import new_id
from jobctl.model.run import Request
from jobctl.store import membership, queries, transitions
from jobctl.store.aio import AsyncStore
from jobctl.store.calls import Call
from jobctl.store.keys import Keys
from jobctl.store.settling import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore
    from jobctl.store.transitions import ClaimReply


class LateStore(AsyncStore):
    """Lets something happen between the server's answer and its arrival."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def try_many(self, calls: list[Call]) -> list:
        replies = await super().try_many(calls)
        self.meanwhile()
        return replies


def submit(store: BlockingStore, keys: Keys) -> str:
    run = NewRun(request=Request(id=new_id(), job="j"), admission=Admission())
    store.run(transitions.submit(keys, [run]))
    return run.request.id


def a_pump(
    store: AsyncStore,
    keys: Keys,
    on_claims: Callable[[ClaimReply], None],
    **others: Any,
) -> Pump:
    seams: dict[str, Any] = {
        "on_stale": lambda _id, _epoch: None,
        "hush": lambda: asyncio.sleep(0),
        "idle": lambda: 2,
        "on_answered": lambda *_: None,
    }
    return Pump(
        store,
        keys,
        Ledger(slots=2),
        supervisor="s",
        owner="s/p.1",
        queues=("default",),
        journal=HostJournal(Path(os.devnull), os.open(os.devnull, os.O_RDWR)),
        on_claims=on_claims,
        on_gone=lambda _item: None,
        on_fenced=lambda: None,
        **(seams | others),
    )


def register(store: BlockingStore, keys: Keys) -> None:
    store.run(membership.register(keys, supervisor="s", facts={}))
    store.run(membership.add_pool(keys, supervisor="s", owner="s/p.1"))


def test_pool_goes_on_listening_after_a_turn_that_claims_nothing(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    """Else nobody hears a bell while slots are free, until a run ends."""
    keys = Keys("pump-hungry")
    register(store, keys)

    async def story() -> None:
        turns = AsyncStore(server.address)
        pump = a_pump(turns, keys, lambda _reply: None)
        task = asyncio.create_task(pump.run())
        async with asyncio.timeout(5):
            pump.look()
            await pump.wait_hungry()
            pump.mark((new_id(), 1, 1, 1.0, 99))
            await pump.wait_clear()
            await pump.wait_hungry()
        task.cancel()
        await turns.close()

    asyncio.run(story())


def test_bell_that_rings_while_an_empty_claim_travels_is_heard(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-bell")
    register(store, keys)

    async def story() -> list[str]:
        late = LateStore(server.address)
        claimed: list[str] = []
        pump = a_pump(late, keys, lambda reply: claimed.extend(c.id for c in reply.claims))

        def ring_once() -> None:
            late.meanwhile = lambda: None
            submit(store, keys)
            store.run(queries.wait_for_bells(keys, ["default"], timeout=1))  # the token is ours
            pump.rang()

        late.meanwhile = ring_once
        task = asyncio.create_task(pump.run())
        pump.look()
        async with asyncio.timeout(5):
            while not claimed:  # noqa: ASYNC110 - a list cannot be waited for
                await asyncio.sleep(0.01)
        task.cancel()
        await late.close()
        return claimed

    assert len(asyncio.run(story())) == 1


def test_claim_whose_answer_was_lost_is_found_and_given_back(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-lost")
    register(store, keys)
    run_id = submit(store, keys)
    lost = transitions.claim(keys, supervisor="s", owner="s/p.1", want=1, queues=["default"])
    store.run(lost)  # nobody hears the answer

    async def story() -> list[str]:
        link = AsyncStore(server.address)
        claimed: list[str] = []
        pump = a_pump(link, keys, lambda reply: claimed.extend(c.id for c in reply.claims))
        task = asyncio.create_task(pump.run())
        pump.check()
        pump.look()
        async with asyncio.timeout(5):
            while not claimed:
                pump.look()
                await asyncio.sleep(0.01)
        task.cancel()
        await link.close()
        return claimed

    assert asyncio.run(story()) == [run_id]


def test_progress_is_never_to_be_seen_before_the_attempt_it_is_of(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-progress")
    register(store, keys)
    run_id = submit(store, keys)

    async def story() -> None:
        link = AsyncStore(server.address)
        taken: asyncio.Future[Held] = asyncio.get_running_loop().create_future()

        def begin(reply: ClaimReply) -> None:
            for claim in reply.claims:
                request = Request(id=claim.id, job="j")
                taken.set_result(Held(claim, request, claimed_at=0.0, attempt=1))

        pump = a_pump(link, keys, begin)
        task = asyncio.create_task(pump.run())
        async with asyncio.timeout(5):
            pump.look()
            held = await taken
            held.pid, held.started_at = 4711, 1.5
            pump.note(held, "{}")
            await pump.wait_clear()
            await pump.wait_hungry()
        task.cancel()
        await link.close()

    asyncio.run(story())
    assert store.run(queries.state(keys, run_id)) == ("r", "{}", 1)


def test_run_that_waits_here_does_not_begin_once_the_store_has_lost_its_claim(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-forgotten")
    register(store, keys)
    for _ in range(2):
        submit(store, keys)
    reply = store.run(
        transitions.claim(keys, supervisor="s", owner="s/p.1", want=2, queues=["default"])
    )
    lost, kept = (
        Held(claim, Request(id=claim.id, job="j"), claimed_at=0.0, attempt=1)
        for claim in reply.claims
    )
    store.run(transitions.release(keys, owner="s/p.1", items=[(lost.claim.id, lost.claim.epoch)]))

    async def story() -> None:
        link = AsyncStore(server.address)
        pump = a_pump(link, keys, lambda _: None, idle=lambda: 0)
        pump._ledger.backlog.extend([lost, kept])
        task = asyncio.create_task(pump.run())
        async with asyncio.timeout(5):
            pump.check()
            while len(pump._ledger.backlog) > 1:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
        assert list(pump._ledger.backlog) == [kept]
        task.cancel()
        await link.close()

    asyncio.run(story())


def test_an_outcome_that_a_dead_pool_had_sent_counts_no_start_again(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-resent")
    register(store, keys)
    run_id = submit(store, keys)
    store.run(transitions.claim(keys, supervisor="s", owner="s/p.1", want=1, queues=["default"]))
    again = Settlement(run_id, 1, "d", "exit", 60.0, ("at", 1), signed=5, last_start=9.0)

    async def story() -> list[list[tuple[str, str]]]:
        link = AsyncStore(server.address)
        told: list[list[tuple[str, str]]] = []
        for _ in range(3):
            said: list[tuple[str, str]] = []
            told.append(said)
            pump = a_pump(
                link, keys, lambda _: None,
                on_answered=lambda ends, said=said: said.extend((i.id, word) for i, word in ends),
            )  # fmt: skip
            task = asyncio.create_task(pump.run())
            pump.inherit({run_id: again})
            async with asyncio.timeout(5):
                await pump.wait_clear()
            task.cancel()
        await link.close()
        return told

    assert asyncio.run(story()) == [[(run_id, "")], [], []]


def test_what_is_taken_back_of_a_dead_process_is_told_by_what_had_become_of_it(
    store: BlockingStore, server: EmbeddedStore, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys("pump-taken-back")
    register(store, keys)
    runs = [submit(store, keys) for _ in range(4)]
    store.run(transitions.claim(keys, supervisor="s", owner="s/p.1", want=4, queues=["default"]))
    store.run(transitions.start(keys, owner="s/p.1", marks=[(runs[0], 1, 1, 1e9, 77)]))
    # Somebody else's by now: of this, only the entry goes.
    store.run(Call(("HSET", keys.run(runs[3]), "o", "t/p.1"), lambda reply: reply))

    async def story() -> None:
        link = AsyncStore(server.address)
        pump = a_pump(link, keys, lambda _: None, idle=lambda: 0)
        task = asyncio.create_task(pump.run())
        pump.inherit({})
        async with asyncio.timeout(5):
            while "taken back" not in caplog.text:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
        task.cancel()
        await link.close()

    asyncio.run(story())

    (said,) = [one.message for one in caplog.records if "taken back" in one.message]
    assert said == "taken back from a process that died: 1 run that was under way, 2 only claimed"


def flooded(
    store: BlockingStore, server: EmbeddedStore, keys: Keys, see: Callable[[AsyncStore, Pump], None]
) -> tuple[set[str], list[str]]:
    """Have a pump claim 700 runs for 1,000 idle slots; return their ids and those it was given.

    ``see`` is called whenever some come while the next claim is on its way.
    """
    register(store, keys)
    runs = [
        NewRun(request=Request(id=new_id(), job="j"), admission=Admission()) for _ in range(700)
    ]
    store.run(transitions.submit(keys, runs))
    given: list[str] = []

    async def story() -> None:
        link = AsyncStore(server.address)
        pump: Pump

        def on_claims(reply: ClaimReply) -> None:
            for claim in reply.claims:
                given.append(claim.id)
                request = Request(id=claim.id, job=claim.job)
                pump._ledger.running[claim.id] = Held(claim, request, 0.0, 1)
            if pump._flights:
                see(link, pump)

        pump = a_pump(link, keys, on_claims, idle=lambda: 1000 - len(set(given)))
        task = asyncio.create_task(pump.run())
        pump.check()
        pump.look()
        async with asyncio.timeout(20):
            while len(set(given)) < len(runs):
                pump.look()
                await asyncio.sleep(0.01)
        task.cancel()
        await link.close()

    asyncio.run(story())
    return {run.request.id for run in runs}, given


def test_in_a_flood_the_next_claim_is_made_while_one_is_taken_in(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    wanted: list[int | None] = []
    ids, given = flooded(
        store, server, Keys("pump-flood"), lambda _, pump: wanted.append(pump._flights[-1].want)
    )

    assert wanted == [256]  # the first one came by a connection that was new
    assert sorted(given) == sorted(ids)


def test_what_a_claim_brought_ahead_is_found_when_its_connection_breaks(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    broken: list[bool] = []

    def drop_once(link: AsyncStore, _: Pump) -> None:
        if not broken:
            broken.append(True)
            link.drop()

    ids, given = flooded(store, server, Keys("pump-flood-lost"), drop_once)

    assert broken
    assert sorted(given) == sorted(ids)


def settled_in_a_flood(
    store: BlockingStore, server: EmbeddedStore, keys: Keys, *, break_at: int | None
) -> tuple[list[int], set[str]]:
    """Have a pump settle 2,000 runs as they come, a hundred each moment.

    Returns how many turns were under way at each of those moments, and the letters of the runs.
    """
    register(store, keys)
    runs = [
        NewRun(request=Request(id=new_id(), job="j"), admission=Admission()) for _ in range(2000)
    ]
    store.run(transitions.submit(keys, runs))
    under_way: list[int] = []

    async def story() -> None:
        link = AsyncStore(server.address)
        waiting: list[Settlement] = []
        done: set[str] = set()

        def on_claims(reply: ClaimReply) -> None:
            for claim in reply.claims:
                request = Request(id=claim.id, job=claim.job)
                pump._ledger.running[claim.id] = Held(claim, request, 0.0, 1)
                waiting.append(Settlement(claim.id, claim.epoch, "k", "", 0.0, ("at", 1)))

        pump = a_pump(link, keys, on_claims, idle=lambda: 600 - len(pump._ledger.running))
        task = asyncio.create_task(pump.run())
        pump.look()
        async with asyncio.timeout(20):
            while len(done) < len(runs) or not pump.clear:
                now, waiting[:] = waiting[:100], waiting[100:]
                for item in now:
                    pump._ledger.running.pop(item.id, None)
                    done.add(item.id)
                pump.settle(*now)
                under_way.append(len(pump._flights))
                if len(under_way) == break_at:
                    link.drop()
                await asyncio.sleep(0)
        task.cancel()
        await link.close()

    asyncio.run(story())
    ended = store.run_many([queries.run(keys, run.request.id) for run in runs])
    return under_way, {run.letter if run is not None else "" for run in ended}


def test_in_a_flood_a_second_turn_does_not_wait_for_the_first(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    most = 0
    for attempt in range(5):  # a store that is quick enough answers before there is a second
        keys = Keys(f"pump-two-{attempt}")
        under_way, letters = settled_in_a_flood(store, server, keys, break_at=None)
        assert letters == {"k"}
        most = max(most, *under_way)
        if most > 1:
            break

    assert most == 2


@pytest.mark.parametrize("moment", [5, 9, 14, 22, 40])
def test_outcomes_under_way_in_two_turns_survive_a_connection(
    store: BlockingStore, server: EmbeddedStore, moment: int
) -> None:
    _, letters = settled_in_a_flood(store, server, Keys(f"pump-cut-{moment}"), break_at=moment)

    assert letters == {"k"}


def test_refused_output_costs_neither_settlement_nor_claim(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-refused")
    register(store, keys)
    run_id = submit(store, keys)
    wrong = Call(("XADD", keys.counters, "*", "d", "x"), lambda reply: reply)  # a hash: refused

    async def story() -> list[str]:
        link = AsyncStore(server.address)
        claimed: list[str] = []
        pump = a_pump(link, keys, lambda reply: claimed.extend(c.id for c in reply.claims))
        pump.send(wrong)
        pump.look()
        task = asyncio.create_task(pump.run())
        async with asyncio.timeout(5):
            while not claimed:  # noqa: ASYNC110 - a list cannot be waited for
                await asyncio.sleep(0.01)
        task.cancel()
        await link.close()
        return claimed

    assert asyncio.run(story()) == [run_id]
    run = store.run(queries.run(keys, run_id))
    assert run is not None
    assert run.epoch == 1


def test_nothing_is_claimed_until_every_reason_not_to_is_lifted(
    store: BlockingStore, server: EmbeddedStore
) -> None:
    keys = Keys("pump-holds")
    register(store, keys)
    run_id = submit(store, keys)

    async def story() -> list[list[str]]:
        link = AsyncStore(server.address)
        claimed: list[str] = []
        seen = []
        pump = a_pump(link, keys, lambda reply: claimed.extend(c.id for c in reply.claims))
        pump.holds |= {Hold.ALONE, Hold.ROOM}
        task = asyncio.create_task(pump.run())
        for lifted in (Hold.ROOM, Hold.ALONE):
            pump.holds.discard(lifted)
            pump.look()
            # A call of its own has been there and back, so the claim would have been too.
            pump.send(membership.add_pool(keys, supervisor="s", owner="s/p.1"))
            async with asyncio.timeout(5):
                await pump.wait_clear()
                while pump.claiming and not claimed:  # noqa: ASYNC110 - a list cannot be waited for
                    await asyncio.sleep(0.01)
            seen.append([*claimed])
        task.cancel()
        await link.close()
        return seen

    assert asyncio.run(story()) == [[], [run_id]]
