"""A server that stands still, with real signals and short patience."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.store.address import Address
from jobctl.store.embedded import EmbeddedStore
from jobctl.store.pulse import Pulse, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def until(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(10):
        while words not in caplog.text:  # noqa: ASYNC110 - a log cannot be awaited
            await asyncio.sleep(0.02)


def test_a_server_that_stands_still_is_told_of_and_left_alone(
    server_binary: Path, short_dir: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)

    async def story() -> None:
        server = EmbeddedStore(short_dir / "store", server_binary)
        await server.start()
        pid = server.pid
        pulse = Pulse(
            server.address,
            pid=lambda: server.pid, clock=SYSTEM_CLOCK, silence=0.5, every=0.05, patience=0.1,
        )  # fmt: skip
        watching = asyncio.create_task(pulse.watch())
        try:
            with stopped(pid):
                await until(caplog, f"it is stopped; let it go on with `kill -CONT {pid}`")
            await until(caplog, "the store server answers again")
            assert server.pid == pid
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await server.stop()

    asyncio.run(story())


def test_a_server_that_is_down_is_not_called_silent(
    short_dir: Path, caplog: pytest.LogCaptureFixture
):
    async def story() -> None:
        pulse = Pulse(
            Address(path=str(short_dir / "nobody")),
            pid=lambda: 0, clock=SYSTEM_CLOCK, silence=0.0, every=0.01, patience=0.1,
        )  # fmt: skip
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pulse.watch(), 0.2)

    asyncio.run(story())
    assert caplog.text == ""


def test_a_process_at_work_is_not_called_stopped():
    assert "at work or stuck" in state_of(os.getpid())
