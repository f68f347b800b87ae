"""Orders to runs and to supervisors: revoke, retry, reload, drain, stop."""

from __future__ import annotations

import time

from jobctl.client.supervisors import live_supervisors
from jobctl.errors import ConfigError, NotAcceptedError, TimedOutError, UnreachableError
from jobctl.model.run import LETTERS, RunState
from jobctl.store import membership, queries, transitions
from jobctl.store.failures import LostReplyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobctl.client.open import Session
    from jobctl.client.supervisors import Supervisor

BATCH = 500
POLL_EVERY = 0.1
RELOAD_TIMEOUT = 20.0
RELOAD, REPLACE = "reload", "replace"
"""Messages: read the configuration again; begin anew as the version that is installed now."""


class Revoked:
    """What a revoke did to one run."""

    __slots__ = ("after", "before", "id")

    def __init__(self, run_id: str, before: RunState | None, after: RunState | None) -> None:
        self.id = run_id
        self.before = before
        """``None``: there is no such run."""
        self.after = after

    @property
    def asked(self) -> bool:
        """True when a running attempt was asked to stop and has not stopped yet."""
        return self.after is RunState.RUNNING

    @property
    def was_final(self) -> bool:
        """True when there was nothing left to revoke."""
        return self.before is not None and self.before.final


def revoke(
    session: Session,
    ids: Sequence[str],
    *,
    signal: str | None = None,
    grace: float | None = None,
    kill: bool = True,
) -> list[Revoked]:
    """Revoke runs: waiting ones end at once, of running ones the owner is asked to stop them.

    ``signal`` and ``grace`` (seconds until KILL) override the job's own; without ``kill`` only
    the signal is sent.
    """
    out: list[Revoked] = []
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        call = transitions.revoke(
            session.keys,
            batch,
            signal=signal or "-",
            grace=grace,
            kill=kill,
            seal=session.signing.order,
        )
        for run_id, answer in zip(batch, session.run(call), strict=True):
            before, after, again = [*answer.split(" "), "", ""][:3]
            state = RunState.RETRYING if again else LETTERS.get(before)
            out.append(Revoked(run_id, state, LETTERS.get(after)))
    return out


def send(session: Session, message: str, *, host: str | None = None) -> list[Supervisor]:
    """Put a control message into the mailboxes of all live supervisors, or of those of one host.

    Raises ``UnreachableError`` when there is none to hear it.
    """
    found = live_supervisors(session)
    if host is not None:
        found = [item for item in found if item.host == host]
    if not found:
        where = f" on host {host}" if host is not None else ""
        raise UnreachableError(
            f"no supervisor is running{where} for namespace {session.keys.namespace}; "
            "see `jobctl status`"
        )
    send_to(session, message, found)
    return found


def send_to(session: Session, message: str, supervisors: Sequence[Supervisor]) -> None:
    """Put a control message into the mailboxes of these supervisors."""
    for item in supervisors:
        order = session.signing.order(message, item.id)
        session.run_many(membership.send(session.keys, supervisor=item.id, message=order))


def reload(
    session: Session,
    message: str = RELOAD,
    *,
    host: str | None = None,
    timeout: float = RELOAD_TIMEOUT,
) -> list[Supervisor]:
    """Make supervisors read their configuration again, or replace themselves; return them then.

    Raises ``ConfigError`` with what a supervisor has against its file (it goes on as it was), and
    ``TimedOutError`` when one does not answer within ``timeout`` seconds.
    """
    before = {item.id: item for item in live_supervisors(session)}
    told = send(session, message, host=host)
    deadline = session.clock.monotonic() + timeout
    waiting = {item.id for item in told}
    while waiting:
        if session.clock.monotonic() > deadline:
            raise TimedOutError(
                f"{len(waiting)} of {len(told)} supervisors did not reload within {timeout:g} s; see their logs"
            )
        time.sleep(POLL_EVERY)
        for item in _reachable(session):
            if item.id in waiting and _answered(item, before.get(item.id)):
                waiting.discard(item.id)
    return told


def _reachable(session: Session) -> list[Supervisor]:
    """Return all supervisors; none while a store is away that belongs to one of them."""
    try:
        return live_supervisors(session, stale=True)
    except (UnreachableError, LostReplyError):
        if session.settings.redis is not None:
            raise
        return []


def _answered(now: Supervisor, before: Supervisor | None) -> bool:
    """Return whether a supervisor did what it was told; raise what it has against it."""
    if before is None:
        return True
    if now.reloads != before.reloads and now.reload_error:
        raise ConfigError(f"{now.host} goes on as it was: {now.reload_error}")
    return now.reloads != before.reloads or now.started_at != before.started_at


def await_gone(
    session: Session,
    gone: Sequence[Supervisor],
    *,
    timeout: float | None,
    on_look: Callable[[list[Supervisor]], None],
) -> None:
    """Return when none of these supervisors is up any more.

    ``on_look`` gets those that still are. With an embedded store, the end of the store is the
    end of its supervisor. Raises ``TimedOutError`` after ``timeout`` seconds, and
    ``NotAcceptedError`` when one was lost instead of leaving.
    """
    clock = session.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    left = list(gone)
    while True:
        try:
            listed = set(session.run(queries.supervisors(session.keys)))
            stale = {item.id for item in live_supervisors(session, stale=True) if item.stale}
        except (UnreachableError, LostReplyError):
            if session.settings.redis is None:
                return
            raise
        left = [item for item in left if item.id in listed]
        if not left:
            return
        lost = [item for item in left if item.id in stale]
        if lost:
            names = ", ".join(f"{item.host} (pid {item.pid})" for item in lost)
            raise NotAcceptedError(f"supervisor {names} has stopped answering; see its log")
        on_look(left)
        if deadline is not None and clock.monotonic() >= deadline:
            names = ", ".join(item.host for item in left)
            raise TimedOutError(f"still at work: {names}; it ends when its runs have ended")
        time.sleep(POLL_EVERY)
