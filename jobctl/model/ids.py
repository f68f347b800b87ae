"""Run ids: 16 characters of lower-case base32 (80 bits), made before anything is sent."""

from __future__ import annotations

import base64
import os

ID_LENGTH = 16
PREFIX_LEAST = 4
"""Shortest prefix that stands for a run."""
_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567"
_ALPHABET = frozenset(_LETTERS.decode())
_OF_BYTES = _LETTERS * 8
"""The letter for each byte: all are equally likely."""


def new_id() -> str:
    """Return a random run id."""
    return os.urandom(ID_LENGTH).translate(_OF_BYTES).decode()


def derived_id(*parts: str) -> str:
    """Return the run id that always belongs to ``parts``, for schedules and idempotency keys."""
    from jobctl.model.sealing import digest  # noqa: PLC0415 (only schedules and keys need it)

    return base64.b32encode(digest("\0".join(parts).encode())[:10]).decode().lower()


def is_id(text: str) -> bool:
    """Return whether ``text`` has the form of a whole run id."""
    return len(text) == ID_LENGTH and _ALPHABET.issuperset(text)


def is_prefix(text: str) -> bool:
    """Return whether ``text`` can be the beginning of a run id."""
    return PREFIX_LEAST <= len(text) <= ID_LENGTH and _ALPHABET.issuperset(text)
