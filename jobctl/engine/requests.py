"""What was asked for, out of claims: runs of a bulk, and those of a schedule, often ask for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.model.records import copier, maker
from jobctl.model.run import Request
from jobctl.model.sealing import MARK
from jobctl.store.codec import decode_request

if TYPE_CHECKING:
    from jobctl.store.transitions import Claim

KNOWN_MOST = 1000
"""Requests that are remembered."""
KNOWN_BYTES = 512
"""Bytes of an envelope that is worth remembering."""

_request = maker(Request)
_named = copier(Request, "id")


class Requests:
    """Reads the requests of claims; one that has been read is not taken apart a second time.

    Only those without arguments, tags and parent: what is shared must not hold anything that
    whoever has it could change.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str, str, str, str], Request] = {}

    def read(self, claim: Claim, *, sealed: bool) -> Request:
        """Return the request of a claim, whose seal was good if it is ``sealed``.

        Raises :class:`BadPayloadError` as :func:`decode_request`.
        """
        # A good seal is all that follows the last mark, so what is before it says everything.
        body = claim.envelope.rpartition(MARK)[0] if sealed else claim.envelope
        asked = (body, claim.job, claim.queue, claim.priority, claim.max_attempts)
        known = self._known.get(asked)
        if known is not None and claim.id.isalnum():
            return _named(known, claim.id)
        request = decode_request(
            run_id=claim.id,
            job=claim.job,
            queue=claim.queue,
            priority=claim.priority,
            max_attempts=claim.max_attempts,
            envelope=claim.envelope,
            make=_request,
        )
        if len(body) <= KNOWN_BYTES and not (
            request.args or request.kwargs or request.tags or request.parent
        ):
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            self._known[asked] = request
        return request
