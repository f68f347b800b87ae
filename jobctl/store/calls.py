"""Store operations as values: what to send and how to read the answer, without any I/O.

An operation (:mod:`jobctl.store.transitions`, :mod:`jobctl.store.queries`) returns a :class:`Call`;
an executor (:mod:`jobctl.store.blocking`, :mod:`jobctl.store.aio`) runs it. There are no
synchronous and asynchronous twins, and a test can drop, repeat and delay calls.

Plain class and no typing at run time on purpose: dataclasses and typing together cost more than
the rest of a ``jobctl submit``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Generic, TypeVar

    T_co = TypeVar("T_co", covariant=True)
else:
    T_co = None
    Generic = {T_co: object}


READING = frozenset((
    "CLUSTER", "CONFIG", "EXISTS", "GET", "HGET", "HGETALL", "HKEYS", "HMGET", "HVALS", "INFO",
    "LINDEX", "LLEN", "LPOS", "LRANGE", "PTTL", "SCAN", "SCARD", "SMEMBERS", "TIME", "TYPE", "XRANGE",
    "XREVRANGE", "ZCARD", "ZRANGE", "ZREVRANGE",
))  # fmt: skip
"""Plain commands that change nothing, of those that jobctl uses."""


class Call(Generic[T_co]):
    """One command to the store; not changed once made.

    With ``script`` the parts are the script's keys and arguments and the executor sends
    ``EVALSHA``, loading the script when the server does not know it; without it they are the
    words of a plain command. Parts are ``str``, ``bytes`` or ``int``.
    """

    __slots__ = ("blocking", "data", "decode", "idempotent", "parts", "script", "seals", "told")

    def __init__(
        self,
        parts: tuple[str | bytes | int, ...],
        decode: Callable[[object], T_co],
        script: str | None = None,
        blocking: float | None = None,
        *,
        idempotent: bool = True,
        seals: bool = False,
    ) -> None:
        self.parts = parts
        self.decode = decode
        self.script = script
        """Name of a file in ``store/lua`` without its ending; the first part is the key prefix."""
        self.blocking = blocking
        """Longest time in seconds the server may take to answer on purpose (``BLPOP``)."""
        self.idempotent = idempotent
        """False when repeating a call whose answer was lost could change something twice."""
        self.seals = seals
        """True when it is about the calls before it in its batch: should one of them have to be
        sent again, it goes again behind that one. Only the blocking executor does so."""
        self.data: bytes | None = None
        """It as bytes to send, where somebody has packed it beforehand."""
        self.told: Callable[[T_co], None] | None = None
        """Who is told of the result, once, the moment it comes: before whoever waits for it goes on.
        Only where the asyncio executor carries out several calls."""

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, so that it does not matter whether it was carried out."""
        return self.script is None and self.parts[0] in READING

    def __repr__(self) -> str:
        name = self.script or " ".join(str(part) for part in self.parts[:1])
        return f"Call({name}, {len(self.parts)} parts)"
