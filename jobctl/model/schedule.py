"""Schedules: from the text in jobs.toml to rules, and from rules to instants.

A rule names instants; whether one is run, made up for or let go is decided in
:mod:`jobctl.model.catchup`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobctl.model.cron import NICKNAMES, CronError, CronExpression
from jobctl.model.cron_fields import drawn, number_of
from jobctl.model.frozen import Frozen
from jobctl.model.units import format_duration, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

SHORTEST_INTERVAL = 1.0
"""Seconds; ``@every`` refuses less, a loop in the job is the right tool there."""
_BOOT = {
    "@reboot": "once after each boot of the host",
    "@start": "once at each start of the daemon",
}
_AT_EXAMPLE = "2030-12-24T18:00:00+01:00"
_NEAREST_ZONES = 3


class ScheduleError(ValueError):
    """A schedule that cannot be used.

    ``field`` is the cron field's name or ``""``; ``column`` counts from 0 into the schedule's
    text, or is -1 when no place can be named. The message counts from 1, as those of files do.
    """

    def __init__(self, message: str, *, field: str = "", column: int = -1) -> None:
        self.message = message
        self.field = field
        self.column = column
        place = f"{field} field" if field else "schedule"
        where = f"{place} (column {column + 1}): " if column >= 0 else ""
        super().__init__(where + message)


class Rule(Frozen):
    """What names a schedule's instants: one of the four classes below. This one names none.

    ``kind`` is ``cron``, ``@every``, ``@at``, ``@reboot`` or ``@start``; ``text`` is what was
    written; ``warnings`` are sentences about what may not be meant.
    """

    __slots__ = ()

    kind: str
    text: str
    warnings: tuple[str, ...]

    def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
        """Return the first instant strictly after ``after``, in UTC, or None.

        ``anchor`` is the last scheduled instant, or when the schedule was created; only
        ``@every`` counts from it.
        """
        del after, anchor
        return None

    def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
        """Return how many instants lie in (after, until], in time that does not grow with them."""
        del after, until, anchor
        return 0

    def explain(self) -> str:
        """Return one English sentence."""
        return self.text


class CronRule(Rule):
    """A cron expression in a time zone; all of its meaning is in :mod:`jobctl.model.cron`."""

    __slots__ = ("expression", "kind", "text", "warnings", "zone")

    expression: CronExpression
    zone: ZoneInfo

    def __init__(self, expression: CronExpression, zone: ZoneInfo) -> None:
        self._fill(expression, "cron", expression.text, expression.warnings, zone)

    def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
        """Return the first instant strictly after ``after``; the anchor plays no part."""
        del anchor
        return self.expression.next_after(after, self.zone)

    def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
        """Return how many instants lie in (after, until]; the anchor plays no part."""
        del anchor
        return self.expression.count(after, until, self.zone)

    def explain(self) -> str:
        """Return one English sentence that names the zone."""
        return f"{self.expression.explain()}, {self.zone.key} time"


class EveryRule(Rule):
    """A fixed interval from the previous scheduled instant, blind to clocks and zones.

    ``interval`` is whole milliseconds, as seconds.
    """

    __slots__ = ("interval", "kind", "text", "warnings")

    interval: float

    def __init__(self, text: str, *, interval: float) -> None:
        self._fill(round(interval * 1000) / 1000, "@every", text, ())

    @property
    def _step(self) -> timedelta:
        return timedelta(milliseconds=round(self.interval * 1000))

    def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
        """Return the first anchor + k * interval, k >= 1, strictly after ``after``."""
        anchor = anchor.astimezone(UTC)
        try:
            return anchor + max((after - anchor) // self._step + 1, 1) * self._step
        except OverflowError:
            return None

    def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
        """Return how many anchor + k * interval, k >= 1, lie in (after, until]."""
        low = max((after - anchor) // self._step, 0)
        return max((until - anchor) // self._step - low, 0)

    def explain(self) -> str:
        """Return one English sentence."""
        return (
            f"Every {format_duration(self.interval)}, counted from the previous scheduled instant"
        )


class AtRule(Rule):
    """One instant, once."""

    __slots__ = ("instant", "kind", "text", "warnings")

    instant: datetime

    def __init__(self, text: str, *, instant: datetime) -> None:
        self._fill(instant.astimezone(UTC), "@at", text, ())

    def next_after(self, after: datetime, *, anchor: datetime) -> datetime | None:
        """Return the instant if it is still to come; the anchor plays no part."""
        del anchor
        return self.instant if self.instant > after else None

    def count(self, after: datetime, until: datetime, *, anchor: datetime) -> int:
        """Return 1 if the instant lies in (after, until]; the anchor plays no part."""
        del anchor
        return int(after < self.instant <= until)

    def explain(self) -> str:
        """Return one English sentence."""
        return f"Once, at {self.instant.isoformat(sep=' ').removesuffix('+00:00')} UTC"


class BootRule(Rule):
    """``@reboot`` (per boot of the host) or ``@start`` (per start of the daemon): no instants."""

    __slots__ = ("kind", "text", "warnings")

    def __init__(self, kind: str) -> None:
        self._fill(kind, kind, ())

    def explain(self) -> str:
        """Return one English sentence."""
        sentence = _BOOT[self.kind]
        return sentence[0].upper() + sentence[1:]


def parse_rule(text: str, *, timezone: str, hash_key: str = "") -> Rule:
    """Read a cron expression, ``@daily`` and its kin, ``@every``, ``@at``, ``@reboot`` or ``@start``.

    ``hash_key`` (job and host) is what ``~`` and ``H`` draw their values from.

    Raises:
        ScheduleError: the schedule breaks a rule or can never fire, or the zone is not known.

    """
    keyword, rest = [*text.split(maxsplit=1), "", ""][:2]
    keyword, rest = keyword.lower(), rest.rstrip()
    column = len(text) - len(text.lstrip())
    if keyword in _BOOT and not rest:
        return BootRule(keyword)
    if keyword == "@every":
        return _every(text, rest)
    if keyword == "@at":
        return _at(text, rest)
    if keyword.startswith("@") and (rest or keyword not in NICKNAMES):
        known = " ".join([*NICKNAMES, "'@every 10m'", f"'@at {_AT_EXAMPLE}'", *_BOOT])
        raise ScheduleError(f"{text.strip()!r} is not known: use one of {known}", column=column)
    zone = load_zone(timezone)
    try:
        return CronRule(_expression(text, hash_key), zone)
    except CronError as error:
        raise ScheduleError(error.message, field=error.field, column=error.column) from error


_expressions: dict[str, CronExpression] = {}
_EXPRESSIONS_MOST = 4096


def _expression(text: str, hash_key: str) -> CronExpression:
    """Return the expression, the same one for all schedules with this text unless it draws values."""
    known = _expressions.get(text)
    if known is None:
        known = CronExpression.parse(text, hash_key=hash_key)
        if not drawn(text):
            if len(_expressions) >= _EXPRESSIONS_MOST:
                _expressions.clear()
            _expressions[text] = known
    return known


def _every(text: str, rest: str) -> EveryRule:
    column = text.index(rest) if rest else -1
    if not rest:
        raise ScheduleError("@every needs a duration: write for example '@every 10m'")
    try:
        interval = parse_duration(rest)
    except ValueError as error:
        raise ScheduleError(str(error), column=column) from error
    if interval < SHORTEST_INTERVAL:
        raise ScheduleError(f"@every {rest}: the shortest interval is 1s", column=column)
    return EveryRule(text.strip(), interval=interval)


def _at(text: str, rest: str) -> AtRule:
    column = text.index(rest) if rest else -1
    try:
        instant = datetime.fromisoformat(rest.upper()) if _looks_like_rfc3339(rest) else None
    except ValueError as error:
        raise ScheduleError(
            f"@at {rest} is no date and time: {_what_is_wrong(error)}", column=column
        ) from error
    if instant is None:
        raise ScheduleError(
            f"@at needs a date, a time and an offset (RFC 3339): write for example '@at {_AT_EXAMPLE}'",
            column=column,
        )
    if instant.tzinfo is None:
        raise ScheduleError(
            f"@at {rest} has no offset from UTC: end it with Z or one such as +01:00", column=column
        )
    try:
        return AtRule(text.strip(), instant=instant)
    except OverflowError as error:
        raise ScheduleError(f"@at {rest} is out of range", column=column) from error


def _what_is_wrong(error: ValueError) -> str:
    """Return why Python takes no such time, without its own words for an offset."""
    text = str(error)
    return "an offset is less than a day" if "timedelta" in text else text


def _looks_like_rfc3339(text: str) -> bool:
    """Tell whether the fixed part is ``YYYY-MM-DDTHH:MM:SS``; ``fromisoformat`` takes far more."""
    shape = "".join("0" if char in "0123456789" else char for char in text[:19].upper())
    offset = text[19:].lstrip(".0123456789")
    return shape in ("0000-00-00T00:00:00", "0000-00-00 00:00:00") and (
        offset.upper() in ("", "Z")
        or (len(offset) == 6 and offset[0] in "+-" and offset[3] == ":" and offset.isprintable())  # noqa: PLR2004 (+00:00)
    )


def load_zone(name: str) -> ZoneInfo:
    """Return the zone of the given IANA name.

    Raises:
        ScheduleError: there is none; the message has the nearest names.

    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415 (6 ms that only schedules need)

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        # KeyError: not found; ValueError: not a zone's file or a path; OSError: a directory.
        nearest = _nearest_zones(name)
        hint = (
            f"did you mean {' or '.join(nearest)}?"
            if nearest
            else "use a name such as Europe/Berlin"
        )
        raise ScheduleError(f"unknown time zone {name!r}: {hint}") from error


def _nearest_zones(name: str) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 (7 ms, and only for a mistake)
    from zoneinfo import available_timezones  # noqa: PLC0415

    spellings: dict[str, str] = {}
    for zone in sorted(available_timezones(), reverse=True):
        spellings[zone.rpartition("/")[2].lower()] = zone
    for zone in available_timezones():
        spellings[zone.lower()] = zone
    wanted = name.strip().lower().replace(" ", "_")
    close = get_close_matches(wanted, spellings, n=2 * _NEAREST_ZONES, cutoff=0.7)
    return list(dict.fromkeys(spellings[match] for match in close))[:_NEAREST_ZONES]


def forget_zones() -> None:
    """Make :func:`load_zone` read the zone data again: for a reload after an update of it."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415 (6 ms that only schedules need)

    ZoneInfo.clear_cache()


def jitter_offset(seconds: float, *, key: str) -> float:
    """Return an offset in [0, seconds) that depends on ``key`` (job and host) alone."""
    drawn = number_of(key) >> 11
    # Whole milliseconds, as the store keeps instants.
    return (round(seconds * 1000) * drawn >> 53) / 1000


def smallest_gap(rule: Rule) -> float | None:
    """Return the least seconds between two fires of a rule, None if it fires once at most.

    Cron rules are measured on the wall clock; where clocks are set forward, two fires can be
    closer by as much as that.
    """
    if isinstance(rule, EveryRule):
        return rule.interval
    return float(rule.expression.smallest_gap()) if isinstance(rule, CronRule) else None
