"""The host journal: what is written is read again, whatever happens in between."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jobctl.engine import host_journal, journal_content
from jobctl.engine.ending import Finding
from jobctl.engine.host_journal import COMMAND, HostJournal
from jobctl.engine.ledger import Held
from jobctl.model.run import OutcomeKind, Reason, Request
from jobctl.store.settling import Settlement
from jobctl.store.transitions import Claim

if TYPE_CHECKING:
    from pathlib import Path


def held(run_id: str, *, epoch: int = 1, pid: int = 100) -> Held:
    claim = Claim(run_id, epoch, 2, 1, 1000.5, "default", "5", "j", 0.0, "3", b"", None, 4)
    request = Request(id=run_id, job="j", max_attempts=3, timeout=7.5)
    return Held(claim=claim, request=request, claimed_at=0.0, attempt=3, pid=pid, started_at=2000.0)


def begin(journal: HostJournal, item: Held, *, slot: int, born: float) -> None:
    journal.starting(item, slot=slot, kind=COMMAND)
    journal.started(item, born=born)


def outcome(run_id: str, epoch: int = 1) -> Settlement:
    return Settlement(run_id, epoch, "k", "", 0.0, ("at", 3, "re", '{"a": "\u00e4"}'))


def test_a_started_attempt_is_read_back_whole(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one"), slot=2, born=50.25)

    found = journal_content.read(tmp_path / "j").running["one"]

    assert (found.epoch, found.attempt, found.slot, found.pid) == (1, 3, 2, 100)
    assert (found.born, found.started_at, found.first_started_at) == (50.25, 2000.0, 1000.5)
    assert (found.lost, found.interrupted, found.max_attempts, found.timeout) == (1, 4, 3, 7.5)
    assert abs(found.begun - host_journal.since_boot()) < 5


def test_exit_and_stop_belong_to_the_attempt_that_runs(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one"), slot=0, born=1.0)
    journal.stopped("one", Finding(OutcomeKind.FAILED, Reason.TIMEOUT, "too long"))
    journal.ended(100, 15)

    found = journal_content.read(tmp_path / "j")

    assert found.exits["one"][0] == 15
    assert found.stops["one"] == ("failed", "timeout", "too long")


def test_settled_attempts_do_not_run_and_their_outcomes_stay(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one"), slot=0, born=1.0)
    journal.ended(100, 0)
    journal.settled([outcome("one")])

    found = journal_content.read(tmp_path / "j")

    assert found.running == {}
    assert found.exits == {}
    assert found.outcomes == {"one": outcome("one")}


def test_a_later_attempt_of_a_settled_run_runs(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one", epoch=1, pid=100), slot=0, born=1.0)
    journal.settled([outcome("one")])
    begin(journal, held("one", epoch=2, pid=101), slot=0, born=2.0)

    assert journal_content.read(tmp_path / "j").running["one"].pid == 101


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one"), slot=0, born=1.0)
    os.truncate(tmp_path / "j", journal.size - 20)
    with (tmp_path / "j").open("ab") as file:
        file.write(b'\0\0["s","tw')
    again = HostJournal(tmp_path / "j")
    begin(again, held("three"), slot=0, born=1.0)

    assert [*journal_content.read(tmp_path / "j").running] == ["three"]


def test_compacting_keeps_what_is_open(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    for number in range(50):
        begin(journal, held(f"r{number}", pid=number + 1), slot=0, born=1.0)
        journal.ended(number + 1, 256)
        if number < 48:
            journal.settled([outcome(f"r{number}")])
    before = journal.size

    journal.compact(running=["r48", "r49"], unsettled=["r3"])
    found = journal_content.read(tmp_path / "j")

    assert journal.size < before / 10
    assert sorted(found.running) == ["r48", "r49"]
    assert sorted(found.exits) == ["r48", "r49"]
    assert [*found.outcomes] == ["r3"]


@pytest.mark.parametrize("run_id", ["ünited", 'a"b', "back\\slash", "\udcff"])
def test_compacting_finds_runs_whatever_their_ids_are_made_of(tmp_path: Path, run_id: str) -> None:
    journal = HostJournal(tmp_path / "j")
    journal.settled([outcome("other"), outcome(run_id)])
    (known,) = {*journal_content.read(tmp_path / "j").outcomes} - {"other"}

    journal.compact(running=[], unsettled=[known])

    assert [*journal_content.read(tmp_path / "j").outcomes] == [known]


def test_a_pool_that_dies_while_it_compacts_loses_nothing(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    begin(journal, held("one"), slot=0, born=1.0)
    (tmp_path / "j.compact").write_bytes((tmp_path / "j").read_bytes())
    os.truncate(tmp_path / "j", 0)

    assert [*journal_content.read(tmp_path / "j").running] == ["one"]


def test_a_full_disk_costs_the_journal_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    journal = HostJournal(tmp_path / "j", fd)

    for number in range(3):
        begin(journal, held(f"r{number}"), slot=0, born=1.0)
        journal.settled([outcome(f"r{number}")])

    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize("run_id", ["a" * 16, "\u00e9", 'a"b', "a\\b", "a-b"])
@pytest.mark.parametrize("entry", ['{"n":1,"ho":"h\u00f6st"}', '{"ho":"\\ud800"}', "\t", b"{}"])
@pytest.mark.parametrize("signed", [None, 17])
def test_a_success_is_read_as_it_was_written(
    tmp_path: Path, run_id: str, entry: str | bytes, signed: int | None
) -> None:
    until = 99.0 if signed else 0.0
    fields = ("at", 1, "a1", entry, "rc", 0)
    success = Settlement(run_id, 3, "k", "", 0.0, fields, signed=signed, last_start=until)
    HostJournal(tmp_path / "j").settled([success, outcome("other")])

    text = entry if isinstance(entry, str) else entry.decode()
    found = journal_content.read(tmp_path / "j").outcomes
    assert found == {
        run_id: replace(success, fields=("at", 1, "a1", text, "rc", 0)),
        "other": outcome("other"),
    }


def test_a_seal_stays_until_the_start_is_counted(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    signed, plain = held("one"), held("two")
    signed.signed, signed.last_start = 17, 99.0
    journal.bundle([signed, plain], slot=0, pid=100, born=1.0, number=7)
    ends = [replace(outcome("three"), signed=17, last_start=99.0), outcome("four")]
    journal.settled(ends)

    for _ in range(2):
        found = journal_content.read(tmp_path / "j")
        runs = {run.run_id: run for run in found.bundles[0].runs if run is not None}
        assert (runs["one"].signed, runs["one"].last_start) == (17, 99.0)
        assert (runs["two"].signed, runs["two"].last_start) == (None, 0.0)
        assert [*found.outcomes.values()] == ends
        journal.compact(running=["one", "two"], unsettled=["three", "four"])
