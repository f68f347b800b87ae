"""What a supervisor is told through the store: orders to itself, and orders to stop runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jobctl.engine.orders import Mail, Refusals, revocation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jobctl.clock import Clock
    from jobctl.store.keyring import Signing

log = logging.getLogger(__name__)


def pool_order(words: str) -> tuple[str, str, int] | None:
    """Return action, pool and number of slots of ``pool:ACTION:NAME:N``; ``None`` for others.

    One word: what is not signed is read up to its first space.
    """
    parts = words.split(":")
    if len(parts) != 4 or parts[0] != "pool" or not (parts[3].isascii() and parts[3].isdigit()):  # noqa: PLR2004
        return None
    return parts[1], parts[2], int(parts[3])


class Mailbox:
    """Obeys genuine messages.

    ``orders`` says what to do for each order to the supervisor; ``revoke`` is called with run,
    epoch and order for the other kind, which the pool of the run checks; ``pool`` with action, name
    and number of slots for orders about a pool; ``count_forged`` is called for what is not genuine.
    """

    def __init__(
        self,
        signing: Signing,
        *,
        state_dir: Path,
        orders: Mapping[str, Callable[[], None]],
        revoke: Callable[[str, int, str], None],
        pool: Callable[[str, str, int], None],
        count_forged: Callable[[], None],
        clock: Clock,
    ) -> None:
        refusals = Refusals(count_forged, clock=clock)
        self._mail = Mail(signing, state_dir=state_dir, refusals=refusals, clock=clock)
        self._orders = orders
        self._revoke = revoke
        self._pool = pool

    def deliver(self, message: str, *, to: str) -> None:
        """Obey one message to the supervisor ``to``, if it is for it to obey."""
        word, _, rest = message.partition(" ")
        if word == "revoke":
            found = revocation(rest)
            if found is not None:
                self._revoke(*found)
            return
        words = self._mail.genuine(message, to)
        if words is None:
            return
        obey = self._orders.get(words)
        about_pool = pool_order(words)
        if about_pool is not None:
            self._pool(*about_pool)
        elif obey is None:
            log.error("a message that is not known was dropped: %.80r", message)
        else:
            obey()
