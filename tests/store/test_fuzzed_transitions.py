"""Random programmes of supervisors, submitters and faults; afterwards the store must be consistent.

``JOBCTL_FUZZ_SECONDS`` is how long to go on (5), ``JOBCTL_FUZZ_SEED`` the first seed (random).
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from store_world import World, new_run

from jobctl.model.run import FINAL_LETTERS
from jobctl.store import membership, queries, transitions
from jobctl.store.transitions import Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.store.blocking import BlockingStore
    from jobctl.store.calls import Call

SECONDS = float(os.environ.get("JOBCTL_FUZZ_SECONDS", "5"))
STEPS = 250
QUEUES = ("default", "night", "bulk")
LIMITS = {"l:db": 2, "l:net": 1, "j:one": 1, "q:bulk": 3, "t:fast": "3:40"}
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one": {"limits": "j:one"},
    "two": {"limits": "l:db l:net"},
    "bulk": {"limits": "q:bulk l:db", "queue": "bulk"},
    "fast": {"limits": "t:fast l:db"},
    "skip": {"overlap": "s"},
    "latest": {"overlap": "l", "limits": "o:latest"},
    "every": {"overlap": "a", "limits": "o:every"},
    "newest": {"overlap": "r", "limits": "o:newest l:net"},
    "once": {"on_lost": "f"},
}


@dataclass
class Held:
    """What a supervisor believes to hold."""

    epoch: int
    attempt: int
    started: bool = False


@dataclass
class Supervisor:
    sid: str
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return f"{self.sid}/p.1"


class Programme:
    """One seed's worth of random operations."""

    def __init__(self, store: BlockingStore, seed: int) -> None:
        self.random = random.Random(seed)
        store.run(transitions.Call(("FLUSHALL",), lambda reply: reply))
        self.world = World(store, f"fuzz{seed % 7}")
        self.world.limits(**{name.replace(":", "_"): size for name, size in LIMITS.items()})
        self.generation = 0
        self.ids: list[str] = []
        self.late: list[Call[Any]] = []
        self.settled: set[tuple[str, int]] = set()
        """(id, epoch) of every settlement that was accepted."""
        self.zombies: list[Supervisor] = []
        self.alive = [self.newcomer() for _ in range(3)]

    def newcomer(self) -> Supervisor:
        self.generation += 1
        sid = f"h{self.generation}~{self.generation}"
        sup = Supervisor(sid)
        self.send(membership.register(self.world.keys, supervisor=sid, facts={"host": sid}))
        self.send(membership.add_pool(self.world.keys, supervisor=sid, owner=sup.owner))
        return sup

    def send(self, call: Call[Any]) -> Any:
        """Carry a call out; its answer may be lost, it may come twice, or once more much later."""
        luck = self.random.random()
        if call.script == "claim" and luck < 0.05:
            # It arrives when nobody waits for its answer any more.
            self.late.append(call)
            return None
        reply = self.carry_out(call)
        if luck < 0.05 and call.script != "claim":
            reply = self.carry_out(call)
        if luck > 0.9 and call.script != "claim":
            self.late.append(call)
        return None if 0.05 < luck < 0.10 else reply

    def carry_out(self, call: Call[Any]) -> Any:
        """Whatever an owner says counts only while it holds that very claim."""
        if call.script not in ("settle", "start", "release"):
            return self.world.run(call)
        _, owner, run_id, epoch = call.parts[:4]
        before = self.world.record(run_id)
        reply = self.world.run(call)
        claim = (before.get("o"), before.get("ep"), before.get("s"))
        open_states = "c" if call.script == "release" else "cr"
        holds = claim[:2] == (owner, str(epoch)) and claim[2] in open_states
        assert (reply[0] in ("stale", "already")) == (not holds), (call, reply, before)
        if call.script == "settle" and holds:
            self.settled.add((run_id, epoch))
        assert reply[0] != "already" or (run_id, epoch) in self.settled, (call, before)
        return reply

    # What happens

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
        self.send(transitions.submit(self.world.keys, runs))
        self.ids += [run.request.id for run in runs]

    def claim(self) -> None:
        sup = self.random.choice(self.alive)
        queues = self.random.sample(QUEUES, k=self.random.choice((1, 2, 3)))
        call = transitions.claim(
            self.world.keys,
            supervisor=sup.sid,
            owner=sup.owner,
            want=self.random.choice((1, 2, 8)),
            queues=queues,
            low_first=self.random.random() < 0.1,
        )
        reply = self.send(call)
        for claim in reply.claims if reply is not None else ():
            sup.held[claim.id] = Held(claim.epoch, claim.attempt + 1)

    def start(self) -> None:
        for sup, run_id, held in self.some_held():
            mark = (run_id, held.epoch, held.attempt, 1.7e9, 1)
            answers = self.send(transitions.start(self.world.keys, owner=sup.owner, marks=[mark]))
            held.started = True
            if answers == ("stale",):
                del sup.held[run_id]

    def settle(self) -> None:
        for sup, run_id, held in self.some_held():
            letter = self.random.choice("kkkxsd")
            delay = self.random.choice((0.0, 0.001, 0.02))
            fields = ("at", str(held.attempt), "du", "1")
            item = Settlement(run_id, held.epoch, letter, "exit", delay, fields)
            self.settle_one(sup, item)

    def settle_one(self, sup: Supervisor, item: Settlement) -> None:
        call = transitions.settle(self.world.keys, owner=sup.owner, items=[item])
        answers = self.send(call)
        if answers is None:
            # Nobody knows: sent again until answered.
            answers = self.carry_out(call)
        del sup.held[item.id]
        assert answers[0] in ("stale", "already", "k", "x", "v", "s", "d")

    def release(self) -> None:
        for sup, run_id, held in self.some_held():
            if not held.started:
                call = transitions.release(
                    self.world.keys, owner=sup.owner, items=[(run_id, held.epoch)]
                )
                self.send(call)
                del sup.held[run_id]

    def some_held(self) -> list[tuple[Supervisor, str, Held]]:
        pairs = [
            (sup, run_id, held)
            for sup in [*self.alive, *self.zombies]
            for run_id, held in sup.held.items()
        ]
        return self.random.sample(pairs, k=min(len(pairs), self.random.choice((1, 3))))

    def revoke(self) -> None:
        if self.ids:
            ids = self.random.sample(self.ids, k=min(len(self.ids), 3))
            self.send(transitions.revoke(self.world.keys, ids))

    def promote(self) -> None:
        self.send(transitions.promote(self.world.keys))

    def crash(self) -> None:
        """A supervisor dies, or only seems to: then it goes on with what it holds."""
        index = self.random.randrange(3)
        victim = self.alive[index]
        self.alive[index] = self.newcomer()
        if self.random.random() < 0.5:
            self.zombies.append(victim)
        else:
            victim.held.clear()
        facts = self.world.run(queries.supervisor(self.world.keys, victim.sid))
        seen = self.random.choice(("", facts["beat"]))
        while True:
            call = membership.rescue(self.world.keys, supervisor=victim.sid, seen_beat=seen)
            reply = self.send(call)
            if reply is not None and not reply.left:
                return

    def pool_death(self) -> None:
        sup = self.random.choice(self.alive)
        sup.held.clear()
        call = membership.rescue(self.world.keys, supervisor=sup.sid, owner=sup.owner)
        self.send(call)
        self.send(membership.add_pool(self.world.keys, supervisor=sup.sid, owner=sup.owner))

    def reconcile(self) -> None:
        """Every beat: claims whose answer was lost are given back."""
        for sup in self.alive:
            for run_id in self.world.run(queries.owned(self.world.keys, sup.owner)):
                if run_id not in sup.held:
                    run = self.world.run(queries.run(self.world.keys, run_id))
                    assert run is not None
                    sup.held[run_id] = Held(run.epoch, run.attempt + 1, started=run.letter == "r")

    def resize(self) -> None:
        self.send(
            transitions.set_limits(
                self.world.keys, {"l:db": str(self.random.choice((2, 3))), "q:bulk": "3"}
            )
        )
        # A lowered limit may have too many holders for a while, which is no fault; not here.
        self.world.limits(l_db=3)

    def replay(self) -> None:
        if self.late:
            call = self.late.pop(self.random.randrange(len(self.late)))
            if call.script != "limits":
                self.carry_out(call)

    def go(self) -> None:
        actions: list[tuple[Callable[[], None], int]] = [
            (self.submit, 20), (self.claim, 25), (self.start, 15), (self.settle, 20),
            (self.release, 4), (self.revoke, 4), (self.promote, 6), (self.crash, 1),
            (self.pool_death, 1), (self.reconcile, 3), (self.replay, 10), (self.resize, 1),
        ]  # fmt: skip
        names, weights = zip(*actions, strict=True)
        for step in range(STEPS):
            self.random.choices(names, weights)[0]()
            if step % 10 == 0:
                self.world.check()
        self.finish()

    def finish(self) -> None:
        """Let everything end; then nothing may be left."""
        for zombie in self.zombies:
            for run_id in list(zombie.held):
                held = zombie.held[run_id]
                self.settle_one(zombie, Settlement(run_id, held.epoch, "k", "", 0.0, ("du", "1")))
        while self.late:
            self.replay()
        self.world.check()
        deadline = time.monotonic() + 20
        while any((self.world.state(run_id) or "k") not in FINAL_LETTERS for run_id in self.ids):
            assert time.monotonic() < deadline, "some runs never end"
            self.reconcile()
            for sup in self.alive:
                for run_id, held in list(sup.held.items()):
                    self.settle_one(sup, Settlement(run_id, held.epoch, "k", "", 0.0, ("du", "1")))
                reply = self.world.take(50, sid=sup.sid, queues=QUEUES)
                for claim in reply.claims:
                    sup.held[claim.id] = Held(claim.epoch, claim.attempt + 1)
        for sup in self.alive:
            assert not self.world.run(queries.owned(self.world.keys, sup.owner))
        self.world.check()
        self.no_traces()

    def no_traces(self) -> None:
        keys = self.world.keys
        assert self.world.raw("LRANGE", keys.prefix + "bad", 0, -1) == []
        for limit in (*LIMITS, "o:latest", "o:every", "o:newest"):
            assert self.world.run(queries.holders(keys, limit)) == []
            assert self.world.run(queries.parked_length(keys, limit)) == 0
        count = self.world.counters()
        accepted = [run_id for run_id in self.ids if self.world.record(run_id)]
        assert count["submitted"] == len(accepted)
        assert sum(count.get(letter, 0) for letter in FINAL_LETTERS) == len(accepted)


def test_no_programme_of_faults_breaks_an_invariant(store: BlockingStore) -> None:
    seed = int(os.environ.get("JOBCTL_FUZZ_SEED", random.randrange(10**9)))
    end = time.monotonic() + SECONDS
    while True:
        try:
            Programme(store, seed).go()
        except BaseException as error:
            error.add_note(f"JOBCTL_FUZZ_SEED={seed}")
            raise
        seed += 1
        if time.monotonic() > end:
            return
