"""Dramatiq: no result backend, so nothing is kept of a message."""

from __future__ import annotations

import os

import dramatiq
from counting import enter
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Retries, ShutdownNotifications, TimeLimit

broker = RedisBroker(
    url="unix://" + os.environ["PEER_SOCKET"],
    # The default without Callbacks and Pipelines, which a lone actor does not use.
    middleware=[AgeLimit(), TimeLimit(), ShutdownNotifications(), Retries()],
)
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)


def connect() -> None:
    """Open the connection."""
    broker.client.ping()


def submit_many(count: int) -> None:
    """Send one by one; a group of it does the same."""
    for _ in range(count):
        noop.send()


def submit_one(number: int) -> None:
    """Send one."""
    noop.send(number)
