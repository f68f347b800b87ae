"""What a single value in jobs.toml may be; each function checks one value and returns ours.

A refusal never repeats the value: whoever shows it knows whether it may be shown.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from jobctl.model.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST = 2**31 - 1
"""Largest count anywhere; larger ones are slips of the pen and do not fit every store."""
INFINITY = math.inf
NONE = "none"
"""Written for "no limit" where a default has one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Wrong(ValueError):  # noqa: N818 (reads as what is raised: a wrong value)
    """Raised when a value cannot be used; ``says`` continues "VALUE …"."""

    def __init__(
        self, says: str, *, code: str = "value", remedy: str = "", detail: str = "", offset: int = 0
    ) -> None:
        super().__init__(says)
        self.says = says
        self.code = code
        self.remedy = remedy
        self.detail = detail
        """Says more than ``says`` by repeating parts of the value."""
        self.offset = offset
        """Characters into the text, from 1; 0 when the whole value is meant."""
        self.path: tuple[str | int, ...] = ()
        """Where in the value, from its top."""

    def within(self, *path: str | int) -> Wrong:
        """Return this refusal as one of a list or table that holds the value."""
        self.path = (*path, *self.path)
        return self


def nearest(word: str, known: object) -> str:
    """Return the known name most like ``word``, or an empty text."""
    names = [str(one) for one in known]  # type: ignore[attr-defined]  # any iterable of names
    lower = {one.lower(): one for one in names}
    found = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else ""


def text(value: object) -> str:
    """Check any text."""
    if not isinstance(value, str):
        remedy = "put it in quotes" if isinstance(value, bool | int | float) else "write one text"
        raise Wrong("is not text", code="type", remedy=remedy)
    if "\0" in value:
        raise Wrong("holds a NUL character", remedy="a process cannot be given one; remove it")
    return value


def filled(value: object) -> str:
    """Check a text that is not blank."""
    said = text(value)
    if not said.strip():
        raise Wrong("is empty", remedy="write a value or leave the key out")
    return said


def name(value: object) -> str:
    """Check the name of a job, pool, queue or limit."""
    said = text(value)
    if not NAME.fullmatch(said):
        raise Wrong(
            "cannot be a name",
            code="name",
            remedy="names are 1 to 64 letters, digits, '.', '_' and '-', and begin with a letter or digit",
        )
    return said


def queue_pattern(value: object) -> str:
    """Check a queue of a pool: a name, or ``*`` for all of them."""
    return "*" if value == "*" else name(value)


def flag(value: object) -> bool:
    """Check a truth value."""
    if not isinstance(value, bool):
        raise Wrong(
            "is neither true nor false", code="type", remedy="write true or false, without quotes"
        )
    return value


def whole(low: int, high: int = MOST) -> Callable[[object], int]:
    """Return a check for whole numbers from ``low`` to ``high``."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong("is not a whole number", code="type", remedy="write digits, without quotes")
        if not low <= value <= high:
            limits = f"from {low} to {high}" if high < MOST else f"{low} or more"
            raise Wrong(f"is not {limits}", code="range", remedy=f"write a whole number {limits}")
        return value

    return check


def number(low: float, high: float = math.inf) -> Callable[[object], float]:
    """Return a check for numbers from ``low`` to ``high``."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong("is not a number", code="type", remedy="write a number, without quotes")
        if not low <= value <= high or math.isinf(value):
            limits = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
            raise Wrong(f"is not {limits}", code="range", remedy=f"write a number {limits}")
        return float(value)

    return check


def one_of(*words: str) -> Callable[[object], str]:
    """Return a check for one of a few words."""

    def check(value: object) -> str:
        said = text(value)
        if said not in words:
            close = nearest(said, words)
            hint = f"did you mean '{close}'?" if close else "use one of them"
            raise Wrong(f"is none of {', '.join(words)}", code="choice", remedy=hint)
        return said

    return check


def or_none(check: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a check that also takes the word ``none``."""

    def optional(value: object) -> T | None:
        if value == NONE:
            return None
        try:
            return check(value)
        except Wrong as wrong:
            wrong.remedy += ', or "none" for no limit'
            raise

    return optional


def or_word(word: str, check: Callable[[object], T]) -> Callable[[object], T | str]:
    """Return a check that also takes ``word``, which stays what it is."""

    def optional(value: object) -> T | str:
        if value == word:
            return word
        try:
            return check(value)
        except Wrong as wrong:
            wrong.remedy += f', or "{word}"'
            raise

    return optional


def several(check: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Return a check for a list, or for a single value that stands for a list of one."""

    def items(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            return (check(value),)
        checked: list[T] = []
        for index, item in enumerate(value):
            try:
                checked.append(check(item))
            except Wrong as wrong:
                raise wrong.within(index) from None
        return tuple(checked)

    return items


def duration(value: object) -> float:
    """Check a duration; returns seconds, 0 included."""
    remedy = 'write seconds or e.g. "1h30m"'
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Wrong("is not a duration", code="duration", remedy=remedy)
    try:
        return parse_duration(value)
    except ValueError as error:
        detail = _detail(value, error)
        raise Wrong("is not a duration", code="duration", remedy=remedy, detail=detail) from None


def span(value: object) -> float:
    """Check a duration that is longer than nothing; returns seconds."""
    seconds = duration(value)
    if not seconds:
        raise Wrong("is no time at all", code="duration", remedy='write e.g. "90s"')
    return seconds


def days(value: object) -> float:
    """Check a time in days: a bare number, or a duration; returns days."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(0, 36500)(value)
    return duration(value) / 86400


def size(value: object) -> int:
    """Check a size, 0 included; returns bytes."""
    remedy = 'write bytes or e.g. "512M"'
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Wrong("is not a size", code="size", remedy=remedy)
    try:
        count = parse_size(value)
    except ValueError as error:
        detail = _detail(value, error)
        raise Wrong("is not a size", code="size", remedy=remedy, detail=detail) from None
    return count


def some_size(value: object) -> int:
    """Check a size of at least one byte; returns bytes."""
    count = size(value)
    if not count:
        raise Wrong("is no size at all", code="size", remedy='write e.g. "512M"')
    return count


def _detail(value: object, error: ValueError) -> str:
    """Return what the parser says of the value, if it says it in the form "VALUE …: …"."""
    said, _, _ = str(error).partition(f"{value!r} ")[2].partition(": ")
    return said


def instant(value: object) -> str:
    """Check a point in time with an offset, as TOML date or text; returns RFC 3339."""
    remedy = "write it with an offset, for example 2026-12-24T18:00:00+01:00"
    moment = value
    if isinstance(value, str):
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            raise Wrong("is not a point in time", code="instant", remedy=remedy) from None
    if not isinstance(moment, dt.datetime) or moment.tzinfo is None:
        raise Wrong("is not a point in time", code="instant", remedy=remedy)
    return moment.isoformat()


def url(value: object) -> str:
    """Check the address of a web hook."""
    said = text(value)
    if not re.fullmatch(r"https?://[^\s/?#]+\S*", said):
        raise Wrong("is not a web address", code="url", remedy="write https://host/path")
    return said


def address(value: object) -> str:
    """Check an address to mail to: ``name@host``, or a name that this host knows."""
    said = filled(value)
    if said.startswith("-") or not said.isprintable() or re.search(r"[\s,;<>()\"\\]", said):
        raise Wrong(
            "is not one address", code="address",
            remedy="write name@host or a local name; several go into a list",
        )  # fmt: skip
    name, at, host = said.rpartition("@")
    if at and not (name and host):
        raise Wrong("is not an address", code="address", remedy="write name@host or a local name")
    return said


def pattern(value: object) -> str:
    """Check a regular expression."""
    said = text(value)
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(said)
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong("is not a regular expression", remedy=str(error)) from None
    return said
