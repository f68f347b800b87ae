"""How cron itself reads the five fields of a line.

Debian's cron is lenient: behind a value it skips whatever it does not know up to the next blank,
and a range that runs backwards is empty. cronie refuses both. What either would run is worked
out here as plain sets, apart from this program's own grammar, so that the two can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from jobctl.model.cron import CronError, CronExpression

if TYPE_CHECKING:
    from jobctl.model.cron_fields import FieldValues

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FAR = "100"
"""A step longer than any field: ``*/100`` is the field's first value and begins with a star."""


class CronLawError(ValueError):
    """Raised for a field that cron refuses; ``field`` is its name."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


@dataclass(frozen=True, slots=True)
class Column:
    """One of the five fields."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


COLUMNS = (
    Column("minute", 0, 59),
    Column("hour", 0, 23),
    Column("day-of-month", 1, 31),
    Column("month", 1, 12, MONTHS),
    Column("day-of-week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What cron makes of one field."""

    values: frozenset[int]
    star: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Translation:
    """A schedule for jobs.toml with cron's own meaning; ``schedule`` is empty if cron never runs it."""

    schedule: str
    remarks: tuple[str, ...]


class _Scanner:
    """Walks one field as Debian's cron does, and notes what cronie would not take."""

    def __init__(self, column: Column, text: str) -> None:
        self.column = column
        self.text = text
        self.at = 0
        self.values: set[int] = set()
        self.remarks: list[str] = []

    def read(self) -> Reading:
        while True:
            self._range()
            if self._peek() != ",":
                break
            self.at += 1
        rest = self.text[self.at :]
        if rest:
            kept = self.text[: self.at]
            self._note(
                f"cronie refuses {self.text!r}; Debian's cron reads it as {kept!r} and skips {rest!r}"
            )
        if self.column.names is WEEKDAYS:
            self.values = {value % 7 for value in self.values}
        return Reading(frozenset(self.values), self.text[0] == "*", tuple(self.remarks))

    def _note(self, message: str) -> None:
        self.remarks.append(f"{self.column.name}: {message}")

    def _fail(self, message: str) -> CronLawError:
        return CronLawError(self.column.name, message)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _range(self) -> None:
        column, start, step = self.column, self.at, 1
        if self._peek() == "*":
            self.at += 1
            first, last = column.low, column.high
        else:
            first = self._number(column.names)
            last = first
            if self._peek() == "-":
                self.at += 1
                last = self._number(column.names)
            elif self._peek() == "/":
                last = column.high
                self._note(
                    f"{self.text!r}: Debian's cron and cronie refuse a step without a range; FreeBSD's cron and"
                    f" jobctl read {first}-{last}{self.text[self.at :]}"
                )
        if self._peek() == "/":
            self.at += 1
            step = self._number(())
            if not step:
                raise self._fail("a step of 0")
        written = self.text[start : self.at]
        for value in (first, last):
            if not column.low <= value <= column.high:
                raise self._fail(f"{value} is not between {column.low} and {column.high}")
        if first > last:
            last = self._backwards(written, first, last)
        self.values.update(range(first, last + 1, step))

    def _backwards(self, written: str, first: int, last: int) -> int:
        if self.column.names is WEEKDAYS and last == 0:
            self._note(
                f"{written!r}: read as {first}-7, as newer cronie does; Debian's cron never runs it"
            )
            return 7
        self._note(f"{written!r} runs backwards: Debian's cron never runs it, cronie refuses it")
        return last

    def _number(self, names: tuple[str, ...]) -> int:
        start = self.at
        while self._peek().isascii() and self._peek().isalnum():
            self.at += 1
        word = self.text[start : self.at]
        if word.lower() in names:
            return names.index(word.lower()) + self.column.low
        if not word.isdigit():
            kind = "a number or a three-letter name" if names else "a number"
            raise self._fail(f"{(word or self.text[start:])!r} is not {kind}")
        return int(word)


def read_fields(words: list[str]) -> list[Reading]:
    """Return cron's reading of five fields; raise :class:`CronLawError` where it refuses."""
    return [_Scanner(column, word).read() for column, word in zip(COLUMNS, words, strict=True)]


def translate(words: list[str]) -> Translation:
    """Return the schedule that fires here exactly when cron would.

    Raises:
        CronLawError: cron does not take the line.

    """
    text = " ".join(words)
    if "~" in text:
        return _drawn(words)
    readings = read_fields(words)
    remarks = [remark for reading in readings for remark in reading.remarks]
    if any(not reading.values for reading in readings):
        return Translation("", (*remarks, f"{text!r} never runs under cron"))
    try:
        ours = CronExpression.parse(text)
    except CronError as error:
        if error.field == "day-of-month" and "no month" in error.message:
            return Translation("", (*remarks, f"{text!r} never runs: {error.message}"))
    else:
        if all(map(_same, readings, ours.fields[1:])):
            return Translation(text, tuple(remarks))
    rewritten = " ".join(
        word if _read_alike(column, word, reading) else _canonical(column, reading)
        for column, word, reading in zip(COLUMNS, words, readings, strict=True)
    )
    return Translation(
        rewritten,
        (*remarks, f"{text!r} is written as {rewritten!r}, which is what cron makes of it"),
    )


def _same(theirs: Reading, ours: FieldValues) -> bool:
    return (
        theirs.values == frozenset(ours.values())
        and theirs.star == ours.star
        and not _special(ours)
    )


def _read_alike(column: Column, word: str, reading: Reading) -> bool:
    """Tell whether one field means here what it means to cron."""
    at = COLUMNS.index(column)
    alone = ["*"] * len(COLUMNS)
    alone[at] = word
    try:
        ours = CronExpression.parse(" ".join(alone))
    except CronError:
        return False
    return _same(reading, ours.fields[at + 1])


def _special(field: FieldValues) -> bool:
    """Tell whether a field holds a form that only this program knows: ``L``, ``nW``, ``d#n``."""
    names = ("last", "last_workday", "nearest", "nth", "last_weekdays")
    return any(getattr(field, name) for name in names)


def _drawn(words: list[str]) -> Translation:
    """``a~b``: cronie and OpenBSD draw a value at every load."""
    for column, word in zip(COLUMNS, words, strict=True):
        if "~" not in word:
            _Scanner(column, word).read()
    text = " ".join(words)
    try:
        CronExpression.parse(text)
    except CronError as error:
        raise CronLawError(error.field or "schedule", error.message) from error
    remark = (
        f"{text!r}: cronie draws a value at each start, here it is drawn once from the job's name;"
        " Debian's cron takes only the number before '~'"
    )
    return Translation(text, (remark,))


def _canonical(column: Column, reading: Reading) -> str:
    """Return a field that every cron reads as these values and this star."""
    high = 6 if column.names is WEEKDAYS else column.high
    if reading.star and len(reading.values) == high - column.low + 1:
        return "*"
    listed = compact(sorted(reading.values))
    return f"*/{_FAR},{listed}" if reading.star else listed


def compact(values: list[int]) -> str:
    """Return ascending values as a list with ranges: ``0-4,7``."""
    runs: list[list[int]] = [values[:1]]
    for before, value in pairwise(values):
        if value == before + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = []
    for run in runs:
        short = len(run) <= 2  # noqa: PLR2004 (1,2 reads better than 1-2)
        parts.append(",".join(map(str, run)) if short else f"{run[0]}-{run[-1]}")
    return ",".join(parts)
