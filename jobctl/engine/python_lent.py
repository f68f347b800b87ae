"""What the C library keeps: its environment, and output that it holds back.

Variables of the environment are in memory of ours, and may be written over there.

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
LINE = 64
"""Bytes that are read of a text at once; a page has whole lines."""
POINTER = struct.calcsize("P")
"""Bytes of one."""


PENDING, NOTHING = (0, 0, 0, 0, 0, 1), (0,) * 6
"""As :attr:`System.stdout` where it cannot be seen, and where there is nothing to be flushed."""


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
        pointer = type("Pointer", (_ctypes._SimpleCData,), {"_type_": "P"})
        function = _ctypes.dlsym(handle, "putenv")
        byref: Any = _ctypes.byref
        self.putenv: Callable[[Any], bool] = lambda text: not call(function, (byref(text),))
        """Lets the environment point at a text that stays where it is; returns whether it does."""
        self.addressof: Any = _ctypes.addressof
        self._byte: Any = Byte
        self._lines: dict[int, Any] = {}
        self.list = self.view(_ctypes.dlsym(handle, "environ"), POINTER)
        """A single pointer: where the list of the environment is."""
        flush = _ctypes.dlsym(handle, "fflush")
        stdout = self.view(_ctypes.dlsym(handle, "stdout"), POINTER)
        # Not all streams at once: another thread may hold one for as long as it waits for input.
        self.flush: Callable[[], object] = lambda: call(flush, (pointer(stdout[0]),))
        """Writes out what ``stdout`` of C keeps back."""
        self.stdout: Any = PENDING
        """Words 4 and 5 differ when it keeps something back: begin and end of that."""
        try:  # noqa: SIM105 - contextlib is an import
            self.stdout = self.view(_ctypes.dlsym(handle, "_IO_2_1_stdout_"), 6 * POINTER)
        except OSError:
            pass  # another C library than that of GNU, whose streams look otherwise

    def view(self, address: int, size: int) -> memoryview:
        """Return the pointers that are somewhere in memory."""
        return memoryview((self._byte * size).from_address(address)).cast("B").cast("P")

    def read(self, address: int) -> bytes:
        """Return the text that is somewhere in memory."""
        found = b""
        while True:  # a line at a time: what is behind the page of its end need not be there
            size = LINE - address % LINE
            kind = self._lines.get(size)
            if kind is None:
                kind = self._lines[size] = self._byte * size
            part, end, _ = bytes(kind.from_address(address)).partition(b"\0")
            found += part
            if end:
                return found
            address += size

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
        """Have C see what is ``wanted``, in places of ours; returns whether that could be."""
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
        if len(there) != len(wanted):
            self._drop_others(wanted)
            there = self._pointers()
        self._remember(len(there))
        return True

    def settle(self, wanted: Mapping[bytes, bytes]) -> None:
        """Have C see what is ``wanted``, wherever; some of it may be there."""
        if SYSTEM is None:
            return
        there = self._drop_others(wanted)
        for name, value in wanted.items():
            if there.get(name) != value:
                os.putenv(name, value)
        self.keep()

    @staticmethod
    def flush() -> None:
        """Write out what C keeps back."""
        if SYSTEM is not None and SYSTEM.stdout[4] != SYSTEM.stdout[5]:
            SYSTEM.flush()

    def keep(self) -> None:
        """Take the list as it is for that which is wanted."""
        if SYSTEM is not None:
            self._remember(len(self._pointers()))

    def _remember(self, length: int) -> None:
        assert SYSTEM is not None  # noqa: S101 - who calls has looked
        self._base = SYSTEM.list[0]
        self._list = SYSTEM.view(self._base, (length + 1) * POINTER) if self._base else None
        self._known = b"" if self._list is None else self._list.tobytes()

    def _drop_others(self, wanted: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Unset what nobody wants, which was not in ``os.environ``; return what is there then."""
        assert SYSTEM is not None  # noqa: S101 - as above
        there: dict[bytes, bytes] = {}
        for address in self._pointers():
            name, equals, value = SYSTEM.read(address).partition(b"=")
            if not (name and equals):
                continue  # no variable
            if name in wanted:
                there.setdefault(name, value)
            else:
                os.unsetenv(name)
        return there

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
