"""What a single value in jobs.toml may be; each function checks one value and returns ours.

A refusal never repeats the value: whoever shows it knows whether it may be shown.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import signal
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from jobctl.model.run import Reason
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
_IDENTIFIER = r"[^\W\d]\w*"
_TARGET = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*:{_IDENTIFIER}(\.{_IDENTIFIER})*")
_DOTTED = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*")
REASONS = tuple(
    one.value
    for one in (
        Reason.EXCEPTION, Reason.EXIT, Reason.LOST, Reason.MEMORY, Reason.RESULT, Reason.SIGNAL,
        Reason.SPAWN, Reason.TIMEOUT,
    )
)  # fmt: skip
"""The reasons of a failure that ``retry_on`` and ``no_retry_on`` may name."""


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


def command(value: object) -> str | tuple[str, ...]:
    """Check a command: a text for the shell, or a list of program and arguments."""
    if not isinstance(value, list):
        return filled(value)
    if not value:
        raise Wrong("names no program", remedy='write ["program", "argument"]')
    words = several(text)(value)
    if not words[0]:
        raise Wrong("is no program", remedy="put the program first").within(0)
    return words


def target(value: object) -> str:
    """Check a Python function: ``package.module:function``."""
    said = text(value)
    if not _TARGET.fullmatch(said):
        raise Wrong(
            "does not name a Python function",
            code="target",
            remedy='write python = "package.module:function"',
        )
    return said


def stop_signal(value: object) -> str:
    """Check the name of a signal; returns it without ``SIG``."""
    word = text(value).upper().removeprefix("SIG")
    known = [one.name.removeprefix("SIG") for one in signal.Signals]
    if word not in known:
        close = nearest(word, known)
        hint = f"did you mean '{close}'?" if close else "write for example TERM, INT or QUIT"
        raise Wrong("is not a signal", code="choice", remedy=hint)
    return word


def umask(value: object) -> int:
    """Check file mode bits: octal digits as a text, or a number TOML was given as ``0o…``."""
    remedy = 'write octal digits, for example "022"'
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{1,4}", value):
        value = int(value.removeprefix("0o"), 8)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:  # noqa: PLR2004 (nine bits)
        raise Wrong("is not a file mode mask", code="value", remedy=remedy)
    return value


def retry_case(value: object) -> int | str:
    """Check an exit code, a reason or the name of an exception."""
    if isinstance(value, int):
        return whole(0, 255)(value)
    said = text(value)
    if said in REASONS or (_DOTTED.fullmatch(said) and (not said.islower() or "." in said)):
        return said
    close = nearest(said, REASONS)
    raise Wrong(
        "is no exit code, reason or exception",
        code="choice",
        remedy=f"did you mean '{close}'?"
        if close
        else f"write a number, one of {', '.join(REASONS)}, or a class such as 'ConnectionError'",
    )


def rate(value: object) -> str:
    """Check a rate such as ``10/m``."""
    said = text(value).replace(" ", "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}/[smhd]", said):
        raise Wrong(
            "is not a rate", code="rate", remedy='write a number per s, m, h or d, e.g. "10/m"'
        )
    return said


def unique(value: object) -> str:
    """Check what makes a run the same as another: ``args``, ``job`` or ``key:…``."""
    said = text(value)
    if said in ("args", "job") or (said.startswith("key:") and len(said) > len("key:")):
        return said
    raise Wrong("is none of args, job, key:…", code="choice", remedy='write for example "args"')


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


def pattern(value: object) -> str:
    """Check a regular expression."""
    said = text(value)
    try:
        re.compile(said)
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong("is not a regular expression", remedy=str(error)) from None
    return said
