"""A pool's traffic with the store: claims, start marks, settlements and progress, in batches.

Everything but the claim that waits with the doorbells goes in turns, one after the other, so that
whatever gathered while one was under way travels together with the next; in a flood there are two.
Nothing is dropped in an outage: settlements stay until they are acknowledged, and a claim whose
answer was lost is found again by reading the pool's own set.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.accounts import Accounts
from jobctl.engine.batch import Outbox
from jobctl.engine.complaints import Complaints
from jobctl.engine.flights import Flight, Flights
from jobctl.engine.hold import Hold
from jobctl.engine.loops import Turn
from jobctl.errors import JobctlError
from jobctl.model.run import FINAL_LETTERS, LETTERS
from jobctl.store import transitions
from jobctl.store.aio import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from jobctl.engine.batch import Batch, Mark
    from jobctl.engine.host_journal import HostJournal
    from jobctl.engine.ledger import Held, Ledger
    from jobctl.store.aio import AsyncStore
    from jobctl.store.calls import Call
    from jobctl.store.keys import Keys
    from jobctl.store.settling import Settlement
    from jobctl.store.transitions import ClaimReply

log = logging.getLogger(__name__)

LOW_FIRST_EVERY = 16
"""Every so many claims the lowest priority goes first, so that none starves."""
FLOOD = 64
"""Runs for which the next turn begins while what the last one brought is taken in."""
PLENTY = 96
"""Outcomes for which a second turn begins: for fewer, what a turn costs by itself would show."""
RECONCILE_EVERY = 5.0
"""Seconds between checks that the store and this pool agree on what is claimed, while it holds
anything; an idle pool is told by its supervisor, whose every beat brings the number."""


class Pump:
    """Sends a pool's changes to the store and brings claims back.

    ``idle`` tells how many slots are free; ``on_claims`` takes what was claimed; ``on_stale`` is
    told of runs that are not ours any more, ``on_gone`` of outcomes of runs that the store has
    lost, ``on_answered`` of settlements with the final letters of their runs, "" where there is none,
    ``on_fenced`` that this owner may not claim any more. ``hush`` returns when nobody claims beside it.
    """

    def __init__(  # noqa: PLR0913 - the seams of the pool
        self,
        store: AsyncStore,
        keys: Keys,
        ledger: Ledger,
        *,
        supervisor: str,
        owner: str,
        queues: tuple[str, ...],
        journal: HostJournal,
        idle: Callable[[], int],
        on_claims: Callable[[ClaimReply], None],
        on_stale: Callable[[str, int], None],
        on_gone: Callable[[Settlement], None],
        on_answered: Callable[[Iterable[tuple[Settlement, str]]], None],
        on_fenced: Callable[[], None],
        hush: Callable[[], Awaitable[None]],
    ) -> None:
        self.queues = queues
        self.holds: set[Hold] = set()
        """Why nothing is claimed now; empty while claiming goes on."""
        self._store = store
        self._keys = keys
        self._ledger = ledger
        self._supervisor = supervisor
        self._owner = owner
        self._journal = journal
        self._accounts = Accounts(
            store,
            keys,
            ledger,
            supervisor=supervisor,
            owner=owner,
            release=self.release,
            on_claims=on_claims,
            on_stale=on_stale,
            on_gone=on_gone,
            hush=hush,
        )
        self._replayed: set[str] = set()
        self._idle = idle
        self._on_claims = on_claims
        self._on_stale = on_stale
        self._on_gone = on_gone
        self._on_answered = on_answered
        self._on_fenced = on_fenced
        self._wake = asyncio.Event()
        self._outbox = Outbox(ledger.unsettled)
        self._look = True
        """A claim is worth trying: a bell rang, or the last claim left something."""
        self._rung = False
        self._claims = 0
        self._beside = False
        """Whether a claim waits with the bells."""
        self._reconcile = False
        self._flights = Flights()
        self._flood = False
        """Whether the last claim left many runs that are wanted."""
        self._hungry = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._backoff = Backoff()
        self._complaints = Complaints()
        self.turn = Turn()

    @property
    def claiming(self) -> bool:
        """Whether nothing keeps the pool from claiming."""
        return not self.holds

    def look(self) -> None:
        """Try a claim: a bell rang or a slot became free."""
        self._look = True
        self._wake.set()

    def freed(self) -> None:
        """Make up for a claim that found every slot taken: one is free since."""
        self._wake.set()

    def rang(self) -> None:
        """Note that this pool took a bell's token, so it must look, or ring again."""
        self._rung = True
        self.look()

    def claim_beside(self) -> Call[ClaimReply] | None:
        """Return a claim for who listens to the bells, ``None`` when nothing is to be claimed.

        It is of one run: when it is carried out, the slots may have been filled by other claims.
        """
        if not self.claiming or self._ledger.wanted(idle=self._idle()) < 1:
            return None
        self._claims += 1
        self._beside = True
        return self._claim(1)

    def heard(self, reply: ClaimReply | None) -> None:
        """Take what :meth:`claim_beside` brought; ``None`` when nobody knows whether it did."""
        self._beside = False
        if reply is None:
            self.check()
            return
        self._hungry.clear()
        self._took(0, reply)

    def mark(self, mark: Mark) -> None:
        """Send a start mark (id, epoch, attempt, started at, pid)."""
        self._outbox.marks[mark[0]] = mark
        self._wake.set()

    def note(self, held: Held, progress: str) -> None:
        """Send progress; a newer one replaces an unsent one."""
        if held.progress is None and held.pid:
            # Whoever sees how far it is sees of which attempt: the start may not be marked yet.
            self._outbox.marks[held.claim.id] = held.mark()
        held.progress = progress
        self._outbox.notes[held.claim.id] = (held.claim.id, held.claim.epoch, progress)
        self._wake.set()

    def tell_held_up(self, run_id: str, epoch: int, by: tuple[str, ...] | None) -> None:
        """Send which runs keep the function of one from beginning; ``None``: none does any more."""
        items = [(run_id, epoch, transitions.held_up(epoch, by))]
        self.send(transitions.note(self._keys, owner=self._owner, items=items))

    def settle(self, *items: Settlement) -> None:
        """Send settlements; they are in the journal first, and kept until the store has answered."""
        self._journal.settled(items)
        self._outbox.settle(items)
        # To an idle pool what comes next will be brought by the claim that waits for a bell.
        self._look |= not self._beside or bool(self._ledger.running or self._ledger.backlog)
        self._wake.set()
        unsent = len(self._outbox.unsettled) - self._flights.settling
        if self._flood and self._flights.room and unsent >= PLENTY:
            self._look = True
            self._launch()

    def inherit(self, outcomes: dict[str, Settlement]) -> None:
        """Go on for a dead process of this pool: send what it may not have sent, take back the rest."""
        self._ledger.unsettled.update(outcomes)
        self._replayed.update(outcomes)
        self._accounts.inherited = True
        self.check()

    def release(self, run_id: str, epoch: int) -> None:
        """Give a claim back."""
        self._outbox.releases[run_id] = (run_id, epoch)
        self._wake.set()

    def send(self, call: Call[object]) -> None:
        """Send a call whose loss does no harm (log shipping)."""
        self._outbox.extra.append(call)
        self._wake.set()

    def check(self) -> None:
        """Compare the store's view of what we hold with ours at the next turn."""
        self._reconcile = True
        self._wake.set()

    @property
    def clear(self) -> bool:
        """True when nothing waits to be sent."""
        return self._outbox.clear

    async def wait_clear(self) -> None:
        """Wait until nothing waits to be sent."""
        while not self.clear:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    async def wait_hungry(self) -> None:
        """Wait until slots are free and the last claim found nothing: time to listen to bells."""
        await self._hungry.wait()

    async def run(self) -> None:
        """Pump for ever; the pool cancels it at the end."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                with self.turn:
                    await self._turn()
                if self._complaints.worked():
                    self._backoff.reset()
            except JobctlError as error:
                self._reconcile = True
                self._look = True
                log.log(self._complaints.failed(error), "store: %s; trying again", error)
                await asyncio.sleep(self._backoff.next())
                self._wake.set()

    async def _turn(self) -> None:
        if not self._flights:
            if self._reconcile or self._accounts.moved:
                await self._accounts.settle(set(self._outbox.releases))
                self._reconcile = False
            self._launch()
        if not self._flights:
            return
        try:
            replies = await self._flights[0].replies
        except JobctlError:
            self._flights.popleft()
            await self._strand()
            raise
        except asyncio.CancelledError:
            self._flights.abandon()
            raise
        await self._land(self._flights.popleft(), replies)
        if self._flights or self._outbox.unsettled or self._outbox.extra:
            self._wake.set()

    async def _strand(self) -> None:
        """Take what was under way behind a turn that has failed, which mostly has failed as well."""
        self._reconcile = True
        while self._flights:
            flight = self._flights.popleft()
            try:
                await self._land(flight, await flight.replies)
            except JobctlError as error:
                log.debug("so did what was under way behind it: %s", error)

    def _launch(self, *, landed: int = 0) -> None:
        """Send what is to be sent now, if there is anything; ``landed`` claims are not taken in yet."""
        batch = self._outbox.batch(self._flights.batches)
        calls = batch.calls(self._keys, self._owner)
        want = 0
        if self.claiming and self._look:
            want = self._wanted(landed)
        claiming = want > 0 or (self._rung and self._look)
        if claiming:
            self._claims += 1
            # Only a claim tells anew whether it is time to listen: after another turn it still is.
            self._hungry.clear()
            calls.append(self._claim(want))
        if not calls:
            return
        replies = self._send(calls, claiming=claiming, harmless=batch.extra)
        self._flights.append(
            Flight(batch, want if claiming else None, asyncio.ensure_future(replies))
        )

    def _wanted(self, landed: int) -> int:
        """Return how many runs to claim, when so many are to be taken in and others under way."""
        coming = landed + self._flights.coming
        return self._ledger.wanted(idle=self._idle(), coming=coming)

    async def _land(self, flight: Flight, replies: list[object]) -> None:
        """Act on answers. In a flood the store has the next turn meanwhile, which keeps both busy."""
        answered = self._acknowledge(flight.batch, replies)
        reply: ClaimReply | None = None
        if flight.want is not None:
            reply = replies[-1]  # type: ignore[assignment]  # the claim went last
        if reply is not None:
            self._flood = self._flooded(reply)
            if self._flood and not self._flights:
                self._look = True
                self._launch(landed=len(reply.claims))
                for _ in range(2):  # it is begun, and what it has to say is written
                    await asyncio.sleep(0)
        if answered:
            self._on_answered(answered)
        if reply is not None:
            self._took(flight.want or 0, reply)

    def _flooded(self, reply: ClaimReply) -> bool:
        """Return whether many more runs are there, and wanted, than a claim has brought."""
        if not (reply.more and self.claiming) or self._reconcile or self._accounts.moved:
            return False
        return self._wanted(len(reply.claims)) >= FLOOD

    async def _send(
        self, calls: list[Call[object]], *, claiming: bool, harmless: list[Call[object]]
    ) -> list[object]:
        """Send; what rings meanwhile came after the claim, and must be looked at again.

        A refused ``harmless`` call (a full store takes no output, but settles and claims) must
        not cost the answers of the others.
        """
        rung = self._rung
        if claiming:
            self._rung = self._look = False
        try:
            replies = await self._store.try_many(calls)
            for call, reply in zip(calls, replies, strict=True):
                if isinstance(reply, JobctlError):
                    if call not in harmless:
                        raise reply
                    log.debug("output was not shipped: %s", reply)
        except JobctlError:
            self._rung |= rung
            raise
        return replies

    def _claim(self, want: int) -> Call[ClaimReply]:
        return transitions.claim(
            self._keys,
            supervisor=self._supervisor,
            owner=self._owner,
            want=want,
            queues=self.queues,
            low_first=self._claims % LOW_FIRST_EVERY == 0,
        )

    def _took(self, want: int, reply: ClaimReply) -> None:
        if reply.fenced:
            self.holds.add(Hold.FENCED)
            self._on_fenced()
            return
        self._on_claims(reply)
        self._look |= reply.more or len(reply.claims) >= want > 0
        if self._look and self._ledger.wanted(idle=self._idle()) > 0:
            self._wake.set()
        elif not self._look and not self._flights.claiming:
            self._hungry.set()

    def _acknowledge(self, batch: Batch, replies: list[object]) -> list[tuple[Settlement, str]]:
        """Forget what was answered, and act on what is not ours any more.

        Returns what is to be said of settlements, see ``on_answered``.
        """
        marked, settled = batch.answers(replies)
        now = SYSTEM_CLOCK.monotonic()
        answered: list[tuple[Settlement, str]] = []
        taken: list[Settlement] = []
        for mark, answer in zip(batch.marks.values(), marked, strict=True):
            if answer == "stale":
                self._on_stale(mark[0], mark[1])
            elif answer == "gone":
                # Nobody else has it, so it goes on; its end tells what became of it.
                log.error("run %s runs here, and the store does not know it any more", mark[0])
        for item, answer in zip(batch.settlements.values(), settled, strict=True):
            letter = item.letter if answer == "already" else answer
            resent, final = item.id in self._replayed, letter in FINAL_LETTERS
            # Of what a dead pool had sent, too, its start was counted then.
            if final or not resent or answer == item.letter:
                answered.append((item, letter if final else ""))
            if resent:
                self._replayed.discard(item.id)
            elif answer == "gone":
                self._on_gone(item)
            elif answer == "stale":
                # Should the store only have lost the claim, the run comes back, and this with it.
                taken.append(item)
                log.error(
                    "run %s: it was taken over while we ran epoch %d; our outcome (%s) is discarded",
                    item.id, item.epoch, LETTERS[item.letter].value,
                )  # fmt: skip
            else:
                taken.append(item)
        self._ledger.acknowledged(taken, now=now)
        self._outbox.forget(batch)
        self._acknowledged.set()
        return answered
