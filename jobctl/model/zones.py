"""Stretches of constant UTC offset, found by asking the zone and nothing else.

``zoneinfo`` does not publish its transitions, and schedules need them: whether a wall time was
skipped or repeated is a fact about the jump, not about any one instant. The offset is probed
every two days (no two changes in the zone database are less than 95 hours apart) and each
change is then bisected to the second. Results are kept per ``ZoneInfo`` object, so zone data
that was reloaded is looked at afresh.

Instants are whole seconds since 1970 in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400
_PROBE = 2 * DAY
_GAP_MOST = 3 * 3600
"""Seconds; a longer jump is a correction, after which nothing is made up for."""
_CHUNK_BITS = 25
"""A chunk is 2**25 seconds, about 388 days: 194 probes, 0.1 ms, once per zone."""
_FIRST = -62_135_510_400
_LAST = 253_402_214_400
"""One day inside what ``datetime`` can hold, so that no zone can push a probe over the edge."""

Piece = tuple[int, int, int, int]
"""(first instant, first instant no longer in it, UTC offset, UTC offset before it), all seconds."""

_known: WeakKeyDictionary[ZoneInfo, dict[int, tuple[Piece, ...]]] = WeakKeyDictionary()


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """Return the zone's UTC offset at an instant, in seconds."""
    moment = EPOCH + timedelta(seconds=min(max(instant, _FIRST), _LAST))
    offset = moment.astimezone(zone).utcoffset()
    return 0 if offset is None else offset.days * DAY + offset.seconds


def ends_gap(at: datetime, zone: ZoneInfo) -> bool:
    """Return whether the zone's clock was set forward at an instant, by no more than three hours."""
    instant = int((at - EPOCH).total_seconds())
    return 0 < offset_at(zone, instant) - offset_at(zone, instant - 1) <= _GAP_MOST


def piece_at(zone: ZoneInfo, instant: int) -> Piece:
    """Return the stretch of constant offset that holds ``instant``.

    A stretch may be cut where nothing changes; both offsets are then the same. One that begins
    with a change is never cut within a day of it.
    """
    chunks = _known.get(zone)
    if chunks is None:
        chunks = _known[zone] = {}
    number = instant >> _CHUNK_BITS
    pieces = chunks.get(number)
    if pieces is None:
        pieces = chunks[number] = _survey(zone, number)
    for piece in pieces:
        if instant < piece[1]:
            return piece
    return pieces[-1]


def _survey(zone: ZoneInfo, number: int) -> tuple[Piece, ...]:
    # Starting early keeps a fold in sight whose second pass reaches into this chunk.
    start = (number << _CHUNK_BITS) - _PROBE
    end = (number + 1) << _CHUNK_BITS
    pieces: list[Piece] = []
    offset = before = offset_at(zone, start)
    probe = start
    while probe < end - 1:
        following = min(probe + _PROBE, end - 1)
        reached = offset_at(zone, following)
        if reached != offset:
            change = _bisect(zone, probe, following)
            pieces.append((start, change, offset, before))
            start, before, offset = change, offset, reached
        probe = following
    pieces.append((start, end, offset, before))
    return tuple(pieces)


def _bisect(zone: ZoneInfo, low: int, high: int) -> int:
    """Return the first instant in (low, high] whose offset differs from that at ``low``."""
    offset = offset_at(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high
