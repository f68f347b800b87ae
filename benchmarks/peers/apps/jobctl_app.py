"""jobctl: every default, and so signed, recorded, kept in history and delivered at least once."""

from __future__ import annotations

import os

from jobctl import Client


def connect() -> None:
    """Read the configuration; the connection is made with the first submit, and counted there."""
    global _client  # noqa: PLW0603 - one process, one client
    _client = Client(os.environ["PEER_CONFIG"])


def submit_many(count: int) -> None:
    """Submit all of them with one call, which raises unless each is accepted."""
    _client.submit_many("noop", [()] * count)


def submit_one(number: int) -> None:
    """Submit one."""
    _client.submit("noop", number)
