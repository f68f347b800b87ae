"""Celery: early acknowledgement and no results, its fastest way."""

from __future__ import annotations

import os

from celery import Celery
from counting import enter

app = Celery("celery_app", broker="redis+socket://" + os.environ["PEER_SOCKET"])
app.conf.update(
    task_ignore_result=True,  # otherwise seven more store commands for each
    worker_prefetch_multiplier=64,  # what its guide names for many short tasks
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_enable_remote_control=False,  # one subscription less
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)


@app.task(name="noop")
def noop(number: int = -1) -> None:
    """Do nothing."""
    enter(number)


def connect() -> None:
    """Open a connection that every submit uses."""
    global _producer  # noqa: PLW0603 - one process, one producer
    _producer = app.amqp.producer_pool.acquire(block=True)


def submit_many(count: int) -> None:
    """Publish over one producer, which its guide advises for many."""
    for _ in range(count):
        noop.apply_async(producer=_producer)


def submit_one(number: int) -> None:
    """Publish one."""
    noop.apply_async((number,), producer=_producer)
