from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import NotPermittedError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.aio import AsyncStore, Backoff
from jobctl.store.calls import Call
from jobctl.store.failures import LostReplyError, StoreBusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.embedded import EmbeddedStore

    Echo = Callable[[object], Call[object]]

DEADLINE = 5.0


def plain(*words: str | bytes | int, blocking: float | None = None) -> Call[object]:
    return Call(words, lambda reply: reply, blocking=blocking)


PING = plain("PING")


def run(story: Coroutine[object, object, None]) -> None:
    """Run a story in a loop whose leftovers count as failures."""

    async def whole() -> None:
        trouble: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: trouble.append(what))
        async with asyncio.timeout(DEADLINE):
            await story
        await asyncio.sleep(0)
        assert trouble == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for is not in this process
        await asyncio.sleep(0.005)


def test_calls_are_decoded(store: BlockingStore, echo: Echo) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            await ours.run(plain("SCRIPT", "FLUSH"))
            assert await ours.run(echo("a")) == "a"
            assert await ours.run_many([echo("b"), PING, echo("c")]) == ["b", b"PONG", "c"]
            assert ours.generation == 1

    run(story())


def test_concurrent_calls_get_their_own_answers(store: BlockingStore, echo: Echo) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            await ours.run(plain("SCRIPT", "FLUSH"))

            async def work(name: int) -> None:
                for number in range(50):
                    assert await ours.run(echo(f"{name}-{number}")) == f"{name}-{number}"

            await asyncio.gather(*(work(name) for name in range(20)))
            assert ours.generation == 1

    run(story())


def test_calls_of_one_turn_leave_in_one_write(proxy) -> None:
    async def story() -> None:
        async with AsyncStore(proxy.address) as ours:
            await ours.connect()
            written: list[bytes] = []
            transport = ours._connection._transport  # type: ignore[union-attr]
            send = transport.write  # type: ignore[union-attr]

            def write(data: bytes) -> None:
                written.append(data)
                send(data)

            transport.write = write  # type: ignore[union-attr,method-assign,assignment]
            await asyncio.gather(*(ours.run(PING) for _ in range(8)))
            assert len(written) == 1

    run(story())


def test_cancelled_call_does_not_shift_the_answers(store: BlockingStore, echo: Echo) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            await ours.run(echo("warm"))
            tasks = [asyncio.create_task(ours.run(echo(number))) for number in range(30)]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                if number % 3:
                    assert result == str(number)
                else:
                    assert isinstance(result, asyncio.CancelledError)
            assert await ours.run(echo("after")) == "after"
            assert ours.generation == 1

    run(story())


def test_cancelled_wait_takes_no_token(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as bells, AsyncStore(store.address) as ours:
            waiting = asyncio.create_task(bells.run(plain("BLPOP", "bell", "5", blocking=5.0)))
            await until(lambda: b"cmd=blpop" in store.run(plain("CLIENT", "LIST")))  # type: ignore[operator]
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(lambda: b"cmd=blpop" not in store.run(plain("CLIENT", "LIST")))  # type: ignore[operator]
            await ours.run(plain("RPUSH", "bell", "ding"))
            assert await bells.run(plain("BLPOP", "bell", "1", blocking=1.0)) == [b"bell", b"ding"]
            assert bells.generation == 2

    run(story())


def test_blocking_call_may_take_longer_than_the_timeout(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address, timeout=0.1) as bells:
            wait = plain("BLPOP", "nothing", "0.3", blocking=0.3)
            assert await asyncio.gather(bells.run(wait), bells.run(PING)) == [None, b"PONG"]
            assert bells.generation == 1

    run(story())


def test_first_error_is_raised_after_all_are_answered(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            with pytest.raises(StoreError, match="NOSUCH"):
                await ours.run_many([plain("NOSUCH"), plain("SET", "k", 2), plain("BAD")])
            assert await ours.run(plain("GET", "k")) == b"2"
            results = await ours.try_many([PING, plain("NOSUCH")])
            assert results[0] == b"PONG"
            assert isinstance(results[1], StoreError)

    run(story())


def test_large_values_pass(store: BlockingStore) -> None:
    async def story() -> None:
        blob = bytes(range(256)) * 20_000
        async with AsyncStore(store.address) as ours:
            assert await ours.run_many([plain("SET", "k", blob), plain("GET", "k")]) == [
                b"OK",
                blob,
            ]

    run(story())


def test_missing_server_is_unreachable_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with AsyncStore(Address(path=str(tmp_path / "s"))) as ours:
            results = await asyncio.gather(
                *(ours.run(PING) for _ in range(3)), return_exceptions=True
            )
            assert all(isinstance(result, UnreachableError) for result in results)
            assert ours.generation == 0
            assert not ours.connected

    run(story())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_closed_port_is_unreachable(free_port: int, host: str) -> None:
    async def story() -> None:
        async with AsyncStore(Address(host=host, port=free_port)) as ours:
            with pytest.raises(UnreachableError, match="refused"):
                await ours.run(PING)

    run(story())


def test_wrong_password_is_not_permitted(
    raw_server: Callable[..., Address], free_port: int
) -> None:
    raw_server("--requirepass", "right", "--port", str(free_port))

    async def story() -> None:
        url = f"redis://:right@127.0.0.1:{free_port}/1"
        async with AsyncStore(Address.parse(url), name="jobctl:test") as ours:
            info = await ours.run(plain("CLIENT", "INFO"))
            assert b" name=jobctl:test " in info  # type: ignore[operator]
            assert b" db=1 " in info  # type: ignore[operator]
        for login in ("", ":wrong@"):
            address = Address.parse(f"redis://{login}127.0.0.1:{free_port}")
            async with AsyncStore(address) as ours:
                with pytest.raises(NotPermittedError):
                    await ours.run(PING)
                with pytest.raises(NotPermittedError):  # waiting does not mend a password
                    await (ours.wait_connected() if login else ours.run(PING))

    run(story())


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("mode", ["eat", "cut"])
def test_lost_answer_leaves_the_fate_unknown(proxy, mode: str) -> None:
    async def story() -> None:
        async with AsyncStore(proxy.address, timeout=0.2) as ours:
            assert await ours.run(PING) == b"PONG"
            proxy.mode = mode
            results = await asyncio.gather(
                *(ours.run(plain("INCR", "n")) for _ in range(5)), return_exceptions=True
            )
            assert {type(result) for result in results} == {LostReplyError}
            proxy.mode = "pass"
            assert await ours.run(plain("GET", "n")) == b"5"
            assert ours.generation == 2

    run(story())


def test_deaf_connection_is_dropped_while_it_waits(proxy) -> None:
    async def story() -> None:
        async with AsyncStore(proxy.address, timeout=0.1) as bells:
            await bells.connect()
            proxy.mode = "eat"
            began = asyncio.get_running_loop().time()
            with pytest.raises(LostReplyError, match="no answer came in time"):
                await bells.run(plain("BLPOP", "nothing", "0.1", blocking=0.1))
            assert asyncio.get_running_loop().time() - began < 1.0
            assert not bells.connected

    run(story())


def test_unblocked_wait_was_refused_and_the_next_call_connects_anew(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as bells:
            ident = await bells.run(plain("CLIENT", "ID"))
            waiting = asyncio.create_task(bells.run(plain("BLPOP", "bell", "5", blocking=5.0)))
            unblock = plain("CLIENT", "UNBLOCK", int(ident), "ERROR")  # type: ignore[call-overload]
            await until(lambda: store.run(unblock) == 1)
            with pytest.raises(StoreBusyError, match="gave up its role"):
                await waiting
            assert not bells.connected
            assert await bells.run(PING) == b"PONG"
            assert bells.generation == 2

    run(story())


def test_connection_over_the_limit_is_refused_with_the_reason(
    raw_server: Callable[..., Address],
) -> None:
    address = raw_server()

    async def story() -> None:
        async with AsyncStore(address) as first, AsyncStore(address) as second:
            await first.run(plain("CONFIG", "SET", "maxclients", 1))
            with pytest.raises(StoreBusyError, match="maxclients"):
                await second.run(PING)

    run(story())


def test_waiting_for_a_server_ends_when_it_starts(
    raw_server: Callable[..., Address], short_dir: Path
) -> None:
    async def story() -> None:
        async with AsyncStore(Address(path=str(short_dir / "s"))) as ours:
            waiting = asyncio.create_task(ours.wait_connected(Backoff(0.01, 0.02)))
            await asyncio.sleep(0)
            await asyncio.to_thread(raw_server)
            assert await waiting == 1
            assert await ours.run(PING) == b"PONG"

    run(story())


def test_restarted_server_is_found_again(raw_server: Callable[..., Address]) -> None:
    address = raw_server()

    async def story() -> None:
        async with AsyncStore(address) as ours:
            waiting = asyncio.create_task(ours.run(plain("BLPOP", "bell", "5", blocking=5.0)))
            await asyncio.sleep(0)
            async with AsyncStore(address) as other:
                with pytest.raises(LostReplyError):
                    await other.run(plain("SHUTDOWN", "NOSAVE"))
            with pytest.raises(LostReplyError):
                await waiting
            with pytest.raises(UnreachableError):
                await ours.run(PING)
            await asyncio.to_thread(raw_server)
            assert await ours.wait_connected() == 2

    run(story())


def test_closing_fails_the_calls_under_way(store: BlockingStore) -> None:
    async def story() -> None:
        ours = AsyncStore(store.address)
        waiting = asyncio.create_task(ours.run(plain("BLPOP", "bell", "5", blocking=5.0)))
        await until(lambda: b"blocked_clients:1" in store.run(plain("INFO", "clients")))
        await ours.close()
        with pytest.raises(LostReplyError):
            await waiting
        await ours.close()

    run(story())


def test_call_that_was_never_written_is_unreachable(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            await ours.connect()
            waiting = asyncio.create_task(ours.run(plain("INCR", "n")))
            await asyncio.sleep(0)  # queued, to be written at the end of this turn
            ours.drop()
            with pytest.raises(UnreachableError):
                await waiting
        assert store.run(plain("GET", "n")) is None

    run(story())


def test_pauses_grow_to_a_limit_and_start_again() -> None:
    backoff = Backoff(0.1, 5.0)
    pauses = [backoff.next() for _ in range(200)]
    assert all(0 <= pause <= 5 for pause in pauses)
    assert pauses[0] <= 0.1
    assert max(pauses) > 2.5
    backoff.reset()
    assert backoff.next() <= 0.1


def test_long_socket_path_works(server: EmbeddedStore, short_dir: Path) -> None:
    deep = short_dir / ("d" * 120)
    deep.symlink_to(server.directory)

    async def story() -> None:
        async with AsyncStore(Address(path=str(deep / "valkey.sock"))) as ours:
            assert await ours.run(PING) == b"PONG"

    run(story())


def test_closing_while_connecting_fails_the_calls(short_dir: Path) -> None:
    async def story() -> None:
        path = str(short_dir / "s")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()  # says nothing, so that the login never ends
            ours = AsyncStore(Address(path=path, password="x"))
            waiting = asyncio.create_task(ours.run(PING))
            await until(lambda: ours._connecting)
            await ours.close()
            with pytest.raises(UnreachableError, match="closed"):
                await waiting

    run(story())


def test_cancelled_connect_leaves_the_others_waiting(store: BlockingStore) -> None:
    async def story() -> None:
        async with AsyncStore(store.address) as ours:
            first, second = (asyncio.create_task(ours.run(PING)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert await second == b"PONG"
            assert first.cancelled()
            assert ours.generation == 1

    run(story())


def test_who_is_told_of_a_result_hears_it_before_who_waits(server: EmbeddedStore) -> None:
    async def story() -> list[object]:
        heard: list[object] = []
        async with AsyncStore(server.address) as store:
            ping: Call[object] = Call(("PING",), lambda reply: reply)
            echo: Call[object] = Call(("ECHO", "a"), lambda reply: reply)
            echo.told = heard.append
            wrong: Call[object] = Call(("NO-SUCH-COMMAND",), lambda reply: reply)
            wrong.told = heard.append
            asked = asyncio.create_task(store.try_many([ping, echo, wrong]))
            while not heard:  # noqa: ASYNC110 - one turn of the loop after the other
                await asyncio.sleep(0)
            assert not asked.done()
            first, second, third = await asked
        assert (first, second, heard) == (b"PONG", b"a", [b"a"])
        assert isinstance(third, StoreError)
        return heard

    asyncio.run(story())


def test_what_is_raised_by_who_is_told_reaches_who_asked(server: EmbeddedStore) -> None:
    def tell(_: object) -> None:
        raise RuntimeError("a mistake")

    async def story() -> None:
        async with AsyncStore(server.address) as store:
            ping: Call[object] = Call(("PING",), lambda reply: reply)
            ping.told = tell
            with pytest.raises(RuntimeError, match="a mistake"):
                await store.try_many([ping])
            assert await store.run(Call(("PING",), lambda reply: reply)) == b"PONG"

    asyncio.run(story())


def test_who_is_told_hears_it_once_when_the_script_was_unknown(
    store: BlockingStore, server: EmbeddedStore, echo: Callable[[object], Call[object]]
) -> None:
    async def story() -> None:
        heard: list[object] = []
        store.run(Call(("SCRIPT", "FLUSH"), bool))
        async with AsyncStore(server.address) as link:
            call = echo("a")
            call.told = heard.append
            assert await link.try_many([call]) == ["a"]
        assert heard == ["a"]

    asyncio.run(story())
