"""What a supervisor says of its store, and how often."""

from __future__ import annotations

import logging

import pytest

from jobctl.clock import Clock
from jobctl.engine.complaints import Complaints
from jobctl.engine.condition import Condition
from jobctl.errors import JobctlError, NotPermittedError, UnreachableError
from jobctl.store.address import Address
from jobctl.store.failures import lost_reply, server_failure

ADDRESS = Address(host="h", port=1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (server_failure("LOADING Redis is loading", ADDRESS), "waiting for the store: loading"),
        (
            server_failure("MISCONF Errors writing to the AOF file", ADDRESS),
            "the store refuses writes: MISCONF, its disk is full or failing",
        ),
        (
            server_failure("OOM command not allowed", ADDRESS),
            "the store refuses writes: OOM, its memory is full",
        ),
        (
            server_failure("NOREPLICAS Not enough good replicas", ADDRESS),
            "the store refuses writes: NOREPLICAS, it has too few replicas",
        ),
        (
            server_failure("NOAUTH Authentication required.", ADDRESS),
            "the store refuses the credentials: NOAUTH Authentication required.",
        ),
        (
            server_failure("BUSY Redis is busy running a script", ADDRESS),
            "trouble with the store: BUSY Redis is busy running a script",
        ),
        (UnreachableError("gone"), "waiting for the store: not reachable"),
        (lost_reply("no answer in time", ADDRESS), "waiting for the store: no answer"),
    ],
)
def test_trouble_is_told_in_a_clause(error: JobctlError, words: str):
    condition = Condition()
    condition.failed("heartbeat", error)
    assert condition.words == words
    condition.worked("heartbeat")
    assert condition.words == ""


def test_the_latest_trouble_is_told_until_every_loop_works():
    told: list[str] = []
    condition = Condition(on_change=lambda: told.append(condition.words))
    condition.failed("heartbeat", UnreachableError("gone"))
    condition.failed("promoter", UnreachableError("gone"))
    condition.failed("heartbeat", server_failure("LOADING", ADDRESS))
    condition.worked("heartbeat")
    condition.worked("promoter")
    condition.worked("promoter")
    assert told == [
        "waiting for the store: not reachable",
        "waiting for the store: loading",
        "waiting for the store: not reachable",
        "",
    ]


def test_outcomes_that_wait_are_counted():
    waiting = 1
    condition = Condition(unrecorded=lambda: waiting)
    assert condition.parts == ["1 outcome to be recorded"]
    waiting = 3
    condition.failed("heartbeat", UnreachableError("gone"))
    assert condition.parts == [
        "waiting for the store: not reachable",
        "3 outcomes to be recorded",
    ]


class SetClock(Clock):
    """A clock that stands until it is set."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


def test_wrong_credentials_are_complained_of_once_a_minute():
    clock = SetClock()
    complaints = Complaints(clock)
    levels = []
    for _ in range(36):
        levels.append(complaints.failed(NotPermittedError("no")))
        clock.at += 5
    assert levels.count(logging.ERROR) == 3
    assert set(levels) == {logging.ERROR, logging.DEBUG}


def test_an_outage_is_complained_of_ever_more_rarely():
    complaints = Complaints(SetClock())
    levels = [complaints.failed(UnreachableError("gone")) for _ in range(1000)]
    assert levels.count(logging.WARNING) == 4
    assert complaints.worked()
    assert not complaints.worked()
    assert complaints.failed(UnreachableError("gone")) == logging.WARNING
