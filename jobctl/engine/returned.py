"""Claims of runs that this pool knows already: the store has forgotten that it gave them to us.

A failover can lose the last moments. Then a run that is under way here, or has ended here, waits in
its queue again as if nobody had ever taken it. Its epoch tells: epochs only grow, so a claim with
one that we have had comes from the past, unless its id was submitted anew since.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.batch import Mark
    from jobctl.engine.ledger import Ledger
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import Claim

log = logging.getLogger(__name__)


def returned(
    claim: Claim,
    ledger: Ledger,
    *,
    mark: Callable[[Mark], None],
    settle: Callable[[Settlement], None],
) -> bool:
    """Put right what the store has forgotten of a run; return False when there is nothing to.

    What runs goes on under the new claim, and ``mark`` tells the store so; the outcome of what has
    ended goes to ``settle`` again. Neither is started a second time.
    """
    held = ledger.running.get(claim.id)
    if held is not None:
        log.warning(
            "run %s: the store has lost that it was claimed; it runs here (pid %d) and goes on",
            claim.id, held.pid,
        )  # fmt: skip
        held.claim = claim
        if held.pid:
            mark((claim.id, claim.epoch, held.attempt, held.started_at, held.pid))
        return True
    recent = ledger.recent.get(claim.id)
    item = ledger.unsettled.get(claim.id) or (None if recent is None else recent.item)
    if item is not None and claim.epoch <= item.epoch and is_same(item, claim.submitted_at):
        log.warning(
            "run %s: the store has lost that it ran here; sending its outcome again", claim.id
        )
        signed = item.signed if claim.id in ledger.unsettled else None  # else it is counted
        settle(replace(item, epoch=claim.epoch, signed=signed))
        return True
    return False


def is_same(item: Settlement, submitted_at: float) -> bool:
    """Return whether an outcome is of the run that was submitted then, as far as is known.

    The id of a run that was forgotten may be used again, as an idempotency key.
    """
    return item.submitted_at is None or item.submitted_at == submitted_at
