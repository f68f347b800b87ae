"""Ships output to a shared store, so that ``jobctl logs`` works from any host.

Only with a store that other hosts can reach: with the embedded one the log files are enough.
While an attempt runs, what is new goes to a capped stream a few times a second; at the end the
tail replaces it and lives as long as the run's record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.engine.slot import Slot
    from jobctl.model.run import Outcome
    from jobctl.store.keys import Keys

CHUNK = 65536
STREAM_MOST = 64
"""Entries kept in the stream of a running attempt, so at most 4 MiB of output."""
TTL_MS = 7 * 86_400_000


def _ignore(reply: object) -> object:
    return reply


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
        chunk, position = slot.read_log(max(start, size - CHUNK), CHUNK)
        if not chunk:
            return
        self._shipped[run_id] = position
        key = self._keys.log(run_id)
        self._send(
            Call(("XADD", key, "MAXLEN", "~", STREAM_MOST, "*", "a", attempt, "d", chunk), _ignore)
        )
        if start == 0:
            self._send(Call(("PEXPIRE", key, TTL_MS), _ignore))

    def finish(self, run_id: str, slot: Slot, outcome: Outcome) -> None:
        """Replace the stream by the tail of the log; nothing is sent for a run without output."""
        key = self._keys.log(run_id)
        shipped = self._shipped.pop(run_id, None)
        if outcome.log_bytes == 0:
            if shipped:
                self._send(Call(("DEL", key), _ignore))
            return
        size = slot.log_size
        data, _ = slot.read_log(max(0, size - self._tail), self._tail)
        self._send(Call(("SET", key, data, "PX", TTL_MS), _ignore))
