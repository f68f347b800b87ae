"""Cron expressions: what they mean and when they fire next.

Days: if either day field begins with ``*`` both must match, else either may (crontab(5)).

Clock changes, after Debian's cron(8) made exact. An expression whose minute or hour field begins
with ``*`` follows the wall clock of every real instant: nothing in a gap, both passes of a fold.
Any other is a fixed time: one whose time was skipped by up to three hours fires once, at the
first instant after the gap; one in a repeated hour fires in the first pass only. A jump of more
than three hours is a correction of the clock: neither made up nor suppressed.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from jobctl.model import cron_fields as grammar
from jobctl.model.cron_days import MONTH_DAYS, least_days_apart, month_length, month_shapes
from jobctl.model.cron_fields import CronError, FieldValues, read_field
from jobctl.model.frozen import Frozen
from jobctl.model.zones import DAY, EPOCH, piece_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self
    from zoneinfo import ZoneInfo

__all__ = ["CronError", "CronExpression"]

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
CORRECTION = 3 * 3600
"""Seconds; a longer jump of the wall clock is a correction (cron(8))."""
SEARCH_YEARS = 50
"""29 February on a given weekday can be 40 years away (across 2100); nothing is further."""
_SEARCH_MONTHS = SEARCH_YEARS * 12
_SEARCH_SECONDS = SEARCH_YEARS * 366 * DAY
_FIRST_INSTANT = -62_000_000_000
_LAST_INSTANT = 253_300_000_000
"""Years 5 and 9996: outside, dates overflow."""
_LONGEST_TEXT = 1000
_ORDINAL_1970 = 719_163
_THURSDAY = 4
"""1 January 1970 was a Thursday; weekdays count from Sunday = 0."""
_FIELDS = (
    grammar.SECOND,
    grammar.MINUTE,
    grammar.HOUR,
    grammar.DAY,
    grammar.MONTH,
    grammar.WEEKDAY,
)
_FIVE = 5


class CronExpression(Frozen):
    """One parsed expression: a pure function from (start, zone) to the next instant.

    ``text`` is what was written; ``warnings`` are sentences about what may not be meant;
    ``fields`` are second, minute, hour, day of month, month and day of week; ``fixed`` tells a
    fixed time from one that follows the wall clock.
    """

    __slots__ = ("_first_time", "_months", "_shapes", "fields", "fixed", "text", "warnings")

    text: str
    warnings: tuple[str, ...]
    fields: tuple[FieldValues, ...]
    fixed: bool
    _first_time: int
    _months: int
    _shapes: tuple[int, ...]

    def __init__(
        self, text: str, fields: tuple[FieldValues, ...], *, warnings: tuple[str, ...]
    ) -> None:
        second, minute, hour, day, month, weekday = fields
        first = _lowest(hour.mask) * 3600 + _lowest(minute.mask) * 60 + _lowest(second.mask)
        self._fill(
            first,
            month.mask,
            month_shapes(day, weekday),
            fields,
            not (minute.star or hour.star),
            text,
            warnings,
        )

    @classmethod
    def parse(cls, text: str, *, hash_key: str = "") -> Self:
        """Read five fields, six with the seconds first, or a nickname such as ``@daily``.

        ``~`` and ``H`` draw their values from ``hash_key``, so they stay the same over restarts.

        Raises:
            CronError: the expression breaks a rule, or can never match.

        """
        if len(text) > _LONGEST_TEXT:
            raise CronError(f"longer than {_LONGEST_TEXT} characters")
        words = _split(_expand(text))
        if len(words) == _FIVE:
            words.insert(0, (words[0][0], "0"))
        read = [
            read_field(field, word, column=column, hash_key=hash_key)
            for field, (column, word) in zip(_FIELDS, words, strict=True)
        ]
        fields = tuple(values for values, _ in read)
        warnings = [warning for _, said in read for warning in said]
        warnings += _either_day_warning(fields[3], fields[5])
        expression = cls(text.strip(), fields, warnings=tuple(warnings))
        if not expression._can_match():
            raise CronError(
                f"no month it names has such a day, so {text.strip()!r} would never run",
                field=grammar.DAY.name,
                column=words[3][0],
            )
        return expression

    def explain(self) -> str:
        """Return the expression as one English sentence, without its time zone."""
        from jobctl.model.cron_words import sentence  # noqa: PLC0415 (only people ask)

        return sentence(self.fields)

    def next_after(self, after: datetime, zone: ZoneInfo) -> datetime | None:
        """Return the first instant strictly after ``after``, in UTC.

        None when there is none in the next 50 years, as for a wall time that the zone skips
        every time its date comes round.
        """
        instant = self.next_second(_epoch(after) + 1, zone)
        return None if instant is None else EPOCH + timedelta(seconds=instant)

    def next_second(self, instant: int, zone: ZoneInfo) -> int | None:
        """Return the first fire at or after an instant; both in whole seconds since 1970."""
        limit = min(instant + _SEARCH_SECONDS, _LAST_INSTANT)
        instant = max(instant, _FIRST_INSTANT)
        while instant < limit:
            start, end, offset, before = piece_at(zone, instant)
            first = instant + offset
            if self.fixed and offset != before:
                if instant == start and self._skipped(start + before, first):
                    return instant
                if offset < before <= offset + CORRECTION:
                    first = max(first, start + before)
            wall = self.wall_from(first)
            if wall is None:
                return None
            if wall - offset < end:
                return wall - offset
            # Every wall time until `wall` is known not to match; only a fold less than a day
            # away could step back to one that was not looked at.
            instant = max(end, wall - 2 * DAY) if end - instant > DAY else end
        return None

    def count(self, after: datetime, until: datetime, zone: ZoneInfo) -> int:
        """Return how many instants lie in (after, until], without visiting each."""
        instant = max(_epoch(after) + 1, _FIRST_INSTANT)
        stop = min(_epoch(until) + 1, _LAST_INSTANT)
        total = 0
        while instant < stop:
            start, end, offset, before = piece_at(zone, instant)
            reached = min(end, stop)
            first = instant + offset
            if self.fixed and offset != before:
                if instant == start and self._skipped(start + before, first):
                    # One run with what is due at the landing itself, which is counted below.
                    total += self.wall_from(first) != first
                if offset < before <= offset + CORRECTION:
                    first = max(first, start + before)
            total += self.count_walls(first, reached + offset)
            instant = reached
        return total

    def smallest_gap(self) -> int:
        """Return the least number of seconds between two fires, on the wall clock."""
        span, gaps = 0, []
        for field, unit in zip(self.fields[:3], (1, 60, 3600), strict=True):
            values = field.values()
            steps = [b - a for a, b in pairwise(values)]
            if steps:
                gaps.append(min(steps) * unit - span)
            span += (values[-1] - values[0]) * unit
        return min([*gaps, least_days_apart(self._days, years=SEARCH_YEARS) * DAY - span])

    def _skipped(self, gap: int, landing: int) -> bool:
        """Tell whether a fixed time lies in the wall seconds [gap, landing) that a short jump skipped."""
        if not gap < landing <= gap + CORRECTION:
            return False
        wall = self.wall_from(gap)
        return wall is not None and wall < landing

    def wall_from(self, wall: int) -> int | None:
        """Return the first matching wall second at or after ``wall``, knowing nothing of zones."""
        day, second = divmod(wall, DAY)
        today = date.fromordinal(day + _ORDINAL_1970)
        year, month = today.year, today.month
        day -= today.day - 1  # the 1st of the month
        days = self._days(year, month, day) >> today.day
        if days & 1:
            time = self._time_from(second)
            if time >= 0:
                return wall - second + time
        days = days >> 1 << (today.day + 1)
        for _ in range(_SEARCH_MONTHS):
            if days:
                return (day + _lowest(days) - 1) * DAY + self._first_time
            day += month_length(year, month)
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004
            days = self._days(year, month, day)
        return None

    def _days(self, year: int, month: int, first: int) -> int:
        """Return the matching days of a month as bits; ``first`` is its first day since 1970."""
        if not self._months >> month & 1:
            return 0
        return self._shapes[(month_length(year, month) - 28) * 7 + (first + _THURSDAY) % 7]

    def _time_from(self, second: int) -> int:
        """Return the first matching second of the day at or after ``second``, or -1."""
        seconds, minutes, hours = (field.mask for field in self.fields[:3])
        hour, rest = divmod(second, 3600)
        minute, rest = divmod(rest, 60)
        if hours >> hour & 1:
            if minutes >> minute & 1:
                left = seconds >> rest
                if left:
                    return second + _lowest(left)
            left = minutes >> (minute + 1)
            if left:
                return hour * 3600 + (minute + 1 + _lowest(left)) * 60 + _lowest(seconds)
        left = hours >> (hour + 1)
        if left:
            return (hour + 1 + _lowest(left)) * 3600 + self._first_time % 3600
        return -1

    def count_walls(self, low: int, high: int) -> int:
        """Return how many wall seconds in [low, high) match."""
        if high <= low:
            return 0
        first_day, first_second = divmod(low, DAY)
        last_day, last_second = divmod(high, DAY)
        count = self._count_days(first_day, last_day) * self._times_before(DAY)
        if first_second and self._count_days(first_day, first_day + 1):
            count -= self._times_before(first_second)
        if last_second and self._count_days(last_day, last_day + 1):
            count += self._times_before(last_second)
        return count

    def _count_days(self, low: int, high: int) -> int:
        """Return how many days since 1970 in [low, high) match."""
        count = 0
        while low < high:
            today = date.fromordinal(low + _ORDINAL_1970)
            first = low - today.day + 1
            length = month_length(today.year, today.month)
            days = self._days(today.year, today.month, first) >> today.day
            if high < first + length:
                days &= (1 << (high - low)) - 1
            count += days.bit_count()
            low = first + length
        return count

    def _times_before(self, second: int) -> int:
        """Return how many matching seconds of the day come before ``second``."""
        seconds, minutes, hours = (field.mask for field in self.fields[:3])
        hour, rest = divmod(second, 3600)
        minute, rest = divmod(rest, 60)
        whole_hours = (hours & ((1 << hour) - 1)).bit_count()
        count = whole_hours * minutes.bit_count() * seconds.bit_count()
        if hours >> hour & 1:
            count += (minutes & ((1 << minute) - 1)).bit_count() * seconds.bit_count()
            if minutes >> minute & 1:
                count += (seconds & ((1 << rest) - 1)).bit_count()
        return count

    def _can_match(self) -> bool:
        # In 400 years every month begins on every weekday, February in both its lengths.
        lengths = {MONTH_DAYS[month] for month in range(1, 13) if self._months >> month & 1}
        if self._months >> 2 & 1:
            lengths.add(29)
        return any(any(self._shapes[(n - 28) * 7 : (n - 27) * 7]) for n in lengths)


def _expand(text: str) -> str:
    stripped = text.strip()
    if not stripped.startswith("@"):
        return text
    expansion = NICKNAMES.get(stripped.lower())
    if expansion is None:
        known = " ".join(NICKNAMES)
        raise CronError(
            f"{stripped!r} is not known here: use one of {known}", column=text.index("@")
        )
    return expansion


def _split(text: str) -> list[tuple[int, str]]:
    """Return the words with their columns, five or six of them."""
    for column, char in enumerate(text):
        if not (char.isascii() and (char.isprintable() or char in "\t\r\n")):
            raise CronError(f"unexpected character {char!r}", column=column)
    words: list[tuple[int, str]] = []
    column = 0
    for word in text.split():
        column = text.index(word, column)
        words.append((column, word))
        column += len(word)
    if len(words) in (_FIVE, len(_FIELDS)):
        return words
    if len(words) == len(_FIELDS) + 1:
        raise CronError(
            "seven fields: there is no year field, end the schedule with not_after",
            column=words[6][0],
        )
    place = words[6][0] if len(words) > len(_FIELDS) else -1
    raise CronError(
        f"{grammar.counted(len(words))}: write minute hour day-of-month month day-of-week "
        "(or six fields with the seconds first)",
        column=place,
    )


def _either_day_warning(day: FieldValues, weekday: FieldValues) -> list[str]:
    if day.star or weekday.star:
        return []
    from jobctl.model.cron_words import either_day  # noqa: PLC0415 (only people ask)

    return [either_day(day, weekday)]


def _lowest(bits: int) -> int:
    """Return the index of the lowest set bit."""
    return (bits & -bits).bit_length() - 1


def _epoch(moment: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    since = moment - EPOCH
    return since.days * DAY + since.seconds
