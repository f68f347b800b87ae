"""Which pools of a supervisor serve, which only finish what they run, and which are expected to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobctl.engine.pools import PoolHandle


class Crew:
    """The pools of a fleet. Of each name one serves; any number of older ones may be leaving."""

    def __init__(self) -> None:
        self.serving: dict[str, PoolHandle] = {}
        """By name."""
        self.leaving: set[PoolHandle] = set()
        self._expected: dict[str, PoolHandle] = {}
        """By owner id: living pools of an earlier supervisor that have not called yet."""

    def all(self) -> list[PoolHandle]:
        """Return all of them, those that serve first."""
        return [*self.serving.values(), *self.leaving]

    @property
    def running(self) -> int:
        """Attempts that run now, as last reported."""
        return sum(pool.running for pool in self.all())

    @property
    def unrecorded(self) -> int:
        """Outcomes that the store has not taken yet, as last reported."""
        return sum(pool.unrecorded for pool in self.all())

    def expect(self, pool: PoolHandle) -> None:
        """Wait for a living pool to call."""
        self._expected[pool.owner] = pool
        pool.expect()

    def caller(self, owner: str) -> PoolHandle | None:
        """Return the pool that calls, ``None`` for one that nobody knows; it is not expected any more."""
        return self._expected.pop(owner, None) or next(
            (pool for pool in self.all() if pool.owner == owner), None
        )

    def retire(self, name: str) -> PoolHandle:
        """Let the pool of a name serve no more; it is to be told to leave."""
        pool = self.serving.pop(name)
        self.leaving.add(pool)
        return pool

    def reinstate(self, pool: PoolHandle) -> None:
        """Let a pool serve that was retired and has not been told yet."""
        if pool in self.leaving:
            self.leaving.discard(pool)
            self.serving[pool.name] = pool

    def succeed(self, pool: PoolHandle, successor: PoolHandle) -> None:
        """Put a successor, with the same owner id, in the place of a pool that has ended."""
        if self.serving.get(pool.name) is pool:
            self.serving[pool.name] = successor
        else:
            self.leaving.discard(pool)
            self.leaving.add(successor)

    def withdraw(self, pool: PoolHandle, before: PoolHandle | None) -> None:
        """Give its place back to the one ``before``, for the process of a pool could not be started."""
        if self.serving.get(pool.name) is not pool:
            return
        if before is None:
            del self.serving[pool.name]
        else:
            self.serving[pool.name] = before

    def ended(self, pool: PoolHandle) -> None:
        """Note that the process of a pool is gone: it will not call."""
        self._expected.pop(pool.owner, None)
        self.balance()

    def remove(self, pool: PoolHandle) -> None:
        """Count a pool no more."""
        self.leaving.discard(pool)
        if self.serving.get(pool.name) is pool:
            del self.serving[pool.name]
        self.balance()

    def balance(self) -> None:
        """Keep as many slots idle in a new pool as older ones of its name still use."""
        for name, pool in self.serving.items():
            busy = sum(old.running for old in self.leaving if old.name == name)
            if busy != pool.reserved:
                pool.reserved = busy
                pool.send({"do": "reserve", "slots": busy})
