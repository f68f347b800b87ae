"""What supervisors do with notices, as :class:`Call` values; they are written by other scripts."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.codec import items_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.store.keys import Keys

PASS_ON = b"<"


@record(frozen=True, slots=True)
class OutboxReply:
    """The answer to :func:`outbox`: the oldest notices this supervisor has to deliver, as bytes."""

    fenced: bool
    notices: tuple[bytes, ...]


def outbox(
    keys: Keys,
    *,
    supervisor: str,
    take: int,
    tell: int,
    delivered: Sequence[bytes] = (),
    passed_on: Sequence[bytes] = (),
) -> Call[OutboxReply]:
    """Read up to ``tell`` notices of a supervisor, after it took up to ``take`` of those for anybody.

    First those ``delivered`` are removed, and those ``passed_on`` given to whoever takes them.
    Repeating it is safe.
    """

    def decode(reply: object) -> OutboxReply:
        status, *notices = items_of(reply)
        return OutboxReply(status < 0, tuple(notices))

    given = [PASS_ON + notice for notice in passed_on]
    return Call(
        (keys.prefix, supervisor, take, tell, *delivered, *given),
        decode,
        script="outbox",
    )


def length(key: str) -> Call[int]:
    """Count the notices in a list."""
    return Call(("LLEN", key), lambda reply: int(reply or 0))  # type: ignore[call-overload]


def oldest(key: str) -> Call[bytes | None]:
    """Read the notice that waits longest in a list."""
    return Call(("LINDEX", key, 0), lambda reply: reply if isinstance(reply, bytes) else None)
