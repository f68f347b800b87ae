"""Finding the server in charge of a group, blocking; see :mod:`jobctl.store.groups`."""

from __future__ import annotations

import random
from time import monotonic

from jobctl.errors import JobctlError
from jobctl.store import groups
from jobctl.store.blocking import BlockingStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.address import Address
    from jobctl.store.group_address import GroupAddress, Place

PATIENCE = 0.5
"""Seconds for a member to take a connection, and to answer."""
TRUSTED = 1.0
"""Seconds for which a server counts as the one in charge without asking again.

A primary that was replaced takes requests for another 8 s, until the sentinels make it a replica.
"""


class Finder:
    """Asks the members of a group, and remembers those of a cluster that were not named."""

    MAX_REDIRECTS = groups.MAX_REDIRECTS
    not_in_charge = staticmethod(groups.not_in_charge)

    def __init__(self, address: GroupAddress) -> None:
        self._address = address
        self._learned: tuple[Place, ...] = ()
        self._told: Place | None = None
        self._asked_at = 0.0

    def moved(self, reply: object, server: Address) -> bool:
        """Tell whether ``reply`` of ``server`` names another one, which is then found next."""
        place = groups.redirect(reply, (server.host, server.port))
        if place is None:
            return False
        self._told = place
        return True

    def find(self) -> Address:
        """Return where the server in charge is; raises a branch of JobctlError."""
        address = self._address
        told, self._told = self._told, None
        self._asked_at = monotonic()
        if told is not None:
            return address.at(told)
        errors: list[JobctlError] = []
        views: list[groups.View] = []
        for place in self._members():
            try:
                found = groups.view(address, self._ask(place), place)
            except JobctlError as error:
                errors.append(error)
                continue
            if found is not None:
                views.append(found)
                if groups.enough(address, len(views)):
                    break
        chosen = groups.choose(views)
        if chosen is None:
            raise groups.nobody(address, errors)
        self._learned = chosen.others
        return address.at(chosen.place)

    def replaced(self, server: Address) -> bool:
        """Tell whether another server than ``server`` is in charge, asking now and then."""
        if monotonic() - self._asked_at < TRUSTED:
            return False
        try:
            return self.find() != server
        except JobctlError:
            return False  # that nobody can be asked is no reason to leave a server that answers

    def _members(self) -> list[Place]:
        """Return whom to ask in turn: not always the same first, it may be the one that is gone."""
        members = list(self._address.servers)
        random.shuffle(members)
        return members + [place for place in self._learned if place not in members]

    def _ask(self, place: Place) -> list[object]:
        where = self._address.question_at(place)
        with BlockingStore(where, connect_timeout=PATIENCE, timeout=PATIENCE) as store:
            return list(store.try_many(groups.questions(self._address)))
