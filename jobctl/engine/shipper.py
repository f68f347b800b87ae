"""Ships output to a shared store, so that ``jobctl logs`` works from any host.

Only with a store that other hosts can reach: with the embedded one the log files are enough.
While an attempt runs, what is new goes to a capped stream a few times a second; at the end the
tail replaces it and lives as long as the run's record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import shipping

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.slot import Slot
    from jobctl.model.run import Outcome
    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys

CHUNK = 65536
STREAM_MOST = 64
"""Entries kept in the stream of a running attempt, so at most 4 MiB of output."""


class Shipper:
    """Sends new output of running attempts, and tails of finished ones, through ``send``."""

    def __init__(self, keys: Keys, *, send: Callable[[Call[object]], None], tail: int) -> None:
        self._keys = keys
        self._send = send
        self._tail = tail
        self._shipped: dict[str, int] = {}

    def poll(self, run_id: str, attempt: int, slot: Slot) -> None:
        """Ship what is new since the last call; of a burst only its last part."""
        size, start = slot.log_size, self._shipped.get(run_id, 0)
        if size <= start:
            return
        offset = max(start, size - CHUNK)
        chunk, position = slot.read_log(offset, CHUNK)
        if not chunk:
            return
        self._shipped[run_id] = position
        self._add(run_id, attempt, offset, chunk, most=STREAM_MOST)

    def finish(self, run_id: str, attempt: int, slot: Slot, outcome: Outcome) -> None:
        """Replace what was shipped of an attempt by the tail of its log, in one entry."""
        self._shipped.pop(run_id, None)
        if outcome.log_bytes == 0:
            return
        size = slot.log_size
        offset = max(0, size - self._tail)
        data, _ = slot.read_log(offset, self._tail)
        self._add(run_id, attempt, offset, data, most=1)

    def _add(self, run_id: str, attempt: int, offset: int, data: bytes, *, most: int) -> None:
        for call in shipping.ship(
            self._keys, run_id, attempt=attempt, offset=offset, data=data, most=most
        ):
            self._send(call)
