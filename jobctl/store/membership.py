"""What supervisors tell the store about themselves, and what is done when one has died."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobctl.store.keys import Keys


def _texts(reply: object) -> tuple[str, ...]:
    return tuple(text(item) for item in items_of(reply))


def _int(reply: object) -> int:
    return int(reply)  # type: ignore[call-overload, no-any-return]


UNKNOWN = -2


MESSAGES_MOST = 100
"""Messages that one beat brings, as in ``store/lua/beat.lua``."""


@record(frozen=True, slots=True)
class BeatReply:
    """The answer to a beat."""

    fenced: bool
    now: float
    messages: tuple[str, ...]
    owned: tuple[int, ...]
    beat: int = 0
    """This beat's number: hand it to the next beat as ``heard``."""
    unknown: bool = False
    """With ``fenced``: nobody declared it lost, the store lost its data."""
    live_schedules: int = 0
    """How often the schedules that the store keeps were changed."""


def register(keys: Keys, *, supervisor: str, facts: Mapping[str, str]) -> Call[float]:
    """Register a supervisor, or update its facts; answers the store's time in epoch seconds.

    The answer is negative, and nothing changed, when this supervisor was declared lost.
    """
    flat = [part for pair in facts.items() for part in pair]
    return Call(
        (keys.prefix, supervisor, *flat), lambda reply: _int(reply) / 1000, script="register"
    )


def beat(
    keys: Keys, *, supervisor: str, load: str, owners: Sequence[str], heard: int | None = None
) -> Call[BeatReply]:
    """Show that the supervisor lives, and read its mailbox (at most 100 messages).

    With ``heard``, the number of the last beat that was answered (0 at first), messages come
    again until the beat that brought them was heard; without it they come once, answered or not.
    """

    def decode(reply: object) -> BeatReply:
        status, now, messages, number, version, *owned = items_of(reply)
        return BeatReply(
            fenced=status < 0,
            now=now / 1000,
            messages=_texts(messages),
            owned=tuple(owned),
            beat=number,
            unknown=status == UNKNOWN,
            live_schedules=version,
        )

    return Call(
        (keys.prefix, supervisor, load, "" if heard is None else heard, *owners),
        decode,
        script="beat",
        idempotent=heard is not None,
    )


def add_pool(keys: Keys, *, supervisor: str, owner: str) -> Call[bool]:
    """Let a pool process claim; False when the supervisor is not up."""
    return Call((keys.prefix, supervisor, owner), lambda reply: _int(reply) == 1, script="pool")


@record(frozen=True, slots=True)
class RescueReply:
    """The answer to a rescue; ``left`` runs or owners need another call."""

    fenced: bool
    moved: int
    left: int


def rescue(
    keys: Keys,
    *,
    supervisor: str,
    seen_beat: str = "",
    owner: str = "",
    items: Sequence[tuple[str, int]] = (),
) -> Call[RescueReply]:
    """Take back the runs of a dead supervisor, or of one dead pool of it (``owner``).

    With ``seen_beat`` nothing is done when it has shown life since. With ``items`` (at
    most 100 run ids, each with the epoch of its claim) only these claims of ``owner`` are taken
    back, and it may go on claiming.
    """

    def decode(reply: object) -> RescueReply:
        status, moved, left = items_of(reply)
        return RescueReply(status == 1, moved, left)

    claims = (word for run_id, epoch in items for word in (run_id, epoch))
    return Call((keys.prefix, supervisor, seen_beat, owner, *claims), decode, script="rescue")


def leave(keys: Keys, *, supervisor: str) -> Call[int]:
    """Take a supervisor off the list; answers how many runs it still owns (then nothing is done)."""
    return Call((keys.prefix, supervisor), _int, script="leave")


def send(keys: Keys, *, supervisor: str, message: str) -> tuple[Call[int], Call[int]]:
    """Put a control message into a supervisor's mailbox and ring its bell."""
    return (
        Call(("RPUSH", keys.mailbox(supervisor), message), _int, idempotent=False),
        Call(("RPUSH", keys.bell(f"@{supervisor}"), "1"), _int),
    )
