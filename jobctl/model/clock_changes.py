"""What the changes of a zone's clock do to one cron rule, in plain English.

Only what concerns the rule: a change that skips or repeats none of its times has no note.
"""

from __future__ import annotations

from datetime import timedelta

from jobctl.model.cron import CORRECTION
from jobctl.model.frozen import Frozen
from jobctl.model.zones import EPOCH, piece_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from jobctl.model.schedule import CronRule

_FEW = 3
"""So many times are told one by one, more as the first and the last."""
_LONGEST_WINDOW = 60 * 366 * 86_400
"""Seconds; the search for instants ends after 50 years."""


class ClockNote(Frozen):
    """What one change of the clock does to a rule.

    ``code`` is ``moved`` (skipped times run at the first instant after the gap), ``skipped``
    (nothing runs for them), ``once`` (repeated times run in the first pass only), ``twice`` (in
    both passes), ``lost`` or ``repeated`` (a correction of more than three hours: neither made
    up nor suppressed). ``instant`` is that of the change, in UTC; ``text`` is a sentence.
    """

    __slots__ = ("code", "instant", "text")

    code: str
    instant: datetime
    text: str

    def __init__(self, code: str, instant: datetime, text: str) -> None:
        self._fill(code, instant, text)


class _Change(Frozen):
    """One change of the clock; walls and the instant are whole seconds since 1970."""

    __slots__ = ("after", "before", "instant", "zone")

    instant: int
    before: int
    """The wall clock when it changes."""
    after: int
    """What it is set to."""
    zone: str

    def __init__(self, instant: int, before: int, after: int, zone: str) -> None:
        self._fill(after, before, instant, zone)

    @property
    def how(self) -> str:
        way = "forward" if self.after > self.before else "back"
        target = _time(self.after) if self._same_day else _moment(self.after)
        source = _time(self.before) if self._same_day else _moment(self.before)
        return f"clocks in {self.zone} go {way} from {source} to {target}"

    @property
    def _same_day(self) -> bool:
        return self.before // 86_400 == self.after // 86_400


def clock_notes(rule: CronRule, after: datetime, until: datetime) -> list[ClockNote]:
    """Return what clock changes in (after, until] do to a rule, in order.

    A change before ``after`` whose repeated hour is not yet over counts as well.
    """
    start = int((after - EPOCH).total_seconds())
    end = min(int((until - EPOCH).total_seconds()), start + _LONGEST_WINDOW)
    notes = (_note(rule, change) for change in _changes(rule, start, end))
    return [note for note in notes if note is not None]


def _changes(rule: CronRule, start: int, end: int) -> Iterator[_Change]:
    instant = start
    while instant <= end:
        first, following, offset, before = piece_at(rule.zone, instant)
        if offset != before and start - max(before - offset, 0) < first <= end:
            yield _Change(first, first + before, first + offset, rule.zone.key)
        instant = following


def _note(rule: CronRule, change: _Change) -> ClockNote | None:
    low, high = sorted((change.before, change.after))
    number = rule.expression.count_walls(low, high)
    if not number:
        return None
    forward = change.after > change.before
    code, text = (_gap if forward else _fold)(rule, change, number)
    return ClockNote(code, EPOCH + timedelta(seconds=change.instant), text)


def _gap(rule: CronRule, change: _Change, number: int) -> tuple[str, str]:
    times = _times(rule, change.before, change.after, number)
    lacks = "does not exist" if number == 1 else "do not exist"
    if change.after - change.before > CORRECTION:
        return "lost", f"{times} {lacks} ({change.how}): too far to be made up for"
    if not rule.expression.fixed:
        return "skipped", f"{times} {lacks} ({change.how}): nothing runs then"
    landing = change.after
    same_day = (landing - 1) // 86_400 == change.before // 86_400
    at = _time(landing) if same_day and landing % 86_400 else _moment(landing)
    due = rule.expression.wall_from(landing) == landing
    once = " once" if number > 1 or due else ""
    own = ", with what is due then anyway" if due else ""
    verb = "runs" if number == 1 else "run"
    return "moved", f"{times} {lacks} ({change.how}): {verb}{once} at {at}{own}"


def _fold(rule: CronRule, change: _Change, number: int) -> tuple[str, str]:
    times = _times(rule, change.after, change.before, number)
    comes, runs = ("comes", "runs") if number == 1 else ("come", "run")
    text = f"{times} {comes} twice ({change.how}): {runs}"
    if change.before - change.after > CORRECTION:
        return "repeated", f"{text} both times, as it is too far to be held back"
    if rule.expression.fixed:
        return "once", f"{text} in the first pass only"
    return "twice", f"{text} in both passes"


def _times(rule: CronRule, low: int, high: int, number: int) -> str:
    """Return the matching wall times in [low, high), of which there are ``number``."""
    first = _next(rule, low)
    if number > _FEW:
        last = _last(rule, low, high, number)
        return f"{_moment(first)} to {_like(last, first)} ({number} times)"
    walls = [first]
    while len(walls) < number:
        walls.append(_next(rule, walls[-1] + 1))
    parts = [_moment(first), *(_like(wall, first) for wall in walls[1:])]
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]


def _next(rule: CronRule, wall: int) -> int:
    found = rule.expression.wall_from(wall)
    return wall if found is None else found


def _last(rule: CronRule, low: int, high: int, number: int) -> int:
    """Return the last matching wall time in [low, high), by halving."""
    while high - low > 1:
        middle = (low + high) // 2
        before = rule.expression.count_walls(low, middle)
        if before < number:
            low, number = middle, number - before
        else:
            high = middle
    return low


def _like(wall: int, first: int) -> str:
    """Return the time of a wall clock, with its date if that is another one than ``first`` has."""
    return _time(wall) if wall // 86_400 == first // 86_400 else _moment(wall)


def _moment(wall: int) -> str:
    moment = EPOCH + timedelta(seconds=wall)
    return f"{moment.day} {moment:%B} {moment.year} {_time(wall)}"


def _time(wall: int) -> str:
    return f"{EPOCH + timedelta(seconds=wall):%H:%M}" + (f":{wall % 60:02}" if wall % 60 else "")
