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
    return (
        f'{{"n":{number},"o":"{outcome.kind.value}","v":"{verdict}"{_why(outcome)}'
        f"{_place(host, pool)}{_when(outcome)}{_used(outcome)}{_told(outcome)}}}"
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


def _told(outcome: Outcome) -> str:
    return "" if outcome.traceback is None else f',"tb":{dump(outcome.traceback)}'


def _place(host: str, pool: str) -> str:
    known = _places.get((host, pool))
    if known is None:
        _places.clear()
        known = _places[host, pool] = f',"ho":{dump(host)},"po":{dump(pool)}'
    return known


def _when(outcome: Outcome) -> str:
    entry = f',"pi":{outcome.pid}' if outcome.pid else ""
    if outcome.started_at:
        entry += f',"st":{outcome.started_at:.3f}'
    if outcome.finished_at:
        entry += f',"fn":{outcome.finished_at:.3f}'
    if outcome.duration >= LEAST:
        entry += f',"du":{outcome.duration:.4f}'
    return entry


def _used(outcome: Outcome) -> str:
    usage = outcome.usage
    entry = f',"us":{usage.user:.4f}' if usage.user >= LEAST else ""
    if usage.system >= LEAST:
        entry += f',"sy":{usage.system:.4f}'
    if usage.max_rss:
        entry += f',"ms":{usage.max_rss}'
    if usage.read_blocks:
        entry += f',"rb":{usage.read_blocks}'
    if usage.write_blocks:
        entry += f',"wb":{usage.write_blocks}'
    if outcome.log_bytes:
        entry += f',"lb":{outcome.log_bytes}'
    if outcome.log_truncated:
        entry += ',"lt":true'
    return entry
