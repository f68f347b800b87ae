"""The grammar of one field of a cron expression.

Strict on purpose: what Debian's checker or croniter swallow in silence (``5-1``, ``*5``,
``1-1_0``, ``mon#6``) is refused with the field's name and the column.
"""

from __future__ import annotations

from jobctl.model.frozen import Frozen

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
WEEKS = 5
"""A month holds a weekday at most five times: the bound of ``d#n``."""
_HASHED_LAST_DAY = 28
"""A drawn day of the month exists in every month."""


class CronError(ValueError):
    """A cron expression that cannot be used.

    ``field`` is the field's name or ``""``; ``column`` counts from 0 into the expression, or is
    -1 when no place can be named. The message counts from 1, as those of files do.
    """

    def __init__(self, message: str, *, field: str = "", column: int = -1) -> None:
        self.message = message
        self.field = field
        self.column = column
        place = f"{field} field" if field else "expression"
        where = (
            f"{place} (column {column + 1}): " if column >= 0 else f"{field} field: " * bool(field)
        )
        super().__init__(where + message)


class Field(Frozen):
    """What one field of an expression may hold; ``cycle`` is how many values it runs through."""

    __slots__ = ("cycle", "high", "low", "name", "names")

    name: str
    low: int
    high: int
    cycle: int
    names: tuple[str, ...]

    def __init__(self, name: str, low: int, high: int, *, names: tuple[str, ...] = ()) -> None:
        self._fill(
            min(high - low + 1, 7) if names is WEEKDAYS else high - low + 1, high, low, name, names
        )


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, names=MONTHS)
WEEKDAY = Field("day-of-week", 0, 7, names=WEEKDAYS)


def counted(count: int) -> str:
    """Return how many fields there are, and which are missing if those that are there are the first."""
    left = [field.name for field in (MINUTE, HOUR, DAY, MONTH, WEEKDAY)][count:]
    said = f"{count} field{'' if count == 1 else 's'}"
    if not left:
        return said
    if len(left) == 1:
        return f"{said}, {left[0]} is missing"
    return f"{said}, {', '.join(left[:-1])} and {left[-1]} are missing"


class FieldValues(Frozen):
    """What one field of one expression means.

    ``mask`` has bit v set for each plain value v (Sunday is 0, never 7). ``star`` tells whether
    the field begins with ``*``, which decides between AND and OR for the two day fields and
    between wall clock and fixed time for minute and hour. The rest are the forms that depend
    on the month: ``last`` (``L``), ``last_workday`` (``LW``), ``nearest`` (days of ``nW``),
    ``nth`` (pairs of ``d#n``) and ``last_weekdays`` (days of ``dL``).
    """

    __slots__ = ("last", "last_weekdays", "last_workday", "mask", "nearest", "nth", "star", "text")

    text: str
    mask: int
    star: bool
    last: bool
    last_workday: bool
    nearest: tuple[int, ...]
    nth: tuple[tuple[int, int], ...]
    last_weekdays: tuple[int, ...]

    def __init__(self, reader: FieldReader) -> None:
        self._fill(
            reader.last,
            tuple(sorted(reader.last_weekdays)),
            reader.last_workday,
            reader.mask,
            tuple(sorted(reader.nearest)),
            tuple(sorted(reader.nth)),
            reader.text[0] in "*?",
            reader.text,
        )

    def values(self) -> tuple[int, ...]:
        """Return the plain values, ascending."""
        return tuple(value for value in range(self.mask.bit_length()) if self.mask >> value & 1)


class FieldReader:
    """Reads one field, term by term; ``column`` is where its text begins in the expression."""

    def __init__(self, field: Field, text: str, *, column: int, hash_key: str) -> None:
        self.field = field
        self.text = text.upper()
        self.column = column
        self.hash_key = hash_key
        self.mask = 0
        self.last = self.last_workday = False
        self.nearest: set[int] = set()
        self.nth: set[tuple[int, int]] = set()
        self.last_weekdays: set[int] = set()
        self.warnings: list[str] = []

    def read(self) -> FieldValues:
        """Return what the field means.

        Raises:
            CronError: with the column of the term at fault.

        """
        start = 0
        for index, term in enumerate(self.text.split(",")):
            self._term(term, start, index)
            start += len(term) + 1
        return FieldValues(self)

    def _fail(self, message: str, start: int) -> CronError:
        return CronError(message, field=self.field.name, column=self.column + start)

    def _term(self, term: str, start: int, index: int) -> None:
        if not term:
            raise self._fail("a value is missing beside the comma", start)
        if self.field is DAY and term.startswith("L-"):
            raise self._fail(
                f"'{term}' is not known: write L for the last day, or name the days", start
            )
        if self.field is DAY and term[-1] in "LW":
            self._month_end(term, start)
        elif self.field is WEEKDAY and ("#" in term or term[-1] == "L" or term[0] == "L"):
            self._weekday_of_month(term, start)
        else:
            self._stepped(term, start, index)

    def _month_end(self, term: str, start: int) -> None:
        if term == "L":
            self.last = True
        elif term == "LW":
            self.last_workday = True
        elif term[-1] == "W":
            self.nearest.add(self._value(term[:-1], start))
        else:
            raise self._fail(
                f"'{term}' is not known: write L for the last day, LW for the last workday", start
            )

    def _weekday_of_month(self, term: str, start: int) -> None:
        if term[0] == "L":
            raise self._fail(
                "L follows its weekday here: write 5L or FRIL for the last Friday", start
            )
        day, mark, count = (term[:-1], "L", "") if term[-1] == "L" else term.partition("#")
        weekday = self._value(day, start) % 7
        if mark == "L":
            self.last_weekdays.add(weekday)
        else:
            nth = self._number(count, start + len(day) + 1)
            if not 1 <= nth <= WEEKS:
                raise self._fail(f"#{nth} is not between #1 and #5", start + len(day))
            self.nth.add((weekday, nth))
        if day.isdigit():
            name = WEEKDAYS[weekday].title()
            self._warn(
                f"{term} means {name}: days count from Sunday = 0 here, from Sunday = 1 in Quartz"
            )

    def _stepped(self, term: str, start: int, index: int) -> None:
        body, slash, step_text = term.partition("/")
        step = self._number(step_text, start + len(body) + 1) if slash else 1
        if not step:
            raise self._fail("a step of 0 never advances: the smallest is 1", start + len(body) + 1)
        low, high, hashed = self._range(body, start)
        if hashed:
            # A drawn step keeps its spacing and moves its first value only.
            width = min(step, high - low + 1) if slash else high - low + 1
            low += _draw(f"{self.hash_key}\0{self.field.name}\0{index}", width)
            high = high if slash else low
        elif slash and body.isalnum():
            high = self.field.high
            first = body.lower() if body.isalpha() else body
            self._warn(
                f"{term.lower()} means {first}-{high}/{step}, and cronie, Vixie 4 and Debian cron refuse it: write the range"
            )
        if slash:
            self._check_step(body, step)
        for value in range(low, high + 1, step):
            self.mask |= 1 << (value % 7 if self.field is WEEKDAY else value)

    def _range(self, body: str, start: int) -> tuple[int, int, bool]:
        """Return (first, last, drawn by hash) of a term without its step."""
        field = self.field
        if body in ("*", "?"):
            return field.low, 6 if field is WEEKDAY else field.high, False
        if body[:1] in ("*", "?"):
            raise self._fail(
                f"nothing but a step may follow {body[0]}, found '{body[1:]}'", start + 1
            )
        if body in {"H", "~"}:
            return self._hashed_range()
        if body.startswith("H(") and body.endswith(")"):
            body, start, mark, hashed = body[2:-1], start + 2, "-", True
        else:
            mark, hashed = ("~", True) if "~" in body else ("-", False)
        low_text, found, high_text = body.partition(mark)
        if not found and not hashed:
            value = self._value(body, start)
            return value, value, False
        low_default, high_default, _ = self._hashed_range()
        open_ended = mark == "~"
        low = low_default if open_ended and not low_text else self._value(low_text, start)
        at_high = start + len(low_text) + 1
        high = high_default if open_ended and not high_text else self._value(high_text, at_high)
        if field is WEEKDAY and high == 0 < low:
            high = 7
        if low > high:
            instead = f"write two ranges, such as {low}-{field.high},{field.low}-{high}"
            if hashed:
                # Two ranges would be every value in them, and not one that is drawn.
                instead = f"the lower end comes first, and no draw goes past {field.high}"
            raise self._fail(f"the range '{body.lower()}' runs backwards: {instead}", start)
        return low, high, hashed

    def _hashed_range(self) -> tuple[int, int, bool]:
        if self.field is DAY:
            return 1, _HASHED_LAST_DAY, True
        return self.field.low, 6 if self.field is WEEKDAY else self.field.high, True

    def _value(self, text: str, start: int) -> int:
        field = self.field
        if text in field.names:
            return field.names.index(text) + field.low
        value = self._number(text, start)
        if not field.low <= value <= field.high:
            raise self._fail(f"{value} is not between {field.low} and {field.high}", start)
        return value

    def _number(self, text: str, start: int) -> int:
        if not text:
            raise self._fail("a number is missing", start)
        if not text.isdigit():
            kind = "a number or a three-letter name" if self.field.names else "a number"
            raise self._fail(f"'{text.lower()}' is not {kind}", start)
        if len(text.lstrip("0")) > 6:  # noqa: PLR2004 (no field needs more digits)
            raise self._fail(f"'{text[:12]}…' is too large", start)
        return int(text)

    def _check_step(self, body: str, step: int) -> None:
        field = self.field
        if step == 1 or (field is not DAY and field.cycle % step == 0):
            return
        if step >= field.cycle:
            self._warn(
                f"the step {step} is longer than the field, so {body.lower()}/{step} is one value only"
            )
        elif field is DAY:
            self._warn(
                f"day steps count from the 1st of each month: {body.lower()}/{step} starts again there, whatever came last"
            )
        else:
            self._warn(
                f"the step {step} does not divide {field.cycle}: {body.lower()}/{step} starts again at the end of the field"
            )

    def _warn(self, message: str) -> None:
        self.warnings.append(f"{self.field.name}: {message}")


_read: dict[tuple[str, str], tuple[FieldValues, tuple[str, ...]]] = {}
_READ_MOST = 4096
"""Fields that expressions with the same text share: of many schedules few differ in all fields."""


def read_field(
    field: Field, text: str, *, column: int, hash_key: str
) -> tuple[FieldValues, tuple[str, ...]]:
    """Return what a field's text means, and sentences about what may not be meant by it.

    Raises:
        CronError: with the column of the term at fault.

    """
    known = _read.get((field.name, text))
    if known is None:
        reader = FieldReader(field, text, column=column, hash_key=hash_key)
        known = (reader.read(), tuple(reader.warnings))
        if not drawn(text):
            if len(_read) >= _READ_MOST:
                _read.clear()
            _read[field.name, text] = known
    return known


def drawn(text: str) -> bool:
    """Tell whether a text may draw a value from the schedule's name."""
    return "~" in text or "H" in text.upper().replace("THU", "")


def _draw(key: str, width: int) -> int:
    """Return a number in [0, width) that depends on ``key`` alone, on every host and version."""
    return number_of(key) % width


def number_of(key: str) -> int:
    """Return a number of 64 bits that depends on ``key`` alone, on every host and version."""
    try:
        # hashlib loads all of OpenSSL: 4 ms, and 3.5 MB of library.
        from _blake2 import blake2b  # noqa: PLC0415
    except ImportError:
        from hashlib import blake2b  # noqa: PLC0415
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
