"""Postmen: they take notices, deliver some, die with others, and hear late of what they said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.model.notices import parse_notice
from jobctl.model.run import FINAL_LETTERS
from jobctl.store import outbox
from tests.fuzz.crews import Crews

if TYPE_CHECKING:
    from jobctl.model.notices import Notice
    from jobctl.store.blocking import BlockingStore
    from tests.fuzz.cast import Supervisor


class Telling(Crews):
    def __init__(self, store: BlockingStore, seed: int) -> None:
        super().__init__(store, seed)
        self.heard: dict[int, Notice] = {}
        """Every notice that reached somebody, by its number."""

    def deliver(self) -> None:
        """A postman looks, dead ones too when they only seemed to be dead."""
        self.deliver_of(self.random.choice([*self.alive, *self.zombies]))

    def deliver_of(self, sup: Supervisor) -> int:
        """Return how many notices it was told of."""
        call = outbox.outbox(
            self.keys,
            supervisor=sup.sid,
            take=self.random.choice((0, 1, 50)),
            tell=50,
            delivered=sup.delivered,
        )
        reply = self.send(call)
        if reply is None:
            return 0
        assert reply.fenced == (sup not in self.alive), "a postman was not told whether it counts"
        sup.delivered = []
        for raw in reply.notices:
            notice = parse_notice(raw)
            assert self.heard.setdefault(notice.number, notice) == notice, "two share a number"
            if self.random.random() < 0.7:
                sup.delivered.append(raw)
        return len(reply.notices)

    def deliver_all(self) -> None:
        """Whoever is alive delivers all there is; then each end was told once, and rightly."""
        while self.world.raw("KEYS", self.keys.prefix + "out*"):
            for sup in self.alive:
                self.deliver_of(sup)
        ends: dict[str, str] = {}
        for notice in self.heard.values():
            if notice.event in FINAL_LETTERS:
                assert notice.run not in ends, (notice, "its end was told twice")
                ends[notice.run] = notice.event
        for run_id in self.ids:
            if self.world.record(run_id).get("j") == "told":
                assert ends.get(run_id) == self.world.state(run_id), (
                    run_id,
                    "was not told rightly",
                )
