"""Variables of C's environment that are in memory of ours, and may be written over there.

What ``os.putenv`` calls keeps each value it was ever given, in the C library of most systems, and
looks for every new one among them: 300 bytes a run that nobody gets back, and more time than all
else that a run needs of its environment. ``putenv(3)`` takes a text as it is, and where it is.

Loaded by :mod:`jobctl.engine.python_environ`; standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import mmap
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

PAGE = mmap.PAGESIZE
POINTER = struct.calcsize("P")
"""Bytes of one."""


class System:
    """What of the C library is needed."""

    def __init__(self) -> None:
        """Find it; raises ImportError, AttributeError or OSError where it cannot be had."""
        import _ctypes

        class Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
            _type_ = "c"

        program: Any = None  # all that is linked into this one
        handle = _ctypes.dlopen(program, os.RTLD_NOW)
        call: Any = _ctypes.call_cdeclfunction
        function = _ctypes.dlsym(handle, "putenv")
        byref: Any = _ctypes.byref
        self.putenv: Callable[[Any], bool] = lambda text: not call(function, (byref(text),))
        """Lets the environment point at a text that stays where it is; returns whether it does."""
        self.addressof: Any = _ctypes.addressof
        self._byte: Any = Byte
        self.list = self.view(_ctypes.dlsym(handle, "environ"), POINTER)
        """A single pointer: where the list of the environment is."""

    def view(self, address: int, size: int) -> memoryview:
        """Return the pointers that are somewhere in memory."""
        return memoryview((self._byte * size).from_address(address)).cast("B").cast("P")

    def text(self, page: mmap.mmap, at: int) -> Any:
        """Return a place in a page as C can have it: its first byte, which needs no type of its own."""
        return self._byte.from_buffer(page, at)


def _system() -> System | None:
    try:
        return System()
    except (ImportError, AttributeError, OSError):
        return None


SYSTEM = _system()


class Place:
    """Where the text of a variable is, with room for longer values."""

    __slots__ = ("begin", "end", "page", "size", "text", "value")

    def __init__(self, page: mmap.mmap, at: int, room: int, name: bytes) -> None:
        """``room`` is that of all of the text, which begins at ``at``."""
        assert SYSTEM is not None  # noqa: S101 - or there were none
        self.page = page
        self.text = SYSTEM.text(page, at)
        page[at : at + len(name) + 1] = name + b"="
        self.begin, self.end = at + len(name) + 1, at + room
        self.size = -1
        """Bytes of the last value, which is at ``value`` in the page."""
        self.value = slice(0)

    def write(self, value: bytes) -> bool:
        """Let it be the value; returns False if there is no room."""
        size, page = len(value), self.page
        if size == self.size:
            page[self.value] = value
            return True
        if self.begin + size >= self.end:
            return False
        page[self.begin : self.begin + size + 1] = value + b"\0"
        self.size, self.value = size, slice(self.begin, self.begin + size)
        return True


class Lent:
    """The variables that were lent to C."""

    def __init__(self) -> None:
        self.places: dict[bytes, Place] = {}
        """By name."""
        self._pages: list[mmap.mmap] = []
        """All that there ever were, for C may look at any of them; few, as room doubles."""
        self._free = 0
        self._list: memoryview | None = None
        """The list of the environment and its end, as far as it was there when all was well."""
        self._where = None if SYSTEM is None else SYSTEM.list
        self._base = 0
        self._known = b""
        """Where the list was then, and what it said."""

    def lend(self, name: bytes, value: bytes) -> None:
        """Give C a variable until :meth:`take_back`, or until somebody sets it."""
        if b"\0" in name or b"\0" in value:
            raise ValueError("embedded null byte")  # as os.putenv does
        if SYSTEM is not None:
            place = self.places.get(name)
            if place is None or not place.write(value):
                self.places[name] = place = self._new(name, value)
            if SYSTEM.putenv(place.text):
                return
            del self.places[name]
        os.putenv(name, value)

    def take_back(self, data: Mapping[bytes, bytes]) -> None:
        """Let C have what it was lent as its own; ``data`` is what ``os.environ`` says."""
        for name in self.places:
            if name in data:
                os.putenv(name, data[name])
            else:
                os.unsetenv(name)
        self.places.clear()
        self._list = None

    def untouched(self) -> bool:
        """Return whether the list of the environment is as it was when :meth:`complete` said so."""
        where, found = self._where, self._list
        # Where it is comes first: what is no longer the list may not even be there.
        return (
            found is not None
            and where is not None
            and where[0] == self._base
            and found.tobytes() == self._known
        )

    def complete(self, wanted: Mapping[bytes, bytes]) -> bool:
        """Have C see what is ``wanted`` in places of ours; returns whether that could be.

        What others have added stays. It was not in ``os.environ``: libraries do that for themselves.
        """
        self._list = None
        if SYSTEM is None:
            return False
        there = self._pointers()
        missing = [name for name in wanted if not self._is_among(there, name, wanted[name])]
        for name in missing:
            self.lend(name, wanted[name])
        if missing:
            there = self._pointers()
            if not all(self._is_among(there, name, wanted[name]) for name in wanted):
                return False
        self._base = SYSTEM.list[0]
        self._list = SYSTEM.view(self._base, (len(there) + 1) * POINTER)
        self._known = self._list.tobytes()
        return True

    def _is_among(self, there: Iterable[int], name: bytes, value: bytes) -> bool:
        assert SYSTEM is not None  # noqa: S101 - who calls has looked
        place = self.places.get(name)
        return (
            place is not None
            and SYSTEM.addressof(place.text) in there
            and place.page[place.begin : place.begin + len(value) + 1] == value + b"\0"
        )

    def _pointers(self) -> list[int]:
        """Return what the list of the environment points at, but for its end."""
        assert SYSTEM is not None  # noqa: S101 - as above
        address = SYSTEM.list[0]
        found: list[int] = []
        while address:  # a page at a time: what is behind its end need not be there
            size = PAGE - address % PAGE
            part = SYSTEM.view(address, size).tolist()
            if 0 in part:
                return found + part[: part.index(0)]
            found += part
            address += size
        return found

    def _new(self, name: bytes, value: bytes) -> Place:
        """Return a place for a variable, with room to grow."""
        room = 2 * len(value) + len(name) + 32
        if not self._pages or self._free + room > len(self._pages[-1]):
            size = -(-room // PAGE) * PAGE
            # Not shared: a forked copy keeps what it had.
            self._pages.append(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            self._free = 0
        place = Place(self._pages[-1], self._free, room, name)
        self._free += room
        place.write(value)
        return place
