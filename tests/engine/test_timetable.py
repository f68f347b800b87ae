"""Which schedule is looked at when, and by which supervisor first."""

from __future__ import annotations

from datetime import UTC, datetime

from jobctl.engine.timetable import TAKEOVER_MOST, Line, Timetable, takeover_delay
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, ScheduleDef
from jobctl.model.rules import schedule_entries

NOON = datetime(2021, 6, 1, 12, 0, tzinfo=UTC).timestamp()
NAMES = [f"j{number}" for number in range(600)]
PEERS = ["s0", "s1", "s2"]


def lines(rules: dict[str, str], *, last: float = NOON) -> dict[str, Line]:
    jobs = {
        name: JobDef(
            name=name,
            command="true",
            timezone="UTC",
            schedules=(ScheduleDef(name=name, rule=rule),),
        )
        for name, rule in rules.items()
    }
    config = Config(settings=Settings(namespace="n"), jobs=jobs)
    return {
        entry.name: Line(entry, last)
        for entry in schedule_entries(config, host="h", timezone="UTC")
    }


def filled(rules: dict[str, str], *, supervisor: str = "s0", peers: list[str]) -> Timetable:
    table = Timetable(supervisor=supervisor)
    for line in lines(rules).values():
        table.add(line, now=NOON, peers=peers)
    return table


def test_only_what_is_due_is_taken_out_earliest_first() -> None:
    table = filled({"b": "5 12 * * *", "a": "3 12 * * *", "c": "0 13 * * *"}, peers=["s0"])

    taken = table.take(NOON + 600, most=100)

    assert [line.entry.name for line in taken] == ["a", "b"]
    assert table.first == NOON + 3600


def test_a_batch_is_bounded() -> None:
    table = filled(dict.fromkeys(NAMES, "5 12 * * *"), peers=["s0"])

    assert len(table.take(NOON + 600, most=100)) == 100


def test_each_schedule_has_one_supervisor_that_is_first() -> None:
    firsts = [
        [sid for sid in PEERS if takeover_delay(name, supervisor=sid, peers=PEERS) == 0]
        for name in NAMES
    ]

    assert all(len(first) == 1 for first in firsts)
    shares = [sum(first == [sid] for first in firsts) for sid in PEERS]
    assert min(shares) > len(NAMES) / 5


def test_every_other_supervisor_asks_within_a_second() -> None:
    delays = [takeover_delay(n, supervisor=sid, peers=PEERS) for n in NAMES for sid in PEERS]

    assert max(delays) <= TAKEOVER_MOST


def test_the_order_of_peers_does_not_matter() -> None:
    for name in NAMES:
        forth = takeover_delay(name, supervisor="s1", peers=PEERS)
        assert forth == takeover_delay(name, supervisor="s1", peers=PEERS[::-1])


def test_what_is_overdue_is_looked_at_at_once_whoever_is_first() -> None:
    for supervisor in PEERS:
        table = Timetable(supervisor=supervisor)
        table.add(lines({"a": "5 12 * * *"})["a"], now=NOON + 400, peers=PEERS)

        assert table.first == NOON + 300


def test_a_schedule_without_further_instants_is_not_kept_waiting_for() -> None:
    table = filled({"a": "@at 2020-01-01T00:00:00Z"}, peers=["s0"])

    assert table.first is None
