"""Claims of runs that this pool knows, because a failover made the store forget."""

from __future__ import annotations

from dataclasses import replace

from jobctl.engine.ledger import Held, Ledger
from jobctl.engine.returned import returned
from jobctl.model.run import Request
from jobctl.store.settling import Settlement
from jobctl.store.transitions import Claim


def claim(epoch: int) -> Claim:
    return Claim(
        id="a" * 16, epoch=epoch, attempt=0, lost=0, first_started_at=None, queue="default",
        priority="5", job="j", submitted_at=0.0, max_attempts="1", envelope=b"", due_at=None,
    )  # fmt: skip


def held(epoch: int, *, pid: int) -> Held:
    request = Request(id="a" * 16, job="j")
    return Held(
        claim=claim(epoch), request=request, claimed_at=0.0, attempt=2, pid=pid, started_at=7.0
    )


def outcome(epoch: int) -> Settlement:
    return Settlement("a" * 16, epoch, "k", "", 0.0, ("rc", 0))


def put(ledger: Ledger, place: str, item: Settlement) -> None:
    if place == "recent":
        ledger.acknowledged([item], now=0.0)
    else:
        ledger.unsettled[item.id] = item


def ask(ledger: Ledger, epoch: int) -> tuple[bool, list[object]]:
    said: list[object] = []
    return returned(claim(epoch), ledger, mark=said.append, settle=said.append), said


def test_unknown_run_is_nothing_special() -> None:
    assert ask(Ledger(slots=1), 1) == (False, [])


def test_run_that_is_under_way_goes_on_under_the_new_claim() -> None:
    ledger = Ledger(slots=1)
    ledger.running["a" * 16] = running = held(3, pid=42)
    assert ask(ledger, 3) == (True, [("a" * 16, 3, 2, 7.0, 42)])
    assert ask(ledger, 5) == (True, [("a" * 16, 5, 2, 7.0, 42)])
    assert running.claim.epoch == 5


def test_run_that_is_about_to_start_is_marked_when_it_does() -> None:
    ledger = Ledger(slots=1)
    ledger.running["a" * 16] = held(3, pid=0)
    assert ask(ledger, 3) == (True, [])


def test_outcome_is_sent_again_when_the_claim_comes_from_the_past() -> None:
    for place in ("unsettled", "recent"):
        ledger = Ledger(slots=1)
        put(ledger, place, outcome(3))
        assert ask(ledger, 3) == (True, [outcome(3)])
        assert ask(ledger, 2) == (True, [outcome(2)])


def test_outcome_of_an_earlier_run_of_the_same_id_is_not_taken_for_this_ones() -> None:
    for place in ("unsettled", "recent"):
        ledger = Ledger(slots=1)
        put(ledger, place, replace(outcome(3), submitted_at=-60.0))
        assert ask(ledger, 1) == (False, [])
        put(ledger, place, replace(outcome(3), submitted_at=0.0))
        assert ask(ledger, 1)[0]


def test_next_attempt_is_made() -> None:
    ledger = Ledger(slots=1)
    put(ledger, "recent", outcome(3))
    assert ask(ledger, 4) == (False, [])
