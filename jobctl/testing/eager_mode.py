"""Eager mode: clients call the functions of jobs at once, in this process, without a store.

Clients and handles are the usual ones, also those made before. In place of what they would send,
their questions are answered from memory; everything else, from the checks of arguments to the error
that a failed run raises, is the code that always does it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from jobctl.api import aio
from jobctl.api import client as blocking
from jobctl.api.operations import Operations
from jobctl.api.options import flag, signal_name
from jobctl.client import logs, plan, queues
from jobctl.client.changes import Changes, Event
from jobctl.client.open import Session
from jobctl.client.views import loads
from jobctl.clock import SYSTEM_CLOCK
from jobctl.errors import NotFoundError, TimedOutError
from jobctl.testing.clock import FakeClock
from jobctl.testing.eager_runs import EagerError, EagerRuns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobctl.client.steps import Steps
    from jobctl.model.run import Run
    from jobctl.store.transitions import Answer

_active: list[Eager] = []


class Eager:
    """What :func:`eager` yields: the runs that were submitted meanwhile."""

    def __init__(self, runs: EagerRuns) -> None:
        self._runs = runs

    def __len__(self) -> int:
        return len(self._runs.held)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __bool__(self) -> bool:
        return True  # it is there, whatever was submitted

    @property
    def runs(self) -> list[Run]:
        """The records of all runs, in the order they were submitted."""
        return [held.run for held in self._runs.held.values()]

    def of(self, job: str) -> list[Run]:
        """Return the records of the runs of one job; ``run.request.kwargs`` are its arguments."""
        return [run for run in self.runs if run.job == job]

    def run_pending(self) -> list[Run]:
        """Make the attempts that ``hold=True`` has held so far; return the records of those runs."""
        return self._runs.run_pending()


@contextlib.contextmanager
def eager(
    *,
    clock: FakeClock | None = None,
    schedules: bool | str | os.PathLike[str] = False,
    hold: bool = False,
    raise_errors: bool = False,
) -> Iterator[Eager]:
    """Have every client of this process call the functions of jobs at once, without a store.

    Arguments and results are written as JSON and read again, and checked, as always. A run has
    ended when ``submit`` returns, with all its attempts: nobody waits for ``_in``, ``_at`` and
    delays of retries. With a ``clock`` these wait until it is moved, and with ``schedules=True``,
    or the path of a jobs.toml, moving it also starts the runs of schedules. With ``hold`` runs stay
    queued until ``run_pending()``. With ``raise_errors`` a run that failed raises what its function
    raised from ``submit`` itself.

    Commands are refused with ``EagerError``, and left out where they are hooks; ``interpreter`` and
    users are not looked at, ``overlap`` and limits have no effect, mails and pings are left out.
    Whatever a function raises is the end of its attempt, as in a daemon, but for KeyboardInterrupt,
    which may be yours, and ``pytest.fail`` and ``skip``: they leave ``submit``.
    ``timeout`` and ``soft_timeout`` are kept where the main thread submits and no event loop runs.
    """
    if _active:
        raise EagerError("eager mode is on already; it cannot be nested")
    if clock is not None and not isinstance(clock, FakeClock):
        raise EagerError(f"clock: {clock!r} is none that can be moved; pass FakeClock(…)")
    runs = EagerRuns(clock=clock or SYSTEM_CLOCK, moved=clock, hold=hold, raise_errors=raise_errors)
    found = Eager(runs)
    with contextlib.ExitStack() as undone:
        if clock is not None:
            session = _scheduling(schedules)
            undone.callback(clock.watch(lambda target: runs.pass_by(target, schedules=session)))
        elif schedules:
            raise EagerError("schedules need a clock that can be moved: eager(clock=FakeClock(…))")
        _active.append(found)
        undone.callback(_active.clear)
        for owner, name, stand_in in STAND_INS:
            undone.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, stand_in)
        yield found


def _scheduling(schedules: bool | str | os.PathLike[str]) -> Session | None:  # noqa: FBT001 - as given
    if schedules is False:
        return None
    return Session.open(None if schedules is True else str(schedules))


def _runs() -> EagerRuns:
    return _active[0]._runs  # noqa: SLF001 - its own


# What stands in for everything that asks the store; each has the signature of what it replaces.


def _submit_now(
    self: Operations, job: object, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[str, str]:
    return self.session.carry_out(self.submit(job, args, kwargs))


def _send(
    session: Session, ready: Sequence[plan.Ready], *, tried: object = None
) -> Steps[list[Answer]]:
    del tried
    yield from ()
    return [_runs().submit(session, one) for one in ready]


def _record(_self: Operations, run_id: str, **_: object) -> Steps[Run]:
    yield from ()
    return _runs().find(run_id).run


def _wait(_self: Operations, run_id: str, *, timeout: float | None, **_: object) -> Steps[Run]:
    del timeout
    yield from ()
    return _ended(run_id)


def _progress(_self: Operations, run_id: str, **_: object) -> Steps[object]:
    yield from ()
    return loads(_runs().find(run_id).run.progress)


def _revoke(
    _self: Operations, ids: Sequence[str], *, signal: object, kill: object, **_: object
) -> Steps[dict[str, bool]]:
    signal_name(signal), flag("kill", kill)
    yield from ()
    return {run_id: _runs().revoke(run_id) for run_id in ids}


def _more(changes: Any) -> Steps[list[Event]]:  # noqa: ANN401 - its private parts are asked
    yield from ()
    run = _ended(changes._id)  # noqa: SLF001 - it stands in for its own method
    changes.ended = True
    progress = loads(run.progress)
    return [Event(run.id, kind="state", state=run.state, attempt=run.attempt, progress=progress)]


def _read(
    _session: Session, run: Run, *, attempt: int | None, lines: int | None
) -> Iterator[bytes]:
    yield _output(run.id, attempt, lines).encode()


def _more_output(follower: Any) -> Steps[bytes]:  # noqa: ANN401 - its private parts are asked
    yield from ()
    last = _ended(follower.id).attempt
    while follower._attempt < last:  # noqa: SLF001 - it stands in for its own method
        follower._attempt += 1  # noqa: SLF001 - same
        output = _output(follower.id, follower._attempt, None)  # noqa: SLF001 - same
        if output:
            return output.encode()
    return b""


def _taken_from(_session: Session) -> Steps[set[str]]:
    yield from ()
    return set()


def _resolve(_session: Session, word: str) -> str:
    return _runs().resolve(word)


STAND_INS: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (Operations, "submit_now", _submit_now),
    (plan, "send", _send),
    (Operations, "record", _record),
    (Operations, "wait", _wait),
    (Operations, "progress", _progress),
    (Operations, "revoke", _revoke),
    (Changes, "more", _more),
    (logs, "read", _read),
    (logs.Follower, "more", _more_output),
    (queues, "taken_from", _taken_from),
    (blocking, "resolve", _resolve),
    (aio, "resolve", _resolve),
)
"""Owner, name, and what takes its place."""


def _ended(run_id: str) -> Run:
    runs = _runs()
    held = runs.find(run_id)
    if not held.run.state.final:
        raise TimedOutError(
            f"run {run_id} of {held.run.job} has not ended: {runs.stuck(held)}", ids=[run_id]
        )
    return held.run


def _output(run_id: str, attempt: int | None, lines: int | None) -> str:
    outputs = _runs().find(run_id).outputs
    number = len(outputs) if attempt is None else attempt
    if number == 0:
        return ""
    if not 0 < number <= len(outputs):
        raise NotFoundError(f"run {run_id} has no attempt {number}; it made {len(outputs)}")
    text = outputs[number - 1]
    return (
        text if lines is None else "".join(text.splitlines(keepends=True)[-lines:] if lines else "")
    )
