"""Random programmes of supervisors, submitters, schedules and faults; what holds is in oracle."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from jobctl.model.run import FINAL_LETTERS
from jobctl.store import queries, settling, transitions
from jobctl.store.settling import Settlement
from tests.fuzz.cast import JOBS, KEPT, LIMITS, QUEUES, Held, Supervisor
from tests.fuzz.noise import Noise
from tests.fuzz.telling import Telling
from tests.fuzz.timing import Timing
from tests.store.store_world import new_run

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 250
PATIENCE = 20.0
"""Seconds in which every run must have ended once no more faults are made."""


class Programme(Noise, Timing, Telling):
    """One seed's worth of random operations."""

    def submit(self) -> None:
        rnd = self.random
        runs = []
        for _ in range(rnd.choice((1, 1, 1, 5))):
            job = rnd.choice(sorted(JOBS))
            options: dict[str, Any] = {"queue": rnd.choice(QUEUES), **JOBS[job]}
            options |= {"priority": rnd.choice((0, 5, 5, 9)), "max_attempts": rnd.choice((1, 2, 4))}
            if rnd.random() < 0.2:
                options["start_in"] = rnd.choice((0.001, 0.01, 0.05))
            if rnd.random() < 0.1:
                options["expires_in"] = rnd.choice((0.001, 0.02, 5.0))
            if rnd.random() < 0.2:
                options["unique"] = rnd.choice("ab")
            runs.append(new_run(job=job, **options))
        self.ids += [run.request.id for run in runs]
        self.send(transitions.submit(self.keys, runs))

    def claim(self) -> None:
        """A supervisor looks for work because it was woken, or just so."""
        sup = self.random.choice(self.alive)
        queues = self.random.sample(QUEUES, k=self.random.choice((1, 2, 3)))
        woken = self.random.random() < 0.7
        if woken:
            self.world.raw("LPOP", self.keys.bell(queues[0])) if not self.oracle.foreign else None
        while True:
            call = transitions.claim(
                self.keys,
                supervisor=sup.sid,
                owner=sup.owner,
                want=self.random.choice((1, 2, 8)),
                queues=queues,
                low_first=self.random.random() < 0.1,
            )
            reply = self.send(call)
            for claim in reply.claims if reply is not None else ():
                sup.held[claim.id] = Held(claim.epoch, claim.attempt + 1)
            # Whoever took a token goes on until it was answered.
            if not woken or reply is not None or self.oracle.foreign:
                return

    def start(self) -> None:
        for sup, run_id, held in self.some_held():
            mark = (run_id, held.epoch, held.attempt, 1.7e9, 1)
            answers = self.send(transitions.start(self.keys, owner=sup.owner, marks=[mark]))
            held.started = True
            if answers in (("stale",), ("gone",)):
                del sup.held[run_id]

    def note(self) -> None:
        for sup, run_id, held in self.some_held():
            words = [(run_id, held.epoch, '{"percent":5}')]
            self.send(transitions.note(self.keys, owner=sup.owner, items=words))

    def settle(self) -> None:
        for sup, run_id, held in self.some_held():
            letter = self.random.choice("kkkxsd")
            delay = self.random.choice((0.0, 0.001, 0.02))
            fields = ("at", str(held.attempt), "du", "1")
            self.settle_one(sup, Settlement(run_id, held.epoch, letter, "exit", delay, fields))

    def settle_one(self, sup: Supervisor, item: Settlement) -> None:
        call = settling.settle(self.keys, owner=sup.owner, items=[item])
        answers = self.send(call)
        if answers is None:
            # Nobody knows: sent again until answered.
            answers = self.carry_out(call)
        del sup.held[item.id]
        assert answers[0] in ("stale", "already", "gone", *"kxvsd")

    def release(self) -> None:
        for sup, run_id, held in self.some_held():
            if not held.started:
                item = (run_id, held.epoch)
                self.send(transitions.release(self.keys, owner=sup.owner, items=[item]))
                del sup.held[run_id]

    def revoke(self) -> None:
        if self.ids:
            ids = self.random.sample(self.ids, k=min(len(self.ids), 3))
            self.send(transitions.revoke(self.keys, ids))

    def promote(self) -> None:
        if "due" not in self.oracle.foreign:
            self.world.raw("LPOP", self.keys.bell("@due"))
        self.insist(transitions.promote(self.keys))

    def resize(self) -> None:
        sizes = {"l:db": str(self.random.choice((2, 3))), "l:wide": str(self.random.choice((1, 4)))}
        self.oracle.lowered |= {"l:db", "l:wide"}
        self.send(transitions.set_limits(self.keys, sizes))

    def go(self) -> None:
        actions: list[tuple[Callable[[], None], int]] = [
            (self.submit, 20), (self.claim, 25), (self.start, 15), (self.settle, 20),
            (self.release, 4), (self.revoke, 4), (self.note, 3), (self.promote, 6), (self.crash, 1),
            (self.pool_death, 1), (self.reconcile, 3), (self.replay, 10), (self.resize, 1),
            (self.beat, 5), (self.deliver, 6), (self.depart, 1), (self.tick, 8), (self.boot, 2), (self.reload, 1),
            (self.switch, 2), (self.skip, 1), (self.change_live, 1),
            (self.spoil, 2), (self.mend, 4), (self.litter, 2),
        ]  # fmt: skip
        names, weights = zip(*actions, strict=True)
        for step in range(STEPS):
            self.random.choices(names, weights)[0]()
            if step % 5 == 0:
                self.oracle.bells()
            if step % 10 == 0:
                self.oracle.look(self.ids)
        self.finish()

    def finish(self) -> None:
        """Let everything end; then nothing may be left."""
        self.mend_all()
        for zombie in self.zombies:
            for run_id, held in list(zombie.held.items()):
                self.settle_one(zombie, Settlement(run_id, held.epoch, "k", "", 0.0, ("du", "1")))
        while self.late:
            self.replay()
        self.oracle.look(self.ids)
        deadline = time.monotonic() + PATIENCE
        while any((self.world.state(run_id) or "k") not in FINAL_LETTERS for run_id in self.ids):
            assert time.monotonic() < deadline, "some runs never end"
            self.reconcile()
            for sup in self.alive:
                for run_id, held in list(sup.held.items()):
                    self.settle_one(sup, Settlement(run_id, held.epoch, "k", "", 0.0, ("du", "1")))
                reply = self.world.take(50, sid=sup.sid, queues=QUEUES)
                for claim in reply.claims:
                    sup.held[claim.id] = Held(claim.epoch, claim.attempt + 1)
        self.hear_everything()
        self.deliver_all()
        self.no_traces()

    def no_traces(self) -> None:
        """Nobody holds, owns or waits for anything, and the counts are right."""
        for sup in self.alive:
            assert not self.world.run(queries.owned(self.keys, sup.owner))
        self.oracle.look(self.ids)
        bad = {item.decode() for item in self.world.raw("LRANGE", self.keys.prefix + "bad", 0, -1)}
        ours = [self.world.record(run_id) for run_id in bad - self.strays]
        assert not ours, ("set aside", ours)
        for limit in (*LIMITS, "o:latest", "o:every", "o:newest"):
            assert self.world.run(queries.holders(self.keys, limit)) == []
        for name, most in KEPT.items():
            assert self.world.raw("LLEN", self.keys.prefix + name) <= most
        count = self.world.counters()
        if not self.counts_lost:
            assert count["submitted"] == self.oracle.accepted
            assert sum(count.get(letter, 0) for letter in FINAL_LETTERS) == self.oracle.accepted
