"""Output of runs that was shipped to the store, in the stream ``l:<run>``.

Every entry has the attempt ``a``, data ``d`` and the offset ``o`` of its first byte in all that the
attempt wrote, so a reader can tell what it has seen already.
"""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.keys import Keys

TTL_MS = 7 * 86_400_000


@record(frozen=True, slots=True)
class Shipped:
    """A piece of output that was shipped; ``offset`` is that of its first byte in the whole."""

    entry: str
    attempt: int
    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Return the offset behind its last byte."""
        return self.offset + len(self.data)


def ship(
    keys: Keys, run_id: str, *, attempt: int, offset: int, data: bytes, most: int
) -> tuple[Call[object], Call[object]]:
    """Add a piece and let go of all but the newest ``most``; two calls to send together."""
    key = keys.log(run_id)
    words = ("XADD", key, "MAXLEN", "=", most, "*", "a", attempt, "o", offset, "d", data)
    return Call(words, _ignore), Call(("PEXPIRE", key, TTL_MS), _ignore)


def shipped(keys: Keys, run_id: str, *, after: str = "0-0") -> Call[list[Shipped]]:
    """Read what was shipped of a run's output since entry ``after``."""

    def decode(reply: object) -> list[Shipped]:
        out = []
        for entry, flat in items_of(reply):
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            attempt, offset = int(fields.get(b"a", 0)), int(fields.get(b"o", 0))
            out.append(Shipped(text(entry), attempt, offset, fields.get(b"d", b"")))
        return out

    return Call(("XRANGE", keys.log(run_id), f"({after}", "+"), decode)


def _ignore(reply: object) -> object:
    return reply
