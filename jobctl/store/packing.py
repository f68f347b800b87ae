"""What both executors send and recognise: packed calls, script loading, telling replies."""

from __future__ import annotations

from hiredis import ReplyError, pack_command

from jobctl.store.calls import Call
from jobctl.store.failures import STALE, first_word
from jobctl.store.scripts import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, TypeVar

    T = TypeVar("T")
else:
    T = None
    Generic = {T: object}

MAX_LOADS = 3
"""A script that is unknown again after this many loads is being flushed by somebody."""


def pack(words: tuple[str | bytes | int, ...]) -> bytes:
    """Return one command as the bytes to send."""
    try:
        return pack_command(words)  # type: ignore[arg-type, no-any-return]  # its stub allows one word
    except UnicodeEncodeError:
        return pack_command(tuple(_sendable(word) for word in words))  # type: ignore[arg-type, no-any-return]


def _sendable(word: str | bytes | int) -> bytes | int:
    """Return ``word`` with lone surrogates as escapes.

    Python programs make them of file names that are not UTF-8. One that stands in an error or a
    result must not keep all that travels with it from being sent. In JSON it stays what it was.
    """
    return word.encode("utf-8", "backslashreplace") if isinstance(word, str) else word


def packed(call: Call[object]) -> bytes:
    """Return ``call`` as the bytes to send."""
    if call.data is not None:
        return call.data
    if call.script is None:
        return pack(call.parts)
    return pack(("EVALSHA", script(call.script).sha, 1, *call.parts))


class Stem(Generic[T]):
    """Calls of a script that differ in their last two parts alone: what they share is packed once.

    A lone submit is on its way sooner for it: little of what would pack all of it is in the
    processor's caches when nothing was sent for a while.
    """

    __slots__ = ("_call", "_head")

    def __init__(self, call: Call[T]) -> None:
        """``call`` is one of them without the two parts."""
        assert call.script is not None  # noqa: S101  # only those are known by a digest
        self._call = call
        words = ("EVALSHA", script(call.script).sha, 1, *call.parts)
        self._head = b"*%d\r\n%b" % (len(words) + 2, pack(words).partition(b"\r\n")[2])

    def grown(self, first: str, second: str) -> Call[T]:
        """Return the call with these two parts."""
        stem = self._call
        call = Call(
            (*stem.parts, first, second), stem.decode, stem.script, idempotent=stem.idempotent
        )
        try:
            one, two = first.encode(), second.encode()
        except UnicodeEncodeError:
            return call
        call.data = b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (self._head, len(one), one, len(two), two)
        return call


def load(name: str) -> bytes:
    """Return the bytes that teach the server the script ``name``.

    ``SCRIPT LOAD`` and not ``EVAL``: servers may forget scripts they saw only through ``EVAL``.
    """
    return pack(("SCRIPT", "LOAD", script(name).source))


def unknown_script(reply: object) -> bool:
    """Return whether the server does not know the script of this reply's call."""
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")


def stale(reply: object) -> bool:
    """Return whether the server behind the connection is no longer the right one."""
    return isinstance(reply, ReplyError) and first_word(str(reply)) in STALE
