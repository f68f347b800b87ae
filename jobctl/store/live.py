"""Live schedules as the store keeps them: signed as orders are, so that no other store writer makes one.

What is not signed as it must be, was changed, or cannot be read is never used; it stays where it
is, for ``jobctl doctor`` to show.
"""

from __future__ import annotations

from jobctl.model.overlay import LiveError, decode_live, encode_live
from jobctl.model.sealing import SealError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobctl.model.overlay import LiveSchedule
    from jobctl.model.sealing import Ring


def sealed(live: LiveSchedule, order: Callable[[str, str], str]) -> str:
    """Return the record of a live schedule; ``order`` signs, as ``Signing.order``."""
    return order(encode_live(live), _target(live.name))


def opened(
    records: Mapping[str, str], ring: Ring | None
) -> tuple[list[LiveSchedule], dict[str, str]]:
    """Return the genuine ones of these records, by name, and why the others are refused."""
    lives: list[LiveSchedule] = []
    refused: dict[str, str] = {}
    for name, text in sorted(records.items()):
        try:
            lives.append(decode_live(name, _genuine(name, text, ring)))
        except (SealError, LiveError) as error:
            refused[name] = str(error)
    return lives, refused


def _genuine(name: str, text: str, ring: Ring | None) -> str:
    if ring is None or not (ring.required or " " in text):
        # A record has no blank but the one before its seal.
        return text.partition(" ")[0]
    return ring.check_order(text, _target(name))[0]


def _target(name: str) -> str:
    """Return what a record is signed for: it is no order to a run or a supervisor, nor for another schedule."""
    return f"schedule {name}"
