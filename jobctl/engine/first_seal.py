"""The first start of a daemon that signs over runs that nobody signed: those of an older version.

Only for the embedded store, where signing begins without anybody asking for it. It is done once: a
note in the state directory says so, and what is not signed after that is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.model.admission import Admission, NewRun
from jobctl.model.sealing import SealError, is_sealed
from jobctl.store import queries, transitions
from jobctl.store.codec import BadPayloadError, decode_request
from jobctl.store.keyring import SINCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keyring import Signing
    from jobctl.store.keys import Keys
    from jobctl.store.queries import Submitted

log = logging.getLogger(__name__)

PART = 200
"""Runs that are looked at together. What a long queue takes at once, this process keeps for good:
memory that was full of small objects goes back to the system only where all of them were."""


async def seal_what_waits(
    store: AsyncStore, keys: Keys, signing: Signing, *, state_dir: Path, clock: Clock
) -> None:
    """Sign every run that has not ended and has no signature, unless that was done before."""
    note = state_dir / SINCE
    ring = signing.ring
    if ring is None:
        # Should signing begin again, what waits then is to be signed then.
        note.unlink(missing_ok=True)
        return
    if note.exists():
        return
    sealed = 0
    async for batch in _unfinished(store, keys):
        triples = []
        for item in batch:
            try:
                run = new_run(item, now=clock.epoch())
                triples.append(
                    (
                        item.id,
                        item.envelope,
                        ring.seal(run, item.envelope.decode(), now=clock.epoch()),
                    )
                )
            except (BadPayloadError, SealError, UnicodeDecodeError):
                continue  # It is put aside when it is claimed, with the reason.
        if triples:
            sealed += await store.run(transitions.seal(keys, triples))
    if sealed:
        log.info("%d runs of a version that did not sign were signed", sealed)
    note.touch(mode=0o600)


async def _unfinished(store: AsyncStore, keys: Keys) -> AsyncIterator[list[Submitted]]:
    cursor = "0"
    while True:
        cursor, ids = await store.run(queries.scan_runs(keys, "", cursor))
        for start in range(0, len(ids), PART):
            found = await store.run_many(
                [queries.submitted(keys, run_id) for run_id in ids[start : start + PART]]
            )
            yield [item for item in found if item is not None and not is_sealed(item.envelope)]
        if cursor == "0":
            return


def new_run(item: Submitted, *, now: float) -> NewRun:
    """Return a run as its submitter must have asked for it; ``now`` is epoch seconds.

    Raises ``BadPayloadError`` when its record is not one of ours.
    """
    request = decode_request(
        run_id=item.id,
        job=item.job,
        queue=item.queue,
        priority=item.priority,
        max_attempts=item.max_attempts,
        envelope=item.envelope,
    )
    return NewRun(
        request=request,
        admission=Admission(overlap=item.overlap.lower()),
        start_at=item.not_before,
        expires_in=None if item.expires_at is None else item.expires_at - now,
    )
