"""Ships output to a shared store, so that ``jobctl logs`` works from any host.

Only with a store that other hosts can reach: with the embedded one the log files are enough.
While an attempt runs, what is new goes to a capped stream a few times a second; at the end the
tail replaces it and lives as long as the run's record.
"""

from __future__ import annotations

import os
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
        chunk = _read(slot, max(start, size - CHUNK), size)
        self._shipped[run_id] = size
        key = self._keys.log(run_id)
        self._send(
            Call(("XADD", key, "MAXLEN", "~", STREAM_MOST, "*", "a", attempt, "d", chunk), _ignore)
        )
        if start == 0:
            self._send(Call(("PEXPIRE", key, TTL_MS), _ignore))

    def finish(self, run_id: str, attempt: int, path: str | os.PathLike[str] | None, outcome: Outcome) -> None:
        """Replace the stream by the tail of the log; nothing is sent for a run without output."""
        key = self._keys.log(run_id)
        if outcome.log_bytes == 0 or path is None:
            if self._shipped.pop(run_id, None):
                self._send(Call(("DEL", key), _ignore))
            return
        self._shipped.pop(run_id, None)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - self._tail))
            data = file.read(self._tail)
        self._send(Call(("SET", key, data, "PX", TTL_MS), _ignore))


def _read(slot: Slot, start: int, end: int) -> bytes:
    path = slot.log_path
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end - start)
    except FileNotFoundError:
        return b""  # it ended and moved in between; its tail is shipped instead
