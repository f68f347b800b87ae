"""What this host has started: a file that all its pools share, against runs that come back.

The store counts attempts too, but its counters can be set back, and a backup of it brings back runs
that have ended. So whoever claims a run asks here first, and says here what it starts: at once, or of
a short run when its end is known to the store, until when the host journal has what is to be said.

The file is a table of buckets with a fixed number of places; a run has its place until nobody may
start it any more, which its signature says, so nothing has to be tidied. It is not synced: after a
power failure the newest entries may be missing. When a bucket is full the entry that ends first
gives way. It is read and written by place, so a process that is killed leaves whole ones, and on a
full disk that fails where a map of the file would kill.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.store.settling import Settlement

_log = logging.getLogger(__name__)

NAME = "starts"
"""Below the state directory."""
BUCKETS = 16384
PLACES = 32
"""In a bucket: some 500,000 runs, 10 MiB, sparse at first."""
_PLACE = struct.Struct("<8sIIHcx")
_LETTER_AT = 18
"""Where the letter is in a place."""
_BUCKET = _PLACE.size * PLACES
_ENDS = struct.Struct("<" + "8xI8x" * PLACES)
"""Until when the entries of a bucket are kept."""
_NOTHING = b"\0"
_EMPTY = bytes(_PLACE.size)
"""How a place reads that was never written."""
RECENT = 4096
"""Runs whose key is remembered: it is needed when a run is claimed, starts and ends."""
_Place = tuple[bytes, int, int, int, bytes]


class Known(NamedTuple):
    """What is known of a run: when its signature was made, starts that count, and how it ended."""

    signed: int
    starts: int
    letter: str
    """State letter once it was final; empty before."""


class Starts:
    """The table. Trouble with its file costs the protection, never a run, and is said once.

    ``namespace`` keeps apart what one state directory did for several.
    """

    def __init__(self, path: Path, *, namespace: str, clock: Clock) -> None:
        self._path = path
        salt = blake2b(namespace.encode(), digest_size=16).digest()

        begun = blake2b(digest_size=8, key=salt)

        def key(run_id: str) -> bytes:
            made = begun.copy()
            made.update(run_id.encode("utf-8", "replace"))
            return made.digest()

        self._key = lru_cache(maxsize=RECENT)(key)
        self._clock = clock
        self._fd = -1
        self._troubled = False
        self._crowded = False
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            self._complain(error)

    def look(self, run_id: str) -> Known | None:
        """Return what is known of a run, ``None`` when it never started here, or too long ago."""
        if self._fd < 0:
            return None
        key = self._key(run_id)
        try:
            start, data = self._read(key)
        except OSError as error:
            self._complain(error)
            return None
        if key not in data:
            return None
        _, place = _search(key, start, data)
        if place is None:
            return None
        _, _, signed, count, letter = place
        return Known(signed, count, "" if letter == _NOTHING else letter.decode())

    def began(self, *runs: tuple[str, int, float]) -> None:
        """Count starts of runs: id, when it was signed, and until when nobody forgets it.

        Both are epoch seconds.
        """

        def change() -> None:
            for run_id, signed, until in runs:
                key = self._key(run_id)
                bucket = self._read(key)
                offset, place = _search(key, *bucket)
                self._count(key, bucket, offset, place, signed, until, "")

        self._locked(change)

    def excuse(self, *run_ids: str) -> None:
        """Take one start off each: the attempt was stopped in order, and is no attempt."""

        def change() -> None:
            for run_id in run_ids:
                offset, place = self._find(run_id)
                if place is not None and place[3]:
                    entry = _PLACE.pack(*place[:3], place[3] - 1, place[4])
                    os.pwrite(self._fd, entry, offset)

        self._locked(change)

    def ended(self, ends: Iterable[tuple[Settlement, str]]) -> None:
        """Note of runs that were started here which final letter they have, "" for none.

        Starts that their settlements say to be yet uncounted are counted.
        """

        def change() -> None:
            for item, letter in ends:
                key = self._key(item.id)
                bucket = self._read(key)
                offset, place = _search(key, *bucket)
                if item.signed is not None:
                    if _is_open(place, item.signed):
                        until = item.last_start
                        self._count(key, bucket, offset, place, item.signed, until, letter)
                elif letter and place is not None:
                    os.pwrite(self._fd, letter.encode(), offset + _LETTER_AT)

        self._locked(change)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _count(
        self,
        key: bytes,
        bucket: tuple[int, bytes],
        offset: int,
        place: _Place | None,
        signed: int,
        until: float,
        letter: str,
    ) -> None:
        """Count one start more, from none for one that was signed anew."""
        count = 0 if place is None or place[2] != signed else place[3]
        if place is None:
            offset = self._vacant(*bucket)
        end = letter.encode() or _NOTHING
        entry = _PLACE.pack(key, int(until), signed, min(count + 1, 65535), end)
        os.pwrite(self._fd, entry, offset)

    def _read(self, key: bytes) -> tuple[int, bytes]:
        """Return where the bucket of a run is, and what is in it."""
        start = int.from_bytes(key[:4], "little") % BUCKETS * _BUCKET
        return start, os.pread(self._fd, _BUCKET, start)

    def _find(self, run_id: str) -> tuple[int, _Place | None]:
        """Return where the entry of a run is, and what it says."""
        key = self._key(run_id)
        return _search(key, *self._read(key))

    def _vacant(self, start: int, data: bytes) -> int:
        """Return a place for a new entry: one that is free or over, else the one that ends first."""
        free = data.find(_EMPTY)
        if free >= 0:
            free += -free % _PLACE.size  # what precedes it may end with zeros
            if data[free : free + _PLACE.size] == _EMPTY:
                return start + free
        if len(data) < _BUCKET:  # the file ends here
            return start + len(data) // _PLACE.size * _PLACE.size
        ends = _ENDS.unpack(data)
        soonest = min(ends)
        first = ends.index(soonest)
        if soonest >= self._clock.epoch() and not self._crowded:
            self._crowded = True
            _log.warning(
                "%s is full: runs that ended long ago may not be known any more, should somebody "
                "put them into the store again; a shorter valid_for in [security] helps", self._path,
            )  # fmt: skip
        return start + first * _PLACE.size

    def _locked(self, change: Callable[[], None]) -> None:
        """Change the table while nobody else does."""
        if self._fd < 0:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                change()
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._troubled:
            _log.error(
                "%s cannot be used: %s; until that is mended and the daemon is started again, runs "
                "that come back into the store are started again", self._path, error.strerror,
            )  # fmt: skip
        self._troubled = True


def _is_open(place: _Place | None, signed: int) -> bool:
    """Return whether nobody has noted yet how a run ended that was signed then, or a later one."""
    if place is None or signed > place[2]:
        return True
    return signed == place[2] and place[4] == _NOTHING


def _search(key: bytes, start: int, data: bytes) -> tuple[int, _Place | None]:
    """Return where the entry of a key is in a bucket, and what it says."""
    at = data.find(key)
    while at >= 0:
        if at % _PLACE.size == 0 and at + _PLACE.size <= len(data):
            return start + at, _PLACE.unpack_from(data, at)
        at = data.find(key, at + 1)
    return -1, None
