"""Values as people read them: ages, instants, durations, states, sizes."""

from __future__ import annotations

from datetime import UTC, datetime

from jobctl.client.views import loads
from jobctl.model.run import RunState
from jobctl.model.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import tzinfo

    from jobctl.cli.console import Console
    from jobctl.client.open import Session
    from jobctl.model.run import Run

STATE_STYLES = {
    RunState.SUCCEEDED: "green",
    RunState.FAILED: "red",
    RunState.EXPIRED: "red",
    RunState.REVOKED: "yellow",
    RunState.SKIPPED: "yellow",
    RunState.RUNNING: "cyan",
    RunState.RETRYING: "yellow",
}
NOTHING = "-"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def state_style(word: str) -> str:
    """Return the style of a state's name; empty for one that has none."""
    return STATE_STYLES.get(RunState(word), "") if word in set(RunState) else ""


def short(seconds: float | None) -> str:
    """Return a duration in at most two units: ``1.2s``, ``3m20s``, ``5h``, ``2d4h``."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{short(-seconds)}"
    if seconds < 10:  # noqa: PLR2004 (where a tenth matters)
        return f"{seconds:.1f}s" if seconds >= 0.95 else f"{seconds * 1000:.0f}ms"  # noqa: PLR2004
    whole = round(seconds)
    for unit, name, part, part_name in (
        (_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "m"), (_MINUTE, "m", 1, "s"),
    ):  # fmt: skip
        if whole >= unit:
            count, rest = divmod(whole, unit)
            rest //= part
            return f"{count}{name}" + (f"{rest}{part_name}" if rest else "")
    return f"{whole}s"


def zone_of(session: Session) -> tzinfo | None:
    """Return the zone of what is shown, that of words without an offset: ``None`` is the host's."""
    name = session.settings.timezone
    if not name:
        return None
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def clock_time(seconds: float | None, *, zone: tzinfo | None) -> str:
    """Return an instant in ``zone``, see :func:`zone_of`, to the second."""
    if seconds is None:
        return NOTHING
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def full_time(moment: datetime) -> str:
    """Return an instant with its offset, which also tells daylight saving time."""
    return moment.isoformat(sep=" ", timespec="seconds")


def ending(run: Run) -> str:
    """Return how a run ended, in a few words: ``exit 3``, ``signal 9``, ``timeout``."""
    if run.exit_code not in (None, 0):
        code = f"exit {run.exit_code}"
    elif run.signal:
        code = f"signal {run.signal}"
    else:
        code = ""
    if run.reason in (None, "exit", "signal"):
        return code or (run.reason or NOTHING)
    return f"{run.reason}, {code}" if code else str(run.reason)


def elapsed(run: Run, now: float) -> float | None:
    """Return how long a run took, or has taken so far; seconds."""
    if run.state is RunState.RUNNING and run.started_at is not None:
        return max(0.0, now - run.started_at)
    return run.duration


def describe_progress(run: Run) -> str:
    """Return how far a run says it is, ``12.5% copying``; "" when it has not said so."""
    progress = loads(run.progress)
    if not isinstance(progress, dict):
        return ""
    percent = progress.get("percent")
    share = round(percent, 1) if isinstance(percent, int | float) else 0.0
    return f"{share:g}% {progress.get('message') or ''}".rstrip()


def describe_end(run: Run) -> str:
    """Return one line for a finished run."""
    text = f"{run.id} {run.state.value}"
    how = ending(run)
    if run.state is not RunState.SUCCEEDED and how != NOTHING:
        text += f" ({how})"
    if run.duration is not None:
        text += f" after {format_duration(round(run.duration, 3 if run.duration < 10 else 0))}"  # noqa: PLR2004 (where a tenth matters)
    if run.attempt > 1:
        text += f", attempt {run.attempt}"
    return text


def painted(console: Console, run: Run) -> str:
    """Return :func:`describe_end` with the state coloured."""
    text = describe_end(run)
    return text.replace(
        run.state.value, console.style(run.state.value, STATE_STYLES.get(run.state, "bold")), 1
    )
