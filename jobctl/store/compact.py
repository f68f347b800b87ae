"""Compact JSON: no blanks, text as it is.

``JSONEncoder.encode`` makes a new encoder for every call, which takes longer than encoding what is
written for a run; here one encoder is made for all. Reading passes over the search for blanks.
"""

from __future__ import annotations

import json
from json import encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_make = getattr(encoder, "c_make_encoder", None)


def encoder_of(plain: json.JSONEncoder) -> Callable[[object], str]:
    """Return what does as ``plain.encode``, which is compact and leaves text as it is."""
    chunks: Callable[[object, int], tuple[str, ...]] | None = _make and _make(
        None,
        plain.default,
        encoder.encode_basestring,
        None,
        ":",
        ",",
        False,  # noqa: FBT003 - no keywords here: keys are not sorted,
        False,  # noqa: FBT003 - none is left out,
        plain.allow_nan,
    )

    def encode(value: object) -> str:
        """Return ``value`` as compact JSON; raises as ``json.dumps``."""
        if chunks is None:
            return plain.encode(value)
        try:
            return "".join(chunks(value, 0))
        except RecursionError:
            return plain.encode(value)  # tells a circle from depth

    return encode


encode = encoder_of(json.JSONEncoder(separators=(",", ":"), ensure_ascii=False))


def dump(value: object) -> str:
    """Return ``value`` as compact JSON that can be encoded as UTF-8; raises as ``json.dumps``."""
    encoded = encode(value)
    if not encoded.isascii():
        try:
            encoded.encode()
        except UnicodeEncodeError:
            # Arguments that were no UTF-8 on the command line come with lone surrogates.
            return json.dumps(value, separators=(",", ":"))
    return encoded


_decoder = json.JSONDecoder()
_scan = _decoder.scan_once  # type: ignore[attr-defined]  # all decoders have it


def parse(text: str) -> object:
    """Return what JSON says; raises ``ValueError``."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return value if end == len(text) else _decoder.decode(text)
