"""The slots of a pool: which are taken, and which of the others may take a new attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobctl.engine.slot import Slot


class Seats:
    """All slots of a pool, of which the first ``size`` take new attempts.

    The others only end what they began before the pool was made smaller.
    """

    def __init__(self, slots: list[Slot], *, size: int) -> None:
        self._slots = slots
        self._numbers = {slot: number for number, slot in enumerate(slots)}
        self._size = size
        self._idle = list(reversed(slots[:size]))
        self.taken: dict[str, Slot] = {}
        """By run id: the slots in which something runs."""
        self._many: set[Slot] = set()
        self.reserved = 0
        """Slots left idle: an older pool of the same name still runs as many attempts."""

    @property
    def size(self) -> int:
        """How many slots take new attempts."""
        return self._size

    def resize(self, size: int, make: Callable[[int], Slot]) -> None:
        """Let ``size`` slots take new attempts; ``make`` makes those that there never were.

        Slots beyond that end what they have, and let go of their interpreters.
        """
        while len(self._slots) < size:
            slot = make(len(self._slots))
            self._numbers[slot] = len(self._slots)
            self._slots.append(slot)
        self._size = size
        busy = {*self.taken.values(), *self._many}
        self._idle = [slot for slot in reversed(self._slots[:size]) if slot not in busy]
        for slot in self._slots[size:]:
            if slot not in busy:
                slot.python.rest()

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    @property
    def free(self) -> int:
        """How many new attempts there is room for."""
        return max(0, len(self._idle) - self.reserved)

    @property
    def idle(self) -> Sequence[Slot]:
        """The slots in which nothing runs, the :attr:`next` one at the end."""
        return self._idle

    def number(self, slot: Slot) -> int:
        """Return the place of a slot in the pool, from 0."""
        return self._numbers[slot]

    def at(self, number: int) -> Slot:
        """Return the slot at a place of the pool."""
        return self._slots[number]

    @property
    def next(self) -> Slot:
        """The slot that is taken next; there must be one free."""
        return self._idle[-1]

    def take(self, run_id: str) -> Slot:
        """Give a run one of the :attr:`free` slots."""
        slot = self.taken[run_id] = self._idle.pop()
        return slot

    def take_for_many(self) -> Slot:
        """Give a bundle one of the :attr:`free` slots, until :meth:`give_up`."""
        slot = self._idle.pop()
        self._many.add(slot)
        return slot

    def give_up(self, slot: Slot) -> None:
        """Note that a bundle has ended."""
        self._many.discard(slot)
        self._put_back(slot)

    def take_back(self, run_id: str, number: int) -> Slot:
        """Give a run the very slot it had in an earlier process of the pool."""
        slot = self.taken[run_id] = self._slots[number]
        if slot in self._idle:
            self._idle.remove(slot)
        return slot

    def leave(self, run_id: str) -> None:
        """Note that a run has ended."""
        self._put_back(self.taken.pop(run_id))

    def _put_back(self, slot: Slot) -> None:
        if self._numbers[slot] < self._size:
            self._idle.append(slot)
        else:
            slot.python.rest()
