"""Whether a result that was written can be read again. Loaded by a child that has a doubt.

A run whose result nobody can read must fail: its function has done its work, and whoever waits for
it would learn of the loss last. Standard library of CPython 3.9 on only.
"""

from __future__ import annotations

import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST_DEEP = 500
"""Levels of lists and dicts; a CPython 3.11 reads fewer than a thousand, and reads inside of calls."""
MOST_DIGITS = 4300
"""Of a whole number: what ``sys.get_int_max_str_digits()`` allows readers unless they ask for more."""
NO_SIGNS = bytes(set(range(256)) - set(b"[]{}"))
TOO_DEEP = (
    f"it is nested more than {MOST_DEEP} levels deep, which not every Python reads; flatten it"
)


def check_json(data: bytes) -> None:
    """Raise ValueError where no reader could make a value of ``data``, which is JSON."""
    if data.count(b"[") + data.count(b"{") > MOST_DEEP and _is_deep(data):
        import re

        # Only now without the texts in it: that takes as long as it took to write them.
        if _is_deep(re.sub(rb'"[^"\\]*(?:\\.[^"\\]*)*"', b"", data)):
            raise ValueError(TOO_DEEP)
    allowed = getattr(sys, "get_int_max_str_digits", int)()
    if len(data) > MOST_DIGITS and not 0 < allowed <= MOST_DIGITS:
        json.loads(data, parse_int=_check_digits)


def _is_deep(data: bytes) -> bool:
    """Return whether its brackets do not vanish in pairs, from within, as soon as they should."""
    signs = data.translate(None, NO_SIGNS)
    for _ in range(MOST_DEEP):
        fewer = signs.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(signs):
            break
        signs = fewer
    return bool(signs)


def _check_digits(text: str) -> None:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(
            f"a whole number in it has more than {MOST_DIGITS} digits,"
            " which not every Python reads; return it as text"
        )


def check_msgpack(data: bytes, unpack: Callable[..., object]) -> None:
    """Raise ValueError where a reader that unpacks ``data`` gets none, or less than was packed."""
    layer: list[Any] = [unpack(data, strict_map_key=False, object_pairs_hook=_as_dict)]
    if len(data) <= MOST_DEEP:
        return
    for _ in range(MOST_DEEP):
        parts = [part.values() if isinstance(part, dict) else part for part in layer]
        layer = [inner for part in parts for inner in part if isinstance(inner, (dict, list))]
    if layer:
        raise ValueError(TOO_DEEP)


def _as_dict(pairs: list[tuple[Any, object]]) -> dict[Any, object]:
    found: dict[Any, object] = {}
    for key, value in pairs:
        if isinstance(key, (list, dict)):
            raise ValueError(  # noqa: TRY004 - it is about the value
                f"a key of a dict in it would be read as {key!r:.80}, which cannot be one;"
                " use a text for it"
            )
        if key in found:
            raise ValueError(f"two keys of a dict are both {key!r:.80} in it")
        found[key] = value
    return found


def check_pickle(data: bytes) -> None:
    """Raise ValueError where what was pickled does not let itself be loaded, even here."""
    import pickle

    try:
        pickle.loads(data)  # noqa: S301 - it was written just now, here
    except Exception as error:
        raise ValueError(f"it cannot be read back: {error}") from error
