"""Store operations as values: what to send and how to read the answer, without any I/O.

An operation (:mod:`jobctl.store.transitions`, :mod:`jobctl.store.queries`) returns a :class:`Call`;
an executor (:mod:`jobctl.store.blocking`, :mod:`jobctl.store.aio`) runs it. There are no
synchronous and asynchronous twins, and a test can drop, repeat and delay calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command to the store.

    With ``script`` the parts are the script's keys and arguments and the executor sends
    ``EVALSHA``, loading the script when the server does not know it; without it they are the
    words of a plain command. Parts are ``str``, ``bytes`` or ``int``.
    """

    parts: tuple[str | bytes | int, ...]
    decode: Callable[[object], T]
    script: str | None = None
    """Name of a file in ``store/lua`` without its ending; the first part is the key prefix."""
    blocking: float | None = None
    """Longest time in seconds the server may take to answer on purpose (``BLPOP``)."""
    idempotent: bool = True
    """False when repeating a call whose answer was lost could change something twice."""
