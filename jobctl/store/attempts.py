"""The history entry of an attempt, as JSON put together by hand: it is written for every run."""

from __future__ import annotations

from jobctl.store.compact import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.run import Outcome

LEAST = 0.00005
"""Seconds below which a duration is none: four digits are kept."""
_places: dict[tuple[str, str], str] = {}
"""The words for the host and the pool that this process is."""


def encode_attempt(*, number: int, outcome: Outcome, verdict: str, host: str, pool: str) -> str:
    """Return the history entry of one attempt; ``verdict`` is what the run became.

    What is nothing is left out. :func:`jobctl.store.codec.decode_attempt` reads it.
    """
    usage = outcome.usage
    used = usage.user, usage.system, usage.max_rss, usage.read_blocks, usage.write_blocks
    when = outcome.started_at, outcome.finished_at, outcome.duration
    return (
        f'{{"n":{number},"o":"{outcome.kind.value}","v":"{verdict}"{_why(outcome)}'
        f"{_place(host, pool)}{_when(outcome.pid, *when)}{_used(*used)}{_said(outcome)}}}"
    )


def encode_success(
    *,
    pid: int,
    started_at: float,
    duration: float,
    used: tuple[float, float, int, int, int],
    host: str,
    pool: str,
) -> str:
    """Return the history entry of a first attempt that succeeded and printed nothing.

    When it ended is left out: its start and its duration say that.
    ``used`` are the values of a :class:`jobctl.model.run.Usage`, in their order.
    """
    return (
        f'{{"n":1,"o":"succeeded","v":"k"{_place(host, pool)}'
        f"{_when(pid, started_at, 0.0, duration)}{_used(*used)}}}"
    )


def _why(outcome: Outcome) -> str:
    entry = ""
    if outcome.reason:
        entry += f',"rs":"{outcome.reason.value}"'
    if outcome.exit_code:
        entry += f',"rc":{outcome.exit_code}'
    if outcome.signal:
        entry += f',"sg":{outcome.signal}'
    if outcome.error is not None:
        entry += f',"er":{dump(outcome.error)}'
    return entry


def _place(host: str, pool: str) -> str:
    known = _places.get((host, pool))
    if known is None:
        _places.clear()
        known = _places[host, pool] = f',"ho":{dump(host)},"po":{dump(pool)}'
    return known


def _when(pid: int | None, started_at: float, finished_at: float, duration: float) -> str:
    entry = f',"pi":{pid}' if pid else ""
    if started_at:
        entry += f',"st":{started_at:.3f}'
    if finished_at:
        entry += f',"fn":{finished_at:.3f}'
    if duration >= LEAST:
        entry += f',"du":{duration:.4f}'
    return entry


def _used(user: float, system: float, max_rss: int, read_blocks: int, write_blocks: int) -> str:
    entry = f',"us":{user:.4f}' if user >= LEAST else ""
    if system >= LEAST:
        entry += f',"sy":{system:.4f}'
    if max_rss:
        entry += f',"ms":{max_rss}'
    if read_blocks:
        entry += f',"rb":{read_blocks}'
    if write_blocks:
        entry += f',"wb":{write_blocks}'
    return entry


def _said(outcome: Outcome) -> str:
    entry = f',"lb":{outcome.log_bytes}' if outcome.log_bytes else ""
    if outcome.log_truncated:
        entry += ',"lt":true'
    return entry if outcome.traceback is None else f'{entry},"tb":{dump(outcome.traceback)}'
