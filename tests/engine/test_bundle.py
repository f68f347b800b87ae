"""Which runs travel together, how many, and what is written down of them."""

from __future__ import annotations

import os
import struct
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jobctl.engine import bundle, journal_content, tally
from jobctl.engine.host_journal import HostJournal
from jobctl.engine.ledger import Held
from jobctl.engine.pace import Pace
from jobctl.model.job import Delivery, JobDef
from jobctl.model.run import Request
from jobctl.store.settling import Settlement
from jobctl.store.transitions import Claim

if TYPE_CHECKING:
    from pathlib import Path

JOB = JobDef(name="short", python="m:f")


def held(run_id: str, job: str = "short", *, envelope: bytes = b"{}") -> Held:
    claim = Claim(run_id, 1, 0, 0, None, "default", "5", job, 0.0, "3", envelope, None)
    request = Request(id=run_id, job=job, max_attempts=3)
    return Held(claim=claim, request=request, claimed_at=0.0, attempt=1)


def short() -> Pace:
    pace = Pace()
    pace.took("short", 0.0001)
    return pace


def ids(runs: list[Held] | deque[Held]) -> list[str]:
    return [one.claim.id for one in runs]


def test_a_run_of_a_job_that_was_never_seen_is_a_bundle_by_itself() -> None:
    backlog = deque(held(f"r{n}") for n in range(9))

    assert ids(bundle.together(backlog, JOB, pace=Pace(), slots=1, room=99)) == ["r0"]
    assert len(backlog) == 8


def test_what_could_not_travel_is_called_without_a_bundle_until_it_has_ended() -> None:
    pace = short()
    pace.give_up("short")
    backlog = deque([held("a"), held("b")])

    assert bundle.together(backlog, JOB, pace=pace, slots=1, room=99) == []
    pace.took("short", 0.0001)
    assert ids(bundle.together(backlog, JOB, pace=pace, slots=1, room=99)) == ["a", "b"]


def test_a_short_run_without_company_is_a_bundle_by_itself() -> None:
    backlog = deque([held("a"), held("x", "other")])

    assert ids(bundle.together(backlog, JOB, pace=short(), slots=1, room=99)) == ["a"]
    assert ids(backlog) == ["x"]


def test_runs_of_a_job_that_is_not_short_go_one_by_one() -> None:
    pace = Pace()
    pace.took("short", 60.0)
    backlog = deque([held("a"), held("b")])

    assert ids(bundle.together(backlog, JOB, pace=pace, slots=1, room=99)) == ["a"]
    assert ids(backlog) == ["b"]


def test_an_interpreter_without_room_gets_no_bundle_at_all() -> None:
    backlog = deque([held("a"), held("b")])

    assert bundle.together(backlog, JOB, pace=short(), slots=1, room=0) == []
    assert ids(backlog) == ["a", "b"]


def test_a_job_that_was_slow_lately_goes_alone_for_a_while() -> None:
    pace = short()
    pace.took("short", 1.0)

    assert pace.expected("short") is None
    for _ in range(60):
        pace.took("short", 0.0001)
    assert pace.expected("short") is not None


def test_runs_of_a_short_job_travel_together_and_others_keep_their_order() -> None:
    backlog = deque([held("a"), held("x", "other"), held("b"), held("y", "other"), held("c")])

    assert ids(bundle.together(backlog, JOB, pace=short(), slots=1, room=99)) == ["a", "b", "c"]
    assert ids(backlog) == ["x", "y"]


def test_a_run_that_is_large_or_to_be_stopped_stays_behind() -> None:
    revoked = held("revoked")
    revoked.stop_order = "user - - 1"
    large = held("large", envelope=b" " * (bundle.ENVELOPE_MOST + 1))
    backlog = deque([held("a"), revoked, large, held("b")])

    assert ids(bundle.together(backlog, JOB, pace=short(), slots=1, room=99)) == ["a", "b"]
    assert ids(backlog) == ["revoked", "large"]


def test_an_interpreter_gets_no_more_than_it_may_take() -> None:
    backlog = deque(held(f"r{n}") for n in range(50))

    assert len(bundle.together(backlog, JOB, pace=short(), slots=1, room=7)) == 7


@pytest.mark.parametrize(
    "job",
    [
        JobDef(name="j", command="true"),
        replace(JOB, delivery=Delivery.AT_MOST_ONCE),
        replace(JOB, strict_single=True),
        replace(JOB, only_if="true"),
        replace(JOB, user="nobody"),
        replace(JOB, stdin="text"),
        replace(JOB, env_file=("f",)),
        replace(JOB, timeout=0.1),
    ],
)
def test_what_needs_a_start_of_its_own_does_not_travel(job: JobDef) -> None:
    assert bundle.may_travel(JOB)
    assert not bundle.may_travel(job)


@pytest.mark.parametrize(
    ("waiting", "slots", "expected", "wanted"),
    [
        (1, 10, 0.0001, 1),
        (100, 10, 0.001, 10),  # evenly
        (1000, 10, 0.004, 2),  # not longer than ten milliseconds
        (1000, 2, 0.00001, bundle.MOST),
        (20, 10, 0.0001, 5),  # half a millisecond is not worth a second interpreter
        (3, 10, 0.00001, 3),
    ],
)
def test_runs_are_spread_as_far_as_it_pays(
    waiting: int, slots: int, expected: float, wanted: int
) -> None:
    assert bundle.size(waiting, slots=slots, expected=expected) == wanted


def test_what_was_called_back_cannot_begin(tmp_path: Path) -> None:
    own = tally.Tally(str(tmp_path / "t"))
    own.begin(5)
    assert os.read(own.tokens, 8)  # as the child does

    assert own.call_back() == 4
    with pytest.raises(BlockingIOError):
        os.read(own.tokens, 8)
    own.close()


def test_answers_are_read_once_and_outlive_everybody(tmp_path: Path) -> None:
    own = tally.Tally(str(tmp_path / "t"))
    number = own.begin(3)
    with (tmp_path / "t").open("r+b") as file:
        file.seek(tally.ANSWERS_AT)
        file.write(b'[0,"a\\n"]\n[1,null]\n[2,"cut')
        file.seek(0)
        end = tally.ANSWERS_AT + len(b'[0,"a\\n"]\n[1,null]\n')
        file.write(struct.pack("<QIIdQ", number, 3, 2, 12.5, end))

    assert own.answers() == [[0, "a\n"], [1, None]]
    assert own.answers() == []
    found = tally.read(tmp_path / "t", number)
    assert found is not None
    assert found[0] == tally.Standing(number, 3, 2, 12.5, end)
    assert found[1] == [[0, "a\n"], [1, None]]
    assert tally.read(tmp_path / "t", number + 1) is None
    own.close()


def test_a_tally_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    own = tally.Tally(str(tmp_path / "t"))
    own.begin(1)
    with (tmp_path / "t").open("r+b") as file:
        file.write(struct.pack("<QIIdQ", 1, 1, 1, 0.0, 1 << 60))

    with pytest.raises(ValueError, match="more than there is"):
        own.answers()
    own.close()


def test_a_bundle_is_read_back_and_keeps_its_places_when_compacted(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    runs = [held(f"r{n}") for n in range(4)]
    journal.bundle(runs, slot=2, pid=77, born=5.0, number=9)
    journal.settled([Settlement(run, 1, "k", "", 0.0, ()) for run in ("r0", "r2")])
    journal.compact({"r1", "r3"}, set())
    journal.ended(77, 9)

    content = journal_content.read(tmp_path / "j")
    found = content.bundles[2]
    assert (found.number, found.pid) == (9, 77)
    assert [one and one.run_id for one in found.runs] == [None, "r1", None, "r3"]
    assert found.runs[1] is not None
    assert (found.runs[1].epoch, found.runs[1].attempt, found.runs[1].born) == (1, 1, 5.0)
    assert content.deaths[77][0] == 9
    journal.compact((), ())
    assert journal_content.read(tmp_path / "j").bundles == {}


def test_only_the_last_bundle_of_a_slot_is_kept_when_compacted(tmp_path: Path) -> None:
    journal = HostJournal(tmp_path / "j")
    journal.bundle([held("r1")], slot=2, pid=77, born=5.0, number=1)
    journal.bundle([held("r2")], slot=12, pid=78, born=5.0, number=1)
    journal.bundle([held("r3")], slot=2, pid=77, born=5.0, number=2)

    # The first is over, or the slot would have no other one; a run of it may be running elsewhere.
    journal.compact({"r1", "r2", "r3"}, set())

    kept = (tmp_path / "j").read_bytes()
    assert (b"r1" in kept, b"r2" in kept, b"r3" in kept) == (False, True, True)
    assert {
        slot: one.number for slot, one in journal_content.read(tmp_path / "j").bundles.items()
    } == {2: 2, 12: 1}
