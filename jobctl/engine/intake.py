"""What becomes of a claim before anything is started: a run that is held, or a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.engine.ledger import Held
from jobctl.model.run import Reason
from jobctl.store.codec import decode_request
from jobctl.store.transitions import Settlement

if TYPE_CHECKING:
    from jobctl.store.codec import BadPayloadError
    from jobctl.store.transitions import Claim


def take_in(claim: Claim, *, now: float) -> Held:
    """Return what the pool knows of a claimed run; ``now`` is monotonic seconds.

    Raises BadPayloadError when what was submitted cannot be trusted or understood.
    """
    request = decode_request(
        run_id=claim.id,
        job=claim.job,
        queue=claim.queue,
        priority=claim.priority,
        max_attempts=claim.max_attempts,
        envelope=claim.envelope,
    )
    return Held(claim=claim, request=request, claimed_at=now, attempt=claim.attempt + 1)


def refusal(claim: Claim, error: BadPayloadError) -> Settlement:
    """Return how a run ends that was not taken in."""
    fields = ("er", str(error))
    return Settlement(claim.id, claim.epoch, "x", Reason.BAD_PAYLOAD.value, 0.0, fields)
