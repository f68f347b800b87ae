"""``calendar``: how many runs start in each minute, drawn so that crowds are seen."""

from __future__ import annotations

import sys

from jobctl.cli import values
from jobctl.cli.table import clean, columns
from jobctl.client import schedules
from jobctl.client.calendar import Calendar
from jobctl.errors import ExitCode, UsageError
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobctl.cli.invocation import Invocation
    from jobctl.model.density import Crowd

MOST_DAYS = 31
GLYPHS = "·░▒▓█"
PLAIN_GLYPHS = ".:+#@"
"""For terminals without UTF-8."""
STYLES = ("", "green", "cyan", "yellow", "red")
MOST_NAMES = 3
NAMES_WIDTH = 46
LABEL = 10
WIDTH = 80
"""Of every line, so that it fits the smallest terminal in use."""


def calendar(
    call: Invocation,
    *,
    days: str | None,
    job: Sequence[str],
    from_: str | None,
    timezone: str | None,
) -> int:
    """Show the density of starts over a day, or over several."""
    number = values.integer("--days", days, least=1) or 1
    if number > MOST_DAYS:
        raise UsageError(f"--days: {number} is more than {MOST_DAYS}")
    zone = schedules.zone_named(timezone or schedules.default_zone(call.session))
    after = call.session.clock.now() if from_ is None else schedules.moment(from_, zone=zone.key)
    drawn = Calendar(call.session, jobs=job, after=after, days=number, zone=zone)
    if call.console.json:
        call.console.document({"calendar": _view(drawn)})
        return ExitCode.OK
    for line in _lines(call, drawn):
        call.console.data(line)
    call.console.flush()
    _advise(call, drawn)
    return ExitCode.OK


def _lines(call: Invocation, drawn: Calendar) -> Iterator[str]:
    first, last = (f"{drawn.local(at):%Y-%m-%d %H:%M}" for at in (drawn.start, drawn.end))
    yield (
        f"{values.counted(drawn.total, 'start')} of {values.counted(len(drawn.entries), 'schedule')}, "
        f"{first} to {last}, {drawn.zone.key}"
    )
    if not drawn.total:
        return
    yield ""
    yield from _picture(call, drawn)
    if drawn.days > 1:
        yield ""
        days = [
            (f"{day.at:%a %Y-%m-%d}", str(day.starts), f"{day.busiest:%H:%M}", str(day.peak))
            for day in drawn.by_day()
        ]
        yield from columns(("DAY", "STARTS", "BUSIEST", "ITS STARTS"), days, right=(1, 3))
    yield ""
    rows = [
        (f"{drawn.local(crowd.at):%a %Y-%m-%d %H:%M}", str(crowd.starts), _names(crowd))
        for crowd in drawn.crowds()
    ]
    yield from columns(("BUSIEST MINUTE", "STARTS", "SCHEDULES"), rows, right=(1,), most=WIDTH)


def _names(crowd: Crowd) -> str:
    """Return as many names as there is room for."""
    for most in range(min(MOST_NAMES, len(crowd.schedules)), 0, -1):
        named = [
            clean(name) if number == 1 else f"{clean(name)} ({number} times)"
            for name, number in crowd.schedules[:most]
        ]
        more = len(crowd.schedules) - most
        text = ", ".join(named) + (f" and {more} more" if more else "")
        if most == 1 or len(text) <= NAMES_WIDTH:
            return text
    return ""


def _picture(call: Invocation, drawn: Calendar) -> Iterator[str]:
    console = call.console
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    glyphs = GLYPHS if utf8 else PLAIN_GLYPHS
    hours = drawn.by_hour()
    bounds = levels(max(max(hour.minutes) for hour in hours))
    yield " " * LABEL + "".join(f":{minute:02}       " for minute in range(0, 60, 10)).rstrip()
    for hour in hours:
        cells = ""
        for count in hour.minutes:
            level = sum(count >= bound for bound in bounds)
            cells += console.style(glyphs[level - 1], STYLES[level - 1]) if level else " "
        starts = str(hour.starts) if hour.starts else ""
        yield f"{hour.label:<{LABEL}}{cells}{starts:>8}".rstrip()
    ends = [*(bound - 1 for bound in bounds[1:]), 0]
    legend = (
        f"{glyph} {low}" + (f"-{high}" if high > low else "" if high else " or more")
        for glyph, low, high in zip(glyphs, bounds, ends, strict=False)
    )
    yield " " * LABEL + "starts in a minute: " + "   ".join(legend)


def levels(peak: int) -> list[int]:
    """Return the least count of each level, at most five of them, evenly on a scale of ratios."""
    bounds = [1]
    for step in range(1, len(GLYPHS)):
        bound = max(bounds[-1] + 1, round(peak ** (step / len(GLYPHS))))
        if bound <= peak:
            bounds.append(bound)
    return bounds


def _advise(call: Invocation, drawn: Calendar) -> None:
    console = call.console
    times: dict[float, list[Crowd]] = {}
    for crowd in drawn.crowds():
        if crowd.jitter:
            times.setdefault(crowd.jitter, []).append(crowd)
    for jitter, found in times.items():
        at = ", ".join(f"{drawn.local(crowd.at):%a %H:%M}" for crowd in found)
        most = max(len(crowd.without_jitter) for crowd in found)
        console.note(
            f"up to {most} schedules without jitter start together at {at}; "
            f'jitter = "{format_duration(jitter)}" would spread them over that time'
        )
    if drawn.uncounted:
        shown = ", ".join(clean(name) for name in drawn.uncounted[:MOST_NAMES])
        more = len(drawn.uncounted) - MOST_NAMES
        rest = f" and {more} more" if more > 0 else ""
        console.note(f"not drawn, as no instant can be told in advance: {shown}{rest}")


def _view(drawn: Calendar) -> dict[str, object]:
    return {
        "from": drawn.local(drawn.start).isoformat(),
        "until": drawn.local(drawn.end).isoformat(),
        "timezone": drawn.zone.key,
        "schedules": len(drawn.entries),
        "starts": drawn.total,
        "hours": [
            {"at": hour.at.isoformat(), "starts": hour.starts, "minutes": hour.minutes}
            for hour in drawn.hours()
        ],
        "busiest": [
            {
                "at": drawn.local(crowd.at).isoformat(),
                "starts": crowd.starts,
                "schedules": dict(crowd.schedules),
                "without_jitter": list(crowd.without_jitter),
                "suggested_jitter": crowd.jitter,
            }
            for crowd in drawn.crowds()
        ],
        "not_drawn": list(drawn.uncounted),
    }
