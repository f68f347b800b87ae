"""Supervisors: they come, beat, crash, seem to crash, lose a pool and leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store import membership, queries
from tests.fuzz.cast import Held, Supervisor
from tests.fuzz.wire import Wire

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore


class Crews(Wire):
    def __init__(self, store: BlockingStore, seed: int) -> None:
        super().__init__(store, seed)
        self.generation = 0
        self.ids: list[str] = []
        self.zombies: list[Supervisor] = []
        self.alive = [self.newcomer() for _ in range(3)]

    def newcomer(self) -> Supervisor:
        self.generation += 1
        sup = Supervisor(f"h{self.generation}~{self.generation}")
        facts = {"host": sup.sid}
        self.insist(membership.register(self.keys, supervisor=sup.sid, facts=facts))
        self.add_pool(sup)
        return sup

    def add_pool(self, sup: Supervisor) -> None:
        self.insist(membership.add_pool(self.keys, supervisor=sup.sid, owner=sup.owner))

    def some_held(self) -> list[tuple[Supervisor, str, Held]]:
        pairs = [
            (sup, run_id, held)
            for sup in [*self.alive, *self.zombies]
            for run_id, held in sup.held.items()
        ]
        return self.random.sample(pairs, k=min(len(pairs), self.random.choice((1, 3))))

    def beat(self) -> None:
        """Dead ones beat too, when they only seemed to be dead."""
        sup = self.random.choice([*self.alive, *self.zombies])
        self.world.raw("LPOP", self.keys.bell(f"@{sup.sid}"))
        call = membership.beat(
            self.keys, supervisor=sup.sid, load="{}", owners=[sup.owner], heard=sup.heard
        )
        reply = self.insist(call)
        if reply is None:
            return
        assert reply.fenced == (sup not in self.alive), "a beat was not told whether it counts"
        if not reply.fenced:
            sup.heard = max(sup.heard, reply.beat)
            sup.messages |= set(reply.messages)

    def crash(self) -> None:
        """A supervisor dies, or only seems to: then it goes on with what it holds."""
        index = self.random.randrange(3)
        victim = self.alive[index]
        self.alive[index] = self.newcomer()
        if self.random.random() < 0.5:
            self.zombies.append(victim)
        else:
            victim.held.clear()
        facts = self.world.run(queries.supervisor(self.keys, victim.sid))
        self.not_dead_yet(victim.sid, int(facts["beat"]))
        seen = self.random.choice(("", facts["beat"]))
        while True:
            call = membership.rescue(self.keys, supervisor=victim.sid, seen_beat=seen)
            reply = self.carry_out(call)
            if self.random.random() < 0.3:
                self.keep(call)
            assert reply.fenced
            if not reply.left:
                return

    def not_dead_yet(self, sid: str, beat: int) -> None:
        """Whoever saw only an earlier beat must not declare it lost."""
        call = membership.rescue(self.keys, supervisor=sid, seen_beat=str(beat - 1))
        assert not self.carry_out(call).fenced

    def pool_death(self) -> None:
        sup = self.random.choice(self.alive)
        sup.held.clear()
        call = membership.rescue(self.keys, supervisor=sup.sid, owner=sup.owner)
        while self.carry_out(call).left:
            pass
        self.add_pool(sup)

    def depart(self) -> None:
        """A supervisor leaves in order; it may only with empty hands."""
        index = self.random.randrange(3)
        sup = self.alive[index]
        if f"own:{sup.owner}" in self.oracle.foreign:
            return
        owned = len(self.world.run(queries.owned(self.keys, sup.owner)))
        left = self.carry_out(membership.leave(self.keys, supervisor=sup.sid))
        assert left == owned
        if not left:
            assert not self.world.raw("EXISTS", self.keys.supervisor(sup.sid))
            sup.held.clear()
            self.alive[index] = self.newcomer()

    def reconcile(self) -> None:
        """Every beat: claims whose answer was lost are given back."""
        for sup in self.alive:
            if f"own:{sup.owner}" in self.oracle.foreign:
                continue
            for run_id in self.world.run(queries.owned(self.keys, sup.owner)):
                if run_id not in sup.held:
                    run = self.world.run(queries.run(self.keys, run_id))
                    assert run is not None
                    sup.held[run_id] = Held(run.epoch, run.attempt + 1, started=run.letter == "r")

    def hear_everything(self) -> None:
        """Every message reached the supervisor it was for, though answers were lost."""
        for sup in self.alive:
            for _ in range(4):
                call = membership.beat(
                    self.keys, supervisor=sup.sid, load="{}", owners=[], heard=sup.heard
                )
                reply = self.carry_out(call)
                sup.heard = reply.beat
                sup.messages |= set(reply.messages)
            missed = self.oracle.orders.get(sup.sid, set()) - {
                message.split()[1] for message in sup.messages if message.startswith("revoke ")
            }
            assert not missed, (sup.sid, "was never told to stop", missed)
            assert not reply.messages
