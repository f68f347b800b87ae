"""Mends what :func:`jobctl.store.verify.audit` finds, as far as the store alone can.

Whatever is changed is judged anew by ``repair.lua`` at that instant, so the store may be in use
meanwhile and a repeat does no harm. What one round brings to light the next one mends: entries of a
record that was put aside, for example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.store import membership
from jobctl.store.calls import Call
from jobctl.store.codec import items_of, text
from jobctl.store.verify import PAUSE, Audit, audit
from jobctl.store.verify.census import bytes_of
from jobctl.store.verify.finding import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.keys import Keys
    from jobctl.store.verify.finding import Finding

ROUNDS = 5
CHUNK = 50
"""Items that one call mends: it keeps the server for some milliseconds at most."""
NOBODY = "nobody"
"""The supervisor that ``repair.lua`` makes the owner of runs which nobody can have."""
REFUSED = "- "

_FIRST = (Kind.TYPE, Kind.RECORD)
"""Mended before all others: these may depend on them."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What became of one finding."""

    finding: Finding
    done: str
    """What was done, in words; empty when it was refused."""
    refused: str = ""
    """Why nothing was done."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair came to."""

    deeds: tuple[Deed, ...]
    left: Audit
    """What is found afterwards."""


def mend(keys: Keys, items: Sequence[tuple[str, ...]]) -> Call[list[str]]:
    """Mend items, see ``repair.lua``; answers what was done with each, ``""`` for nothing."""
    words: list[str | bytes | int] = [keys.prefix]
    for item in items:
        words += [len(item), *(bytes_of(word) for word in item)]
    return Call(tuple(words), lambda reply: [text(one) for one in items_of(reply)], script="repair")


def repair(
    store: BlockingStore, keys: Keys, found: Audit | None = None, *, pause: float = PAUSE
) -> Repair:
    """Mend what is found, up to :data:`ROUNDS` times; ``found`` is what was seen already.

    Raises a branch of :class:`~jobctl.errors.JobctlError` when the store cannot be reached; what
    was mended until then stays so, and a repeat goes on from there.
    """
    found = audit(store, keys, pause=pause) if found is None else found
    deeds: list[Deed] = []
    for _ in range(ROUNDS):
        round_ = list(_apply(store, keys, found.findings))
        deeds += round_
        if not any(deed.done for deed in round_):
            break
        found = audit(store, keys, pause=pause)
    return Repair(_told_once(deeds), found)


def _apply(store: BlockingStore, keys: Keys, findings: Iterable[Finding]) -> Iterator[Deed]:
    """Carry out one round, the oldest runs first, so that they come first in their queues."""
    mendable = [finding for finding in findings if finding.mend]
    mendable.sort(key=lambda finding: (finding.kind not in _FIRST, finding.since, finding.mend))
    seen: dict[tuple[str, ...], Finding] = {}
    for finding in mendable:
        seen.setdefault(finding.mend, finding)
    items = list(seen)
    for i in range(0, len(items), CHUNK):
        chunk = items[i : i + CHUNK]
        for item, answer in zip(chunk, store.run(mend(keys, chunk)), strict=True):
            if answer.startswith(REFUSED):
                yield Deed(seen[item], "", answer.removeprefix(REFUSED))
            elif answer:
                yield Deed(seen[item], answer)
    while store.run(membership.rescue(keys, supervisor=NOBODY)).left:
        pass


def _told_once(deeds: list[Deed]) -> tuple[Deed, ...]:
    """Leave out refusals that a later round repeats."""
    return tuple(dict.fromkeys(deeds))
