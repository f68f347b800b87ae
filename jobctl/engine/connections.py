"""A supervisor's connections to its store, and the private server behind them if it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.store.aio import AsyncStore
from jobctl.store.watch import watch_group

if TYPE_CHECKING:
    from jobctl.engine.loops import Tasks
    from jobctl.engine.readiness import Patience
    from jobctl.store.address import Address
    from jobctl.store.embedded import EmbeddedStore


class Connections:
    """One for calls, and one that waits for bells; ``embedded`` is the private store."""

    def __init__(self, address: Address, embedded: EmbeddedStore | None) -> None:
        self._address = address
        self._embedded = embedded
        self.store = AsyncStore(address, name="jobctl-supervisor")
        self.ears = AsyncStore(address, name="jobctl-supervisor-ears")

    @property
    def private(self) -> bool:
        """Whether nobody else uses the store."""
        return self._embedded is not None

    @property
    def children(self) -> set[int]:
        """Processes that are waited for here."""
        return set() if self._embedded is None else {self._embedded.pid}

    async def open(self, patience: Patience, tasks: Tasks) -> None:
        """Start the private store, and wait until the store is ready; ``tasks`` watch both."""
        if self._embedded is not None:
            await self._embedded.start()
            tasks.add(self._embedded.watch())
        if self._address.group:
            tasks.add(watch_group(self.store, self.ears))
        await patience.wait_ready(shared=not self.private)

    async def close(self, *, leaves: bool) -> None:
        """Close them, and stop the private store unless that ``leaves`` it to the next supervisor."""
        await self.store.close()
        await self.ears.close()
        if self._embedded is not None and not leaves:
            await self._embedded.stop()
