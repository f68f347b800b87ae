"""What happens to one run, as it happens, until it is final."""

from __future__ import annotations

from jobctl.client.forgotten import forgotten
from jobctl.client.steps import outlast
from jobctl.client.views import loads
from jobctl.client.waiting import GROWTH, QUICKEST, SLOWEST
from jobctl.errors import TimedOutError
from jobctl.model.run import FINAL_LETTERS, LETTERS, RunState
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.steps import Steps


class Event:
    """A change that was seen: of the state or the attempt, or of the progress."""

    __slots__ = ("attempt", "id", "kind", "progress", "state")

    def __init__(
        self, run_id: str, *, kind: str, state: RunState, attempt: int, progress: object
    ) -> None:
        self.id = run_id
        self.kind = kind
        """``state`` or ``progress``."""
        self.state = state
        self.attempt = attempt
        """Attempts started so far."""
        self.progress = progress
        """``{"percent": …, "message": …}`` as last reported, or ``None``."""

    def __repr__(self) -> str:
        more = f", {self.progress!r}" if self.kind == "progress" else ""
        return f"Event({self.id}, {self.kind}, {self.state.value}, attempt {self.attempt}{more})"


class Changes:
    """A look-out for changes of one run; what passes between two looks is not seen."""

    def __init__(
        self, session: Session, run_id: str, *, timeout: float | None = None, job: str = ""
    ) -> None:
        """``timeout`` is in seconds from now; ``job`` is that of a run that is known to have been."""
        self.ended = False
        """True once the run is final: then there is nothing more to come."""
        self._session = session
        self._id = run_id
        self._job = job
        self._timeout = timeout
        clock = session.clock
        self._deadline = None if timeout is None else clock.monotonic() + timeout
        self._seen: tuple[RunState | None, int, str | None] = (None, 0, None)
        self._pause = QUICKEST

    def more(self) -> Steps[list[Event]]:
        """Wait for a change and return what changed.

        Raises ``NoSuchRun`` for a run that is not known, ``TimedOutError`` when the time is up.
        """
        while True:
            calls = [queries.state(self._session.keys, self._id)]
            ((letter, progress, attempt),) = yield from outlast(
                self._session, calls, until=self._deadline
            )
            if letter is None:
                raise (yield from forgotten(self._session, self._id, job=self._job))
            found = self._compare(letter, progress, attempt)
            if found:
                self._pause = QUICKEST
                return found
            if self._deadline is not None and self._session.clock.monotonic() >= self._deadline:
                raise TimedOutError(f"run {self._id} has not ended; it goes on", ids=[self._id])
            yield self._pause
            self._pause = min(self._pause * GROWTH, SLOWEST)

    def _compare(self, letter: str, progress: str | None, attempt: int) -> list[Event]:
        state = RunState.RETRYING if letter == "d" and attempt else LETTERS[letter]
        before, self._seen = self._seen, (state, attempt, progress)
        self.ended = letter in FINAL_LETTERS
        kinds = []
        if progress != before[2] and progress is not None:
            kinds.append("progress")
        if before[:2] != (state, attempt):
            # An attempt begins before it tells how far it is, and its progress led to its end.
            begins = before[0] is None or state is RunState.RUNNING
            kinds.insert(0 if begins else len(kinds), "state")
        return [
            Event(self._id, kind=kind, state=state, attempt=attempt, progress=loads(progress))
            for kind in kinds
        ]
