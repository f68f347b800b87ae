"""Huey: a list with a blocking pop, no results."""

from __future__ import annotations

import os

from counting import enter
from huey import RedisHuey

huey = RedisHuey("peers", results=False, url="unix://" + os.environ["PEER_SOCKET"])


@huey.task()
def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)


def connect() -> None:
    """Open the connection."""
    huey.storage.conn.ping()


def submit_many(count: int) -> None:
    """Enqueue one by one; a group of it does the same."""
    for _ in range(count):
        noop()


def submit_one(number: int) -> None:
    """Enqueue one."""
    noop(number)
