"""How attempts ended, as the store is told: the call ``settle``, in which many runs are alike."""

from __future__ import annotations

from jobctl.model.records import record
from jobctl.store.calls import Call
from jobctl.store.transitions import Part, milliseconds, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.store.keys import Keys

FIRST = ("at", "a1", "du", "st", "fs", "pi")
"""How the names begin of what is set for a run that ended with its first attempt. The entry of the
attempt says the last four of these too, or only another attempt would need them."""
IN_ENTRY = slice(FIRST.index("du"), len(FIRST))
CODE = len(FIRST)
"""Where its exit code is. When that is 0, nothing up to it but the entry is sent."""
SUCCESS = ("at", "a1", "rc")
"""How they begin where whoever settles has left out what the entry says too."""
ENTRY = FIRST.index("a1")
NOTHING_LEFT_OUT = slice(0, 0)


@record(frozen=True, slots=True)
class Settlement:
    """How one attempt ended, for ``settle``."""

    id: str
    epoch: int
    letter: str
    reason: str
    delay: float
    """Seconds until the next attempt, for letter ``d``."""
    fields: tuple[Part, ...]
    """Names and values to set."""
    submitted_at: float | None = None
    """As its claim says; ``None`` when nobody knows any more. It tells runs apart that had the
    same id one after the other. Not sent."""
    stays: bool = False
    """Whether its job keeps records for so long that one which is missing soon was lost. Not sent."""
    signed: int | None = None
    """When its run was signed, in epoch seconds, if its start is yet to be counted on this host; else
    ``None``. Not sent."""
    last_start: float = 0.0
    """Until when that is to be remembered, in epoch seconds. Not sent."""


def _left_out(letter: str, names: tuple[Part, ...], code: Part | None) -> tuple[slice, slice]:
    """Return which of the fields that are set for a run are not sent, last ones first."""
    if letter == "k" and names[: len(SUCCESS)] == SUCCESS and code == 0:
        return slice(ENTRY + 1, len(SUCCESS)), slice(0, ENTRY)
    if letter == "k" and names[: len(FIRST)] == FIRST:
        if names[CODE : CODE + 1] == ("rc",) and code == 0:
            return slice(ENTRY + 1, CODE + 1), slice(0, ENTRY)
        return IN_ENTRY, NOTHING_LEFT_OUT
    return NOTHING_LEFT_OUT, NOTHING_LEFT_OUT


def settle(keys: Keys, *, owner: str, items: Iterable[Settlement]) -> Call[tuple[str, ...]]:
    """Record how attempts ended; answers are the new letters, ``already`` or ``stale``."""
    parts: list[Part] = [keys.prefix, owner]
    letters: list[str] = []
    alike: tuple[object, ...] | None = None
    last = first = NOTHING_LEFT_OUT
    place = 0
    for item in items:
        names, values = item.fields[::2], [*item.fields[1::2]]
        place_of_code = len(SUCCESS) - 1 if names[: len(SUCCESS)] == SUCCESS else CODE
        code = values[place_of_code] if len(values) > place_of_code else None
        kind = (item.letter, item.reason, item.delay, item.epoch, names, code == 0)
        if kind != alike:
            alike = kind
            last, first = _left_out(item.letter, names, code)
            sent = [*names]
            del sent[last], sent[first]
            delay = milliseconds(item.delay)
            parts += (item.letter, item.reason, delay, item.epoch, len(sent), *sent, 0)
            place = len(parts) - 1
        parts[place] += 1  # type: ignore[operator]  # how many runs the group has
        del values[last], values[first]
        parts.append(item.id)
        parts += values
        letters.append(item.letter)

    def decode(reply: object) -> tuple[str, ...]:
        # A number stands for as many answers that are what was asked for.
        return tuple(letters) if reply == len(letters) else texts(reply)

    return Call(tuple(parts), decode, script="settle")
