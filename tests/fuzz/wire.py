"""The way between callers and the store: answers get lost, calls come twice, late or never."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from jobctl.store.failures import StoreError
from tests.fuzz.cast import LIMITS, RATES
from tests.fuzz.oracle import Grants, Oracle
from tests.store.store_world import World

if TYPE_CHECKING:
    from jobctl.store.blocking import BlockingStore
    from jobctl.store.calls import Call

REFUSED = ("submit", "claim", "tick", "boot", "limits", "switch", "skip", "overlay")
"""Scripts that may raise while there is such a key: they can be called again later."""
ONCE = ("claim",)
"""Scripts whose answer cannot be had by calling again."""
TOO_LATE = ("limits", "schedule", "pool", "register")
"""Scripts that say what is so now: a late copy of them would say what was."""


class Wire:
    """Carries calls out; every answer goes by the oracle first."""

    def __init__(self, store: BlockingStore, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(store, f"fuzz{seed % 7}")
        self.world.raw("FLUSHALL")
        self.world = World(store, f"fuzz{seed % 7}")
        self.keys = self.world.keys
        self.world.limits(**{name.replace(":", "_"): size for name, size in LIMITS.items()})
        self.oracle = Oracle(self.world, {name: Grants(*rate) for name, rate in RATES.items()})
        self.late: list[Call[Any]] = []
        self.counts_lost = False
        """True once a script that had counted was refused by a key of a foreign type."""

    def send(self, call: Call[Any]) -> Any:
        """Carry a call out; None when the answer was lost or the call has not arrived (yet)."""
        luck = self.random.random()
        if luck < 0.05:
            # It arrives when nobody waits for its answer any more.
            self.keep(call)
            return None
        reply = self.carry_out(call)
        if luck < 0.10 and call.script not in ONCE:
            reply = self.carry_out(call)
        if luck > 0.90:
            self.keep(call)
        return None if 0.10 < luck < 0.15 else reply

    def insist(self, call: Call[Any]) -> Any:
        """Send a call until it is answered, as whoever must know does."""
        while True:
            reply = self.send(call)
            if reply is not None or (self.oracle.foreign and call.script in REFUSED):
                return reply

    def keep(self, call: Call[Any]) -> None:
        # A run that is forgotten, because few are kept, would be accepted anew: not so soon.
        if call.script not in TOO_LATE and "short" not in call.parts:
            self.late.append(call)

    def replay(self) -> None:
        """A copy of some earlier call arrives."""
        if self.late:
            self.carry_out(self.late.pop(self.random.randrange(len(self.late))))

    def carry_out(self, call: Call[Any]) -> Any:
        try:
            return self.oracle.run(call)
        except StoreError as error:
            if self.oracle.foreign and call.script in REFUSED and "WRONGTYPE" in str(error):
                self.counts_lost = True
                return None
            error.add_note(f"{call.script} {call.parts}, foreign: {self.oracle.foreign}")
            raise
