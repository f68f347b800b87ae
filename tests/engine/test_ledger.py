"""How many runs a pool claims, and what it keeps."""

from __future__ import annotations

from typing import Any

from jobctl.engine.ledger import AHEAD_PER_SLOT, CLAIM_MOST, PATIENCE, Ledger


class Waiting:
    claimed_at = 0.0


def test_long_runs_are_claimed_for_free_slots_only() -> None:
    assert Ledger(slots=4).wanted(idle=1) == 1


def test_prefetch_claims_ahead_for_each_slot_whatever_runs_take() -> None:
    ledger = Ledger(slots=4, prefetch=2)
    ledger.finished(60.0)

    assert ledger.wanted(idle=1) == 9


def test_prefetched_runs_are_kept_and_others_given_back() -> None:
    waiting: Any = Waiting()
    kept, short = Ledger(slots=1, prefetch=1), Ledger(slots=1)
    for ledger in (kept, short):
        ledger.backlog.append(waiting)

    assert kept.overdue(PATIENCE * 100) == []
    assert short.overdue(PATIENCE * 100) == [waiting]


def test_runs_are_claimed_ahead_by_how_long_they_have_their_slots() -> None:
    bundled, shared = Ledger(slots=10), Ledger(slots=10)
    for _ in range(100):
        bundled.finished(0.0001)
        shared.finished(0.01)  # of functions as short, in slots that share an interpreter

    assert bundled.wanted(idle=0) == CLAIM_MOST
    assert shared.wanted(idle=0) == 10 * AHEAD_PER_SLOT
