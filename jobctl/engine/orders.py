"""Orders from the store: which are genuine. Whoever can write to the store can put some there.

An order to stop a run is checked by the pool that runs it, whether its supervisor or nobody stands
between; an order to a supervisor by the supervisor. What is not genuine is counted, told of, and
otherwise ignored.
"""

from __future__ import annotations

import logging
import math
import signal
from typing import TYPE_CHECKING

from jobctl.model.run import Reason
from jobctl.model.sealing import SKEW, SealError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.engine.ledger import Held
    from jobctl.store.keyring import Signing

log = logging.getLogger(__name__)

SEEN = "orders.seen"
"""Below the state directory: orders that were carried out, while they could be sent again."""
VALID = 900.0
"""Seconds after which an order to a supervisor is too old; what waited longer is not obeyed."""
WORDS = 4
"""Of an order to stop a run: reason, signal, grace, kill."""
REFUSED_MOST = 100
TELL_EVERY = 60.0
"""Seconds between two lines about refused orders, however many come."""


class Refusals:
    """Counts what was refused; ``report`` is called for each, the log has one line a minute."""

    def __init__(self, report: Callable[[], None], *, clock: Clock) -> None:
        self._report = report
        self._clock = clock
        self._silent_until = -math.inf
        self.count = 0

    def add(self, what: str, why: object) -> None:
        """Take note of one."""
        self.count += 1
        self._report()
        now = self._clock.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + TELL_EVERY
            log.error("security: %s was ignored: %s (%d so far)", what, why, self.count)


def revocation(words: str) -> tuple[str, int, str] | None:
    """Return run, epoch and order of what follows the word ``revoke``; ``None`` for anything else."""
    parts = words.split(" ", 2)
    if len(parts) < 3 or not (parts[1].isascii() and parts[1].isdigit()):  # noqa: PLR2004
        return None
    return parts[0], int(parts[1]), parts[2]


class StopDesk:
    """Checks orders to stop runs, for a pool."""

    def __init__(self, signing: Signing, *, refusals: Refusals) -> None:
        self._signing = signing
        self._refusals = refusals
        self._refused: set[tuple[str, str]] = set()
        """Without a supervisor the same orders come again with every beat."""

    def genuine(self, text: str, held: Held) -> str | None:
        """Return ``reason signal grace kill`` of a genuine order, else ``None``."""
        words = text.split()
        order, seal = words[:WORDS], words[WORDS:]
        try:
            _check_words(order)
            ring = self._signing.ring
            if ring is not None and order[0] == Reason.REPLACED.value and (seal or ring.required):
                replacing, at = ring.check_proof("".join(seal), held.request.job)
                since = held.started_at if held.signed is None else held.signed
                if replacing == held.claim.id or at + SKEW < since:
                    raise SealError("the run that is to take its place is older")  # noqa: TRY301
            elif ring is not None:
                ring.check_order(" ".join(words), held.claim.id)
        except SealError as error:
            if (held.claim.id, text) not in self._refused:
                self._refused = {*list(self._refused)[: REFUSED_MOST - 1], (held.claim.id, text)}
                self._refusals.add(f"an order to stop run {held.claim.id}", error)
            return None
        return " ".join(order)


def _check_words(order: list[str]) -> None:
    """Raise SealError for what nobody who uses jobctl could have sent."""
    try:
        reason, name, grace, kill = order
        Reason(reason)
        sane = (name == "-" or f"SIG{name}" in signal.Signals.__members__) and kill in {"0", "1"}
        sane = sane and (grace == "-" or 0 <= float(grace) < math.inf)
    except ValueError:
        sane = False
    if not sane:
        raise SealError("it cannot be understood")


class Mail:
    """Checks orders to a supervisor; each is obeyed once, by a later process too.

    ``state_dir`` keeps what was obeyed.
    """

    def __init__(
        self, signing: Signing, *, state_dir: Path, refusals: Refusals, clock: Clock
    ) -> None:
        self._signing = signing
        self._path = state_dir / SEEN
        self._refusals = refusals
        self._clock = clock
        self._seen: dict[str, int] | None = None

    def genuine(self, text: str, supervisor: str) -> str | None:
        """Return the words of a genuine order, without its seal, else ``None``."""
        try:
            ring = self._signing.ring
            if ring is None:
                return text.partition(" ")[0]
            words, at, nonce = ring.check_order(text, supervisor)
            if nonce:
                self._check_fresh(at)
        except SealError as error:
            self._refusals.add(f"the order {text[:20]!r}", error)
            return None
        return words if not nonce or self._first(nonce, at) else None

    def _check_fresh(self, at: int) -> None:
        age = self._clock.epoch() - at
        if not -SKEW <= age <= VALID:
            raise SealError(f"it was given {age:.0f} s ago by this host's clock")

    def _first(self, nonce: str, at: int) -> bool:
        """Return whether an order is new, and remember it."""
        if self._seen is None:
            self._seen = self._load()
        if nonce in self._seen:
            log.warning("an order that was carried out before came again, and was ignored")
            return False
        now = self._clock.epoch()
        self._seen = {key: then for key, then in self._seen.items() if now - then <= VALID + SKEW}
        self._seen[nonce] = at
        text = "".join(f"{then} {key}\n" for key, then in self._seen.items())
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(text, encoding="ascii")
            draft.replace(self._path)
        except OSError as error:
            log.error("%s cannot be written: %s", self._path, error.strerror)  # noqa: TRY400 - said whole
        return True

    def _load(self) -> dict[str, int]:
        found = {}
        try:
            for line in self._path.read_text(encoding="ascii", errors="replace").splitlines():
                at, _, nonce = line.partition(" ")
                if at.isdigit():
                    found[nonce] = int(at)
        except OSError:
            return {}
        return found
