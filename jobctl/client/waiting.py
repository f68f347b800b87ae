"""Wait until runs are final, and what their end means as an exit code."""

from __future__ import annotations

from jobctl.client.steps import outlast
from jobctl.errors import ExitCode, NotAcceptedError, TimedOutError
from jobctl.model.run import FINAL_LETTERS, RunState
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jobctl.client.open import Session
    from jobctl.client.steps import Steps
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


class Wait:
    """A wait for several runs; ``left`` are those that are not final yet."""

    def __init__(
        self,
        session: Session,
        ids: Sequence[str],
        *,
        timeout: float | None = None,
        on_look: Callable[[list[Progress]], None] | None = None,
    ) -> None:
        """``timeout`` is in seconds from now; ``on_look`` is called after every look at what is left."""
        self.left = list(ids)
        self._session = session
        self._on_look = on_look
        self._deadline = None if timeout is None else session.clock.monotonic() + timeout
        self._pause = QUICKEST

    def ended(self) -> Steps[list[Run | None]]:
        """Wait until any run is final and return those that are; ``None`` for one that is forgotten.

        Raises ``TimedOutError`` when the time is up; the runs go on.
        """
        while True:
            states = yield from self._look()
            ended = [item.id for item in states if item.letter in FINAL_LETTERS or not item.letter]
            self.left = [run_id for run_id in self.left if run_id not in ended]
            if self._on_look is not None:
                self._on_look([item for item in states if item.id in self.left])
            if ended:
                self._pause = QUICKEST
                calls = [queries.run(self._session.keys, run_id) for run_id in ended]
                return (yield from outlast(self._session, calls, until=self._deadline))
            yield from self._rest()

    def _rest(self) -> Steps[None]:
        if self._deadline is None:
            yield self._pause
        else:
            left = self._deadline - self._session.clock.monotonic()
            if left <= 0:
                raise TimedOutError(_timed_out(self.left), ids=self.left)
            yield min(self._pause, left)
        self._pause = min(self._pause * GROWTH, SLOWEST)

    def _look(self) -> Steps[list[Progress]]:
        """Read the states of runs; a store that is away for a moment is waited for."""
        calls = [queries.state(self._session.keys, run_id) for run_id in self.left]
        answers = yield from outlast(self._session, calls, until=self._deadline)
        return [
            Progress(run_id, letter or "", progress, attempt)
            for run_id, (letter, progress, attempt) in zip(self.left, answers, strict=True)
        ]


def wait_for(
    session: Session,
    ids: Sequence[str],
    *,
    timeout: float | None = None,
    on_look: Callable[[list[Progress]], None] | None = None,
) -> Iterator[Run | None]:
    """Yield each run as it becomes final; see :class:`Wait`."""
    wait = Wait(session, ids, timeout=timeout, on_look=on_look)
    while wait.left:
        yield from session.carry_out(wait.ended())


def _timed_out(left: Sequence[str]) -> str:
    if len(left) == 1:
        return f"run {left[0]} has not ended; it goes on"
    return f"{len(left)} runs have not ended: {', '.join(left[:5])}; they go on"


def exit_code(run: Run | None) -> int:
    """Return what a command that stands for this run exits with."""
    if run is None:
        return ExitCode.NOT_FOUND
    match run.state:
        case RunState.SUCCEEDED:
            return ExitCode.OK
        case RunState.SKIPPED:
            # By its own wish is fine: a skip code, only_if, `raise Skip`. For another run's sake it
            # was not run.
            own = run.reason in ("code", "condition", "exception")
            return ExitCode.OK if own else ExitCode.JOB_FAILED
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
