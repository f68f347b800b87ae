"""RQ: no results, many jobs in one pipeline."""

from __future__ import annotations

import os

from counting import enter
from redis import Redis
from rq import Queue

PIPELINE = 500


def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)


def connect() -> None:
    """Open the queue."""
    global _queue  # noqa: PLW0603 - one process, one queue
    _queue = Queue(connection=Redis(unix_socket_path=os.environ["PEER_SOCKET"]))
    _queue.connection.ping()


def submit_many(count: int) -> None:
    """Enqueue in pipelines."""
    for start in range(0, count, PIPELINE):
        many = min(PIPELINE, count - start)
        # A result that lives for no time is never written.
        _queue.enqueue_many([Queue.prepare_data(noop, result_ttl=0) for _ in range(many)])


def submit_one(number: int) -> None:
    """Enqueue one."""
    _queue.enqueue(noop, number, result_ttl=0)
