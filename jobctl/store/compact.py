"""Compact JSON: no blanks, text as it is.

``JSONEncoder.encode`` makes a new encoder for every call, which takes longer than encoding what is
written for a run; here one encoder is made for all.
"""

from __future__ import annotations

import json
from json import encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_plain = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_make = getattr(encoder, "c_make_encoder", None)
_chunks: Callable[[object, int], tuple[str, ...]] | None = _make and _make(
    None,
    _plain.default,
    encoder.encode_basestring,
    None,
    ":",
    ",",
    False,  # noqa: FBT003 - no keywords here: keys are not sorted,
    False,  # noqa: FBT003 - none is left out,
    True,  # noqa: FBT003 - and NaN is written as the standard encoder does
)


def encode(value: object) -> str:
    """Return ``value`` as compact JSON; raises as ``json.dumps``."""
    if _chunks is None:
        return _plain.encode(value)
    try:
        return "".join(_chunks(value, 0))
    except RecursionError:
        return _plain.encode(value)  # tells a circle from depth
