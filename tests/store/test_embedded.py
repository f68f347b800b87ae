from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobctl.errors import ConfigError, UnreachableError
from jobctl.store.blocking import BlockingStore
from jobctl.store.calls import Call
from jobctl.store.embedded import EmbeddedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from jobctl.store.address import Address

DEADLINE = 20.0

STARTER = """
import asyncio, os, sys
from pathlib import Path
from jobctl.store.embedded import EmbeddedStore
embedded = EmbeddedStore(Path(sys.argv[1]), Path(sys.argv[2]))
asyncio.run(embedded.start())
print(embedded.pid, flush=True)
sys.stdin.read()
"""


def plain(*words: str | bytes | int) -> Call[object]:
    return Call(words, lambda reply: reply)


def ask(address: Address, *words: str | bytes | int) -> object:
    with BlockingStore(address) as store:
        return store.run(plain(*words))


@contextlib.asynccontextmanager
async def started(directory: Path, binary: Path) -> AsyncIterator[EmbeddedStore]:
    embedded = EmbeddedStore(directory, binary)
    try:
        async with asyncio.timeout(DEADLINE):
            await embedded.start()
            yield embedded
    finally:
        await embedded.stop()


@contextlib.asynccontextmanager
async def watched(embedded: EmbeddedStore) -> AsyncIterator[None]:
    watch = asyncio.create_task(embedded.watch())
    try:
        yield
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # what is waited for is not in this process
            await asyncio.sleep(0.005)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_server_is_private_and_durable(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir / "state" / "store", server_binary) as embedded:
            assert not embedded.adopted
            assert stat.S_IMODE(embedded.directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((embedded.directory / "valkey.sock").stat().st_mode) == 0o600
            assert os.getsid(embedded.pid) == embedded.pid  # Ctrl-C does not reach it
            expected = {
                "appendonly": "yes",
                "appendfsync": "always",
                "no-appendfsync-on-rewrite": "no",
                "aof-load-truncated": "yes",
                "save": "",
                "port": "0",
                "maxmemory-policy": "noeviction",
                "hash-max-listpack-value": "1024",
                "latency-tracking": "no",
                "enable-debug-command": "no",
                "enable-module-command": "no",
            }
            for name, value in expected.items():
                answer = ask(embedded.address, "CONFIG", "GET", name)
                assert answer == [name.encode(), value.encode()]

    asyncio.run(story())


def allocator_of(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return [word for word in words if word.startswith("GLIBC_TUNABLES=")]


def test_allocator_of_the_server_is_set_up_unless_its_user_did(
    short_dir: Path, server_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told() -> list[str]:
        async with started(short_dir / "store", server_binary) as embedded:
            return allocator_of(embedded.pid)

    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    (ours,) = asyncio.run(told())
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7")
    (theirs,) = asyncio.run(told())

    assert "tcache_count" in ours
    assert theirs == "GLIBC_TUNABLES=glibc.malloc.tcache_count=7"


def test_stopped_server_is_gone_and_its_data_is_kept(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded:
            ask(embedded.address, "SET", "k", "v")
            pid = embedded.pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not (short_dir / "valkey.sock").exists()
        await embedded.stop()
        await embedded.start()
        assert ask(embedded.address, "GET", "k") == b"v"
        await embedded.stop()

    asyncio.run(story())


def test_killed_server_is_started_again_with_its_data(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded, watched(embedded):
            for turn in range(1, 3):
                ask(embedded.address, "RPUSH", "l", turn)
                os.kill(embedded.pid, signal.SIGKILL)
                await until(lambda turn=turn: embedded.restarts == turn)
            assert ask(embedded.address, "LRANGE", "l", 0, -1) == [b"1", b"2"]

    asyncio.run(story())


def test_server_outlives_its_starter_and_is_adopted(short_dir: Path, server_binary: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(short_dir), str(server_binary)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with starter:
        pid = int(starter.stdout.readline())  # type: ignore[union-attr]
        starter.kill()

    async def story() -> None:
        async with started(short_dir, server_binary) as embedded, watched(embedded):
            assert embedded.adopted
            assert embedded.pid == pid
            ask(embedded.address, "SET", "k", "v")
            os.kill(pid, signal.SIGKILL)
            await until(lambda: embedded.restarts == 1)
            assert not embedded.adopted
            assert ask(embedded.address, "GET", "k") == b"v"

    asyncio.run(story())


def test_two_starters_share_one_server(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        both = [EmbeddedStore(short_dir, server_binary) for _ in range(2)]
        await asyncio.gather(*(one.start() for one in both))
        assert both[0].pid == both[1].pid
        assert {one.adopted for one in both} == {True, False}
        await asyncio.gather(*(one.stop() for one in both))

    asyncio.run(story())


def test_foreign_server_is_not_adopted(
    raw_server: Callable[..., Address], short_dir: Path, server_binary: Path
) -> None:
    raw_server(name="valkey.sock")

    async def story() -> None:
        with pytest.raises(ConfigError, match="jobctl did not start"):
            await EmbeddedStore(short_dir, server_binary).start()

    asyncio.run(story())


def test_long_state_directory_works(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        place = short_dir / ("a b" * 30) / ("c" * 100)
        async with started(place, server_binary) as embedded:
            assert ask(embedded.address, "PING") == b"PONG"

    asyncio.run(story())


def test_failing_program_shows_its_last_words(short_dir: Path) -> None:
    async def story() -> None:
        broken = program(short_dir / "broken", "echo 'no luck: GLIBC_2.99 not found' >&2; exit 3")
        with pytest.raises(UnreachableError, match=r"(?s)exit code 3.*no luck.*does not fit"):
            await EmbeddedStore(short_dir / "store", broken).start()

    asyncio.run(story())


def test_program_that_is_none_is_a_wrong_setting(short_dir: Path) -> None:
    async def story() -> None:
        with pytest.raises(ConfigError, match="cannot be started"):
            await EmbeddedStore(short_dir / "store", short_dir / "none").start()

    asyncio.run(story())


def test_program_that_never_answers_is_given_up(short_dir: Path) -> None:
    async def story() -> None:
        sleeper = program(short_dir / "sleeper", "exec sleep 60")
        embedded = EmbeddedStore(short_dir / "store", sleeper)
        with pytest.raises(UnreachableError, match=r"not answering after 0\.2 s"):
            await embedded.start(deadline=0.2)
        await embedded.stop()

    asyncio.run(story())


def test_damaged_data_is_named(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded:
            ask(embedded.address, "SET", "k", "v" * 100)
        part = next((short_dir / "appendonlydir").glob("*.incr.aof"))
        part.write_bytes(b"rubbish\r\n" + part.read_bytes())
        with pytest.raises(UnreachableError, match="append-only file is damaged"):
            await embedded.start()

    asyncio.run(story())


def test_torn_last_write_is_no_trouble(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded:
            ask(embedded.address, "SET", "k", "v")
            ask(embedded.address, "SET", "torn", "v" * 100)
        part = next((short_dir / "appendonlydir").glob("*.incr.aof"))
        part.write_bytes(part.read_bytes()[:-50])
        await embedded.start()
        assert ask(embedded.address, "MGET", "k", "torn") == [b"v", None]
        await embedded.stop()

    asyncio.run(story())


def test_server_that_does_not_stop_is_killed(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded:
            pid = embedded.pid
            os.kill(pid, signal.SIGSTOP)
            await embedded.stop(deadline=0.1)
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(story())


def test_watch_ends_with_stop(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary) as embedded:
            watch = asyncio.create_task(embedded.watch())
            await asyncio.sleep(0)
            await embedded.stop()
            await watch
            assert embedded.restarts == 0

    asyncio.run(story())


def test_restarts_go_on_until_the_cause_is_gone(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        link = short_dir / "server"
        link.symlink_to(server_binary)
        async with started(short_dir / "store", link) as embedded, watched(embedded):
            link.unlink()
            os.kill(embedded.pid, signal.SIGKILL)
            await until(lambda: embedded.pid == 0)
            link.symlink_to(server_binary)
            await until(lambda: embedded.restarts == 1)
            assert ask(embedded.address, "PING") == b"PONG"

    asyncio.run(story())


def test_no_descriptors_are_left_behind(short_dir: Path, server_binary: Path) -> None:
    async def story() -> None:
        async with started(short_dir, server_binary):
            pass
        before = open_descriptors()
        for _ in range(3):
            async with started(short_dir, server_binary):
                pass
        assert open_descriptors() == before

    asyncio.run(story())
