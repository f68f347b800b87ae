"""Finding the server in charge of a group with asyncio, and noticing that it is another one.

A primary that was cut off from its sentinels goes on accepting what nobody will keep. The watch
asks the members again and again, so that a process that reaches them does not write there for
longer than about :data:`EVERY` seconds after another server took over. A process that is cut off
together with the old primary cannot notice; ``min-replicas-to-write`` ends that.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from jobctl.errors import JobctlError
from jobctl.store import groups
from jobctl.store.connection import open_connection
from jobctl.store.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.store.address import Address
    from jobctl.store.aio import AsyncStore
    from jobctl.store.group_address import GroupAddress, Place

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two looks."""
PATIENCE = 1.0
"""Seconds for the members to answer."""


class AsyncFinder:
    """Asks all members of a group at once, and remembers those of a cluster not named."""

    def __init__(self, address: GroupAddress) -> None:
        self._address = address
        self._learned: tuple[Place, ...] = ()

    async def find(self) -> Address:
        """Return where the server in charge is; raises a branch of JobctlError."""
        address = self._address
        members = dict.fromkeys((*address.servers, *self._learned))
        asking = {asyncio.create_task(self._ask(place)) for place in members}
        views: list[groups.View] = []
        errors: list[JobctlError] = []
        deadline = asyncio.get_running_loop().time() + PATIENCE
        try:
            while asking and not groups.enough(address, len(views)):
                left = deadline - asyncio.get_running_loop().time()
                done, asking = await asyncio.wait(
                    asking, timeout=max(left, 0.0), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                for task in done:
                    _sort(task, views, errors)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        chosen = groups.choose(views)
        if chosen is None:
            raise groups.nobody(address, errors)
        self._learned = chosen.others
        return address.at(chosen.place)

    async def _ask(self, place: Place) -> groups.View | None:
        address = self._address
        connection = await open_connection(
            address.question_at(place), connect_timeout=PATIENCE, patience=PATIENCE, name=""
        )
        try:
            waiting = [connection.send(pack(call.parts), 0.0) for call in groups.questions(address)]
            return groups.view(address, [await reply for reply in waiting], place)
        finally:
            connection.drop("the question was answered")


async def watch_group(*stores: AsyncStore) -> None:
    """Keep ``stores``, which have one address, on the server in charge; cancel it to end."""
    address: GroupAddress = stores[0].address  # type: ignore[assignment]  # only for groups
    await Watch(address, stores).run()


class Watch:
    """Looks after the connections of one process to a group.

    Begins with the first look; :meth:`run` ends only by being cancelled.
    """

    def __init__(self, address: GroupAddress, stores: Iterable[AsyncStore]) -> None:
        self._address = address
        self._stores = tuple(stores)
        self._finder = AsyncFinder(address)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))  # noqa: S311  # spreads load
            await self.look()

    async def look(self) -> None:
        """Let go of connections that lead to a server that is no longer in charge."""
        try:
            server = await self._finder.find()
            wrong = [one for one in self._stores if one.connected and one.server != server]
            if not wrong:
                return
            # One that does not know yet that it is in charge would only refuse.
            await _confirm(server)
        except JobctlError:
            return  # whoever needs the store meets the same trouble, and tells
        log.warning("the store at %s is served by %s now", self._address, server)
        for store in wrong:
            # What is under way there may be lost with that server: its fate is unknown indeed.
            store.drop()


async def _confirm(server: Address) -> None:
    """Raise JobctlError unless ``server`` calls itself the primary."""
    connection = await open_connection(
        server, connect_timeout=PATIENCE, patience=PATIENCE, name="", primary=True
    )
    connection.drop("the question was answered")


def _sort(
    task: asyncio.Task[groups.View | None], views: list[groups.View], errors: list[JobctlError]
) -> None:
    try:
        found = task.result()
    except JobctlError as error:
        errors.append(error)
    else:
        if found is not None:
            views.append(found)
