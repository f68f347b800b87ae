"""Wait until runs are final, and what their end means as an exit code."""

from __future__ import annotations

import time

from jobctl.errors import ExitCode, NotAcceptedError, TimedOutError
from jobctl.model.run import FINAL_LETTERS, RunState
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobctl.client.open import Session
    from jobctl.model.run import Run

QUICKEST = 0.01
SLOWEST = 0.2
"""Seconds between two looks: short while a run may end at once, longer as it goes on."""
GROWTH = 1.2
SIGNALLED = 128
"""What shells add to a signal's number."""


class Progress:
    """What a waiting caller may show of one run."""

    __slots__ = ("attempt", "id", "letter", "progress")

    def __init__(self, run_id: str, letter: str, progress: str | None, attempt: int) -> None:
        self.id = run_id
        self.letter = letter
        self.progress = progress
        """JSON text."""
        self.attempt = attempt


def wait_for(
    session: Session,
    ids: Sequence[str],
    *,
    timeout: float | None = None,
    on_look: Callable[[list[Progress]], None] | None = None,
) -> Iterator[Run | None]:
    """Yield each run as it becomes final; ``None`` stands for one that was forgotten meanwhile.

    ``on_look`` is called after every look at the unfinished ones.

    Raises ``TimedOutError`` after ``timeout`` seconds; the runs go on.
    """
    clock = session.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    left = list(ids)
    pause = QUICKEST
    while left:
        states = _look(session, left, deadline)
        ended = [item.id for item in states if item.letter in FINAL_LETTERS or not item.letter]
        left = [run_id for run_id in left if run_id not in ended]
        if on_look is not None:
            on_look([item for item in states if item.id in left])
        yield from session.outlast(
            [queries.run(session.keys, run_id) for run_id in ended], until=deadline
        )
        if ended:
            pause = QUICKEST
        if not left:
            return
        now = clock.monotonic()
        if deadline is not None and now >= deadline:
            raise TimedOutError(_timed_out(left))
        time.sleep(pause if deadline is None else min(pause, max(0.0, deadline - now)))
        pause = min(pause * GROWTH, SLOWEST)


def _timed_out(left: Sequence[str]) -> str:
    if len(left) == 1:
        return f"run {left[0]} has not ended; it goes on"
    return f"{len(left)} runs have not ended: {', '.join(left[:5])}; they go on"


def _look(session: Session, ids: Sequence[str], until: float | None) -> list[Progress]:
    """Read the states of runs; a store that is away for a moment is waited for."""
    calls = [queries.state(session.keys, run_id) for run_id in ids]
    return [
        Progress(run_id, letter or "", progress, attempt)
        for run_id, (letter, progress, attempt) in zip(
            ids, session.outlast(calls, until=until), strict=True
        )
    ]


def exit_code(run: Run | None) -> int:
    """Return what a command that stands for this run exits with."""
    if run is None:
        return ExitCode.NOT_FOUND
    match run.state:
        case RunState.SUCCEEDED:
            return ExitCode.OK
        case RunState.SKIPPED:
            # By its own wish (a skip code, only_if) is fine; for another run's sake it was not run.
            return ExitCode.OK if run.reason in ("code", "condition") else ExitCode.JOB_FAILED
        case RunState.FAILED:
            return _failed_code(run)
        case _:
            return ExitCode.JOB_FAILED


def _failed_code(run: Run) -> int:
    if run.reason == "timeout":
        return ExitCode.TIMED_OUT
    if run.exit_code:
        return run.exit_code
    if run.signal:
        return SIGNALLED + run.signal
    return ExitCode.JOB_FAILED


def require_accepted(kind: str, run_id: str) -> None:
    """Raise ``NotAcceptedError`` for a run that was not taken (answers ``full`` and ``skip``)."""
    if kind == "full":
        raise NotAcceptedError(f"run {run_id} was not accepted: its queue is full; try again later")
