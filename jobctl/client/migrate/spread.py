"""How far the start of a job may be spread."""

from __future__ import annotations

from jobctl.model.schedule import ScheduleError, parse_rule, smallest_gap
from jobctl.model.units import format_duration


def fitting_jitter(schedule: str, seconds: float) -> tuple[str, str]:
    """Return ``jitter`` for a schedule, and a sentence if it had to be made shorter.

    It has to be shorter than the time between two instants. An empty text: there is no room.
    """
    try:
        gap = smallest_gap(parse_rule(schedule, timezone="UTC"))
    except ScheduleError:
        gap = None
    if gap is None and schedule.startswith("@"):
        return format_duration(seconds), ""
    if gap is None or seconds < gap:
        return format_duration(seconds), ""
    room = gap - 1
    if room <= 0:
        return "", f"no room to spread it: {schedule!r} fires every {format_duration(gap)}"
    return (
        format_duration(room),
        f"shortened to {format_duration(room)}, as {schedule!r} fires every {format_duration(gap)}",
    )
