"""Who is compared, and how each starts its workers: the best documented setting for no-ops."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.daemon import STARTER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = "jobctl"
DRAMATIQ_PREFETCH = 1000
"""Four times the rate of the default with nothing else changed; more did not help."""
TASKIQ_PREFETCH = 100
"""A quarter more than the default, which is none."""
HALVES = 2
"""Processes of what divides its slots: one for each core of the machine this is meant for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one participant works."""

    code: Path
    """The working directory of workers and submitter, with the apps in it."""
    config: Path
    """Of jobctl."""
    bin: Path
    """Of the participant's venv."""


@dataclass(frozen=True, slots=True)
class Participant:
    """One line of the table."""

    name: str
    app: str
    """Module in ``apps``."""
    worker: Callable[[Place, int], list[str]]
    """The command that serves so many slots."""
    why: str
    venv: str = ""
    """Its constraints file without ``.txt``; empty for this very interpreter."""
    packages: tuple[str, ...] = ()
    divided: bool = False
    """Whether two processes share the slots."""
    ours: bool = False
    """Whether it is jobctl, and runs from this very tree."""
    measures: tuple[str, ...] = ()
    """All it can be measured by; empty for everything."""
    share: float = 1.0
    """Of the runs that it is given: the slowest would take the whole time."""


def _celery(kind: str) -> Callable[[Place, int], list[str]]:
    # Gossip, mingle and heartbeats are between workers: of one there is nothing to say.
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "ERROR")
    return lambda at, slots: [
        str(at.bin / "celery"), "-A", "celery_app", "worker", "-P", kind, "-c", str(slots), *quiet,
    ]  # fmt: skip


def _rq(kind: str) -> Callable[[Place, int], list[str]]:
    return lambda at, slots: [
        str(at.bin / "python"), "-c", RQ_POOL, str(slots), kind,
    ]  # fmt: skip


RQ_POOL = """\
import logging, os, sys
from redis import Redis
from rq.worker import SimpleWorker, Worker
from rq.worker_pool import WorkerPool
sys.path.insert(0, os.getcwd())
kind = {"simple": SimpleWorker, "forking": Worker}[sys.argv[2]]
connection = Redis(unix_socket_path=os.environ["PEER_SOCKET"])
WorkerPool(["default"], connection, num_workers=int(sys.argv[1]), worker_class=kind).start(
    logging_level="ERROR"
)
"""
"""``rq worker-pool``: its command line takes no path of a unix socket."""


def _huey(kind: str) -> Callable[[Place, int], list[str]]:
    return lambda at, slots: [
        str(at.bin / "huey_consumer"), "huey_app.huey", "-k", kind, "-w", str(slots), "-n", "-q",
    ]  # fmt: skip


def _dramatiq(at: Place, slots: int) -> list[str]:
    threads = str(max(1, slots // HALVES))
    # What its workers fetch ahead is not on its command line; ten for five threads is the default.
    return [
        "env", f"dramatiq_queue_prefetch={DRAMATIQ_PREFETCH}",
        str(at.bin / "dramatiq"), "dramatiq_app", "-p", str(HALVES), "-t", threads, "--skip-logging",
    ]  # fmt: skip


def _saq(at: Place, slots: int) -> list[str]:
    del slots  # in PEER_CONCURRENCY
    return [str(at.bin / "saq"), "saq_app.settings", "--workers", str(HALVES), "-q"]


def _arq(at: Place, slots: int) -> list[str]:
    del slots  # in PEER_CONCURRENCY
    return [str(at.bin / "arq"), "arq_app.WorkerSettings", "--custom-log-dict", "arq_app.QUIET"]


def _taskiq(at: Place, slots: int) -> list[str]:
    return [
        str(at.bin / "taskiq"), "worker", "taskiq_app:broker", "--workers", str(HALVES),
        "--max-async-tasks", str(max(1, slots // HALVES)),
        "--max-prefetch", str(TASKIQ_PREFETCH), "--no-parse", "--log-level", "ERROR",
    ]  # fmt: skip


def _jobctl(at: Place, slots: int) -> list[str]:
    del slots  # in the configuration
    return [sys.executable, "-c", STARTER, str(at.config)]


PARTICIPANTS = (
    Participant(
        OURS, "jobctl_app", _jobctl, "every default; signed, recorded, at least once", ours=True,
    ),
    Participant(
        "jobctl-ndjson", "ndjson_app", _jobctl,
        "jobctl submit --from-ndjson -, the whole process with its start",
        ours=True, measures=("enqueue",),
    ),
    Participant(
        "celery-prefork", "celery_app", _celery("prefork"),
        "no results, events, gossip or mingle; prefetch 64; one producer",
        venv="celery", packages=("celery[redis]", "hiredis"),
    ),
    Participant(
        "celery-threads", "celery_app", _celery("threads"), "the same in threads",
        venv="celery", packages=("celery[redis]", "hiredis"),
    ),
    Participant(
        "rq-simple", "rq_app", _rq("simple"),
        "worker pool of SimpleWorker, which does not fork; no results; pipelines of 500",
        venv="rq", packages=("rq", "hiredis"),
    ),
    Participant(
        "rq-forking", "rq_app", _rq("forking"), "its default: a fork for each; a tenth of the runs",
        venv="rq", packages=("rq", "hiredis"), share=0.1,
    ),
    Participant(
        "dramatiq", "dramatiq_app", _dramatiq, "two processes with half of the threads each, prefetch 1000",
        venv="dramatiq", packages=("dramatiq[redis]", "hiredis"), divided=True,
    ),
    Participant(
        "huey-process", "huey_app", _huey("process"), "no results, no periodic tasks",
        venv="huey", packages=("huey", "redis", "hiredis"),
    ),
    Participant(
        "huey-thread", "huey_app", _huey("thread"), "the same in threads",
        venv="huey", packages=("huey", "redis", "hiredis"),
    ),
    Participant(
        "saq", "saq_app", _saq, "coroutines, two processes, no results, quiet",
        # typing_extensions: it imports them without asking for them.
        venv="saq", packages=("saq[redis,hiredis]", "typing_extensions"), divided=True,
    ),
    Participant(
        "arq", "arq_app", _arq, "coroutines, one process, polled every 5 ms, no results",
        venv="arq", packages=("arq", "hiredis"),
    ),
    Participant(
        "taskiq", "taskiq_app", _taskiq,
        "coroutines, list broker (no acknowledgement), two processes, prefetch 100",
        venv="taskiq", packages=("taskiq", "taskiq-redis", "hiredis", "uvloop"), divided=True,
    ),
)  # fmt: skip
