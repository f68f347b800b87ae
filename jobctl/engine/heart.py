"""The supervisor's sign of life, its mailbox, and its bell.

Two loops: the heartbeat beats every few seconds and reads the mailbox; the doorman waits for the
supervisor's own bell and for "something earlier is due", so that both are acted on at once.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from jobctl.engine.host_journal import since_boot
from jobctl.engine.service import Service
from jobctl.store import membership, queries
from jobctl.store.failures import StoreBusyError, first_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.clock import Clock
    from jobctl.store.aio import AsyncStore
    from jobctl.store.keys import Keys
    from jobctl.store.membership import BeatReply

log = logging.getLogger(__name__)

BEAT_EVERY = 5.0
SKEW_WARNING = 2.0
"""Seconds the host's clock may differ from the store's before it is worth a warning."""
LISTEN = 15.0


class Heartbeat(Service):
    """Beats, and hands on what the mailbox holds.

    ``on_answer`` gets each answer, and when the beat was sent, in seconds since boot. ``on_lost`` is
    told when a beat was refused: ``True`` when the store lost its data, ``False``
    when this supervisor was declared dead.
    """

    name = "heartbeat"
    longest_wait = BEAT_EVERY

    def __init__(  # noqa: PLR0913 - the seams of the supervisor
        self,
        store: AsyncStore,
        keys: Keys,
        *,
        supervisor: str,
        load: Callable[[], dict[str, object]],
        owners: Callable[[], list[str]],
        on_message: Callable[[str], None],
        on_answer: Callable[[BeatReply, float], None],
        on_lost: Callable[[bool], None],
        clock: Clock,
    ) -> None:
        super().__init__(store)
        self._on_answer = on_answer
        self._store = store
        self._keys = keys
        self._supervisor = supervisor
        self._load = load
        self._owners = owners
        self._on_message = on_message
        self._on_lost = on_lost
        self._clock = clock
        self._skewed = False
        self._heard = 0

    async def acknowledge(self) -> None:
        """Beat once more, so that messages which were acted on do not come again to a successor."""
        await self._beat()

    async def tick(self) -> float:  # noqa: D102 - as in Service
        sent = since_boot()
        try:
            reply = await self._beat()
        except StoreBusyError as error:
            if self._condition is not None and first_word(error.reply) == "LOADING":
                await self._condition.ask(self._store, self._keys)
            raise
        if reply.fenced:
            self._heard = 0
            self._on_lost(reply.unknown)
            return BEAT_EVERY
        self._heard = reply.beat
        for message in reply.messages:
            self._on_message(message)
        self._on_answer(reply, sent)
        self._watch_clock(reply.now)
        # A mailbox that somebody has filled must not hold up what is genuine until it is too old.
        return BEAT_EVERY if len(reply.messages) < membership.MESSAGES_MOST else 0.0

    async def _beat(self) -> BeatReply:
        return await self._store.run(
            membership.beat(
                self._keys,
                supervisor=self._supervisor,
                load=json.dumps(self._load(), separators=(",", ":")),
                owners=self._owners(),
                heard=self._heard,
            )
        )

    def _watch_clock(self, store_now: float) -> None:
        skew = self._clock.epoch() - store_now
        skewed = abs(skew) > SKEW_WARNING
        if skewed and not self._skewed:
            log.warning(
                "this host's clock is %+.1f s off the store's; schedules go by this host's, "
                "delays and expiries by the store's: synchronise both", skew,
            )  # fmt: skip
        self._skewed = skewed


class Doorman(Service):
    """Waits for the supervisor's own bells and wakes who must act."""

    name = "doorman"

    def __init__(
        self, ears: AsyncStore, keys: Keys, *, supervisor: str, on_bell: Callable[[str], None]
    ) -> None:
        super().__init__(ears)
        self._ears = ears
        self._keys = keys
        self._bells = {
            f"@{supervisor}": "mailbox",
            "@due": "due",
            f"@out:{supervisor}": "notices",
            "@out": "notices",
        }
        self._on_bell = on_bell

    async def tick(self) -> float:  # noqa: D102 - as in Service
        rung = await self._ears.run(
            queries.wait_for_bells(self._keys, list(self._bells), timeout=LISTEN)
        )
        if rung is not None:
            self._on_bell(self._bells[rung])
        return 0.0
