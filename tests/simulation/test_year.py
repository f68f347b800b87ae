"""Schedules over changes of clocks, decided by supervisors that come and go; see ``__main__``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from jobctl.store.queries import Decision
from tests.simulation.judge import Judge
from tests.simulation.play import Play
from tests.simulation.year import Record

if TYPE_CHECKING:
    from jobctl.store.embedded import EmbeddedStore


def a_day(month: int, day: int) -> datetime:
    return datetime(2023, month, day, tzinfo=UTC)


def played(play: Play, server: EmbeddedStore) -> list[str]:
    verdict = play.go(server.address)
    assert verdict.judged
    return verdict.wrong


@pytest.mark.usefixtures("store")
def test_each_instant_of_a_fortnight_of_changes_is_decided_once(server: EmbeddedStore) -> None:
    zones = ("Europe/Berlin", "Asia/Beirut", "Australia/Lord_Howe", "America/Santiago")
    play = Play(start=a_day(3, 24), end=a_day(4, 4), zones=zones, drawn=1, seed=7)

    wrong = played(play, server)

    assert wrong == []
    assert sum(map(len, play.changes.values())) == 4
    assert play.record.stops > 3


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_each_instant_of_a_year_in_ten_zones_is_decided_once(server: EmbeddedStore) -> None:
    play = Play(start=a_day(1, 1), end=datetime(2024, 1, 1, tzinfo=UTC), seed=2023)

    assert played(play, server) == []
    assert play.record.kills > 0


@pytest.mark.parametrize(
    ("instants", "runs", "said"),
    [
        ([60.0, 60.0, 120.0], [60.0, 60.0, 120.0], "more than once"),
        ([60.0], [60.0], "never decided"),
        ([60.0, 90.0, 120.0], [60.0, 90.0, 120.0], "no instant"),
        ([60.0, 120.0], [60.0], "its runs"),
        ([120.0, 60.0], [120.0, 60.0], "order"),
    ],
)
def test_the_judge_sees_what_is_wrong(instants: list[float], runs: list[float], said: str) -> None:
    record = Record(
        decisions={"j": [a_decision(at) for at in instants]},
        runs={"j": runs},
        spans=[(0.0, 1000.0)],
    )
    judge = Judge(record, until=600.0)

    judge.schedule("j", [60.0, 120.0], missed="skip", most=5)

    assert any(said in line for line in judge.verdict.wrong)


def test_the_judge_wants_what_the_policy_says_after_an_outage() -> None:
    record = Record(
        decisions={"j": [a_decision(60.0), a_decision(1000.0, "catchup"), a_decision(2000.0)]},
        runs={"j": [60.0, 1000.0, 2000.0]},
        spans=[(0.0, 500.0), (1900.0, 3000.0)],
    )
    for policy, wrong in (("once", 0), ("all", 0), ("skip", 1)):
        judge = Judge(record, until=2900.0)
        judge.schedule("j", [60.0, 1000.0, 2000.0], missed=policy, most=5)

        assert len(judge.verdict.wrong) == wrong


def a_decision(at: float, kind: str = "fire") -> Decision:
    return Decision(at, kind, "ok", "r", 0.0, "h")
