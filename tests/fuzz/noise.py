"""What others write into the store: keys of foreign types, random bytes, runs that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.cast import JOBS, LIMITS, QUEUES
from tests.fuzz.crews import Crews

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore

FOREIGN = {"u": b"list", "rl": b"list"}
"""What is foreign to a family; a string to all others."""
AT_ONCE = 2
"""Foreign keys that are there at the same time."""


class Noise(Crews):
    def __init__(self, store: BlockingStore, seed: int) -> None:
        super().__init__(store, seed)
        self.strays = self.oracle.strays

    def _names(self) -> list[str]:
        queues = [f"q:{queue}:{p}" for queue in QUEUES for p in (0, 5, 9)]
        limits = [f"{family}:{limit}" for family in ("c", "pk") for limit in LIMITS]
        # No history: a run that ends meanwhile would be in none for ever.
        jobs = [f"live:{job}" for job in JOBS]
        owners = [f"own:{sup.owner}" for sup in self.alive]
        rest = ["latest", "bad", "u:a", "u:b", "rl:t:fast", *(f"b:{queue}" for queue in QUEUES)]
        return [*queues, *limits, *jobs, *owners, *rest]

    def spoil(self) -> None:
        """A key of a foreign type comes where there is none: nothing of ours is destroyed by it."""
        name = self.random.choice(self._names())
        key = self.keys.prefix + name
        if len(self.oracle.foreign) >= AT_ONCE or self.world.raw("EXISTS", key):
            return
        if name.partition(":")[0] in FOREIGN:
            self.world.raw("RPUSH", key, "?")
        else:
            self.world.raw("SET", key, self.random.randbytes(8).hex())
        self.oracle.foreign.add(name)

    def mend(self) -> None:
        """Somebody takes such a key away; whoever waits for it need not wait out the minute."""
        if self.oracle.foreign:
            name = self.random.choice(sorted(self.oracle.foreign))
            self.oracle.foreign.discard(name)
            key = self.keys.prefix + name
            if self.world.raw("TYPE", key) == FOREIGN.get(name.partition(":")[0], b"string"):
                self.world.raw("DEL", key)
            for member in self.world.raw("ZRANGE", self.keys.due, 0, -1):
                if not member.startswith(b"^"):
                    self.world.raw("ZADD", self.keys.due, "XX", 1, member)
            if name.startswith("b:") and not self.world.raw("EXISTS", key):
                self.world.raw("RPUSH", key, 1)
            self.promote()

    def mend_all(self) -> None:
        while self.oracle.foreign:
            self.mend()

    def litter(self) -> None:
        """Random bytes in lists and in the timetable, and records of nonsense."""
        rnd = self.random
        stray = rnd.randbytes(rnd.choice((1, 16))).hex()
        if rnd.random() < 0.5:
            fields = [rnd.choice(("s", "j", "q", "p", "ep", "lm", "xp")) for _ in range(4)]
            words = [word for name in fields for word in (name, rnd.choice("qdcx05"))]
            self.world.raw("HSET", self.keys.run(stray), *words)
            self.world.raw("EXPIRE", self.keys.run(stray), 1000)
        self.strays.add(stray)
        where = rnd.choice((f"q:default:{rnd.choice((0, 5))}", "pk:l:db", "pk:l:net", "due"))
        if where in self.oracle.foreign:
            return
        if where == "due":
            self.world.raw("ZADD", self.keys.due, 1, stray)
            self.promote()
        else:
            self.world.raw("LPUSH", self.keys.prefix + where, stray)
            if where.startswith("q"):
                self.world.raw("DEL", self.keys.bell("default"))
                self.world.raw("RPUSH", self.keys.bell("default"), 1)
            else:
                self.world.raw("ZADD", self.keys.due, 1, f"!{where[3:]}")
                self.promote()
