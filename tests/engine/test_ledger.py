"""How many runs a pool claims, and what it keeps."""

from __future__ import annotations

from typing import Any

from jobctl.engine.ledger import PATIENCE, Ledger


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
