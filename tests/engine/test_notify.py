"""Messages to a service manager, by a real socket."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from jobctl.engine.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager(short_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(short_dir / "notify"))
        yield sock


def test_lines_travel_together(manager: socket.socket):
    Notifier(manager.getsockname()).send("READY=1", "STATUS=well")
    assert manager.recv(100) == b"READY=1\nSTATUS=well"


def test_a_manager_that_is_gone_is_ignored(short_dir: Path):
    Notifier(str(short_dir / "nobody")).send("READY=1")
    Notifier(None).send("READY=1")


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket):
    """The kernel queues a few messages; the heartbeat must not wait for room for the next."""
    notifier = Notifier(manager.getsockname())
    begun = time.monotonic()
    for _ in range(1000):
        notifier.send("WATCHDOG=1", "STATUS=well")
    notifier.send("STOPPING=1")
    assert time.monotonic() - begun < 20
