"""Use cases without I/O: generators that say what to send and how long to pause.

A use case yields either calls to the store, and is given their answers (or has their error raised
where it yields), or a number of seconds, and goes on after them. What it returns is its result.
The command line and the Python client carry the same generators out, one by blocking and one in
an event loop, so that nothing is written twice.
"""

from __future__ import annotations

from jobctl.errors import JobctlError, UnreachableError
from jobctl.store.failures import LostReplyError, StoreBusyError, unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any, TypeVar

    from jobctl.client.open import Session
    from jobctl.client.patience import Patience
    from jobctl.clock import Clock
    from jobctl.store.calls import Call

    T = TypeVar("T")
    Step = Sequence[Call[Any]] | float
    Steps = Generator[Step, Any, T]

OUTAGE = 60.0
"""Seconds that who follows a run waits for a store that is away."""
OUTAGE_PAUSE = 0.2
LEAST = 0.2
"""Seconds that a store has for an answer, however little time is left."""
AWAY = (UnreachableError, LostReplyError, StoreBusyError)
"""What a store that cannot be used now raises."""


class Hurried(list):  # type: ignore[type-arg]  # of calls
    """Calls whose answers are of no use after ``until``, by the monotonic clock."""

    __slots__ = ("until",)

    def __init__(self, calls: Sequence[Call[Any]], until: float) -> None:
        super().__init__(calls)
        self.until = until


def seconds_left(calls: Sequence[Call[Any]], clock: Clock) -> float | None:
    """Return how long the answers to calls may be waited for; ``None``: as long as usual."""
    if not isinstance(calls, Hurried):
        return None
    return max(calls.until - clock.monotonic(), LEAST)


def carry_out(
    steps: Steps[T],
    *,
    send: Callable[[Sequence[Call[Any]]], list[Any]],
    pause: Callable[[float], None],
) -> T:
    """Return the result of ``steps``; raises what they let through."""
    try:
        step = next(steps)
        while True:
            try:
                answer = pause(step) if isinstance(step, float) else send(step)  # type: ignore[func-returns-value]
            except JobctlError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the generator returns
    finally:
        steps.close()


async def carry_out_async(
    steps: Steps[T],
    *,
    send: Callable[[Sequence[Call[Any]]], Awaitable[list[Any]]],
    pause: Callable[[float], Awaitable[None]],
) -> T:
    """Return the result of ``steps``, as :func:`carry_out` does."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await (pause(step) if isinstance(step, float) else send(step))
            except JobctlError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the generator returns
    finally:
        steps.close()


def patiently(
    session: Session,
    calls: Sequence[Call[Any]],
    *,
    patience: Patience | None = None,
    failed: JobctlError | None = None,
    until: float | None = None,
) -> Steps[list[Any]]:
    """Send calls, again for a while when the store is away for a moment, or refuses for now.

    Only calls that may be repeated; with an embedded store only while its daemon is up.
    ``patience`` tells afterwards what happened. ``failed`` is how a try before this ended.
    After ``until``, by the monotonic clock, no answer is waited for.
    """
    calls = calls if until is None else Hurried(calls, until)
    patience = patience or session.patience()
    while True:
        try:
            if failed is not None:
                error, failed = failed, None
                raise error
            return (yield calls)  # type: ignore[no-any-return]  # the answers
        except AWAY as error:
            patience.failed(error)
            again = all(call.idempotent for call in calls) and session.comes_back(error, patience)
            late = until is not None and session.clock.monotonic() >= until
            pause = patience.pause() if again and not late else None
            if pause is None and isinstance(error, UnreachableError):
                raise session.unreachable(error) from error
            if pause is None and isinstance(error, LostReplyError) and all(c.reads for c in calls):
                raise unread(error) from error
            if pause is None:
                raise
        yield pause


def outlast(
    session: Session, calls: Sequence[Call[Any]], *, until: float | None = None
) -> Steps[list[Any]]:
    """Send calls that only read, over a longer outage: for who follows a run to its end.

    Gives up after :data:`OUTAGE` seconds, or at ``until`` by the monotonic clock if that is
    sooner, with the error of the last try.
    """
    deadline: float | None = None
    while True:
        try:
            return (yield from patiently(session, calls, until=until))
        except AWAY:
            now = session.clock.monotonic()
            deadline = now + OUTAGE if deadline is None else deadline
            if now >= deadline or (until is not None and now >= until):
                raise
        yield OUTAGE_PAUSE
