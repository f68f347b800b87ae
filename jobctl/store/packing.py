"""What both executors send and recognise: packed calls, script loading, telling replies."""

from __future__ import annotations

from hiredis import ReplyError, pack_command

from jobctl.store.failures import STALE, first_word
from jobctl.store.scripts import script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.store.calls import Call

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
    if call.script is None:
        return pack(call.parts)
    return pack(("EVALSHA", script(call.script).sha, 1, *call.parts))


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
