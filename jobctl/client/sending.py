"""Requests on their way to the store: what it answered, and what is done when it does not.

A command waits a moment for a store that is away. Then it says which of two things is true:
"not accepted", when nothing can have arrived, or that nobody knows, when something was sent; the
run ids, made before, let it be repeated either way.
"""

from __future__ import annotations

from jobctl.client.steps import AWAY, patiently
from jobctl.errors import NotAcceptedError, shown_as
from jobctl.model.config import Durability
from jobctl.store import queries, transitions
from jobctl.store.failures import LostReplyError, StoreBusyError, first_word
from jobctl.store.space import room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from jobctl.client.open import Session
    from jobctl.client.steps import Steps
    from jobctl.errors import JobctlError
    from jobctl.model.admission import NewRun
    from jobctl.model.config import Settings
    from jobctl.store.calls import Call
    from jobctl.store.transitions import Answer

BATCH_RUNS = 500
"""Runs in one call: a script that is short enough not to be noticed by others."""
BATCH_BYTES = 1024 * 1024
LOOK_FOR_ROOM = 1.0
"""Seconds between two looks at a disk that has plenty of room."""


class Receipt:
    """What became of one wish."""

    __slots__ = ("answer", "id", "job")

    def __init__(self, run: NewRun, answer: Answer) -> None:
        self.job = run.request.job
        self.answer = answer
        self.id = answer.detail if answer.kind == "unique" else run.request.id
        """The run to look at: of a unique job that waits already, the one that waits."""

    @property
    def full(self) -> bool:
        """True when the queue was full: there is no such run."""
        return self.answer.kind == "full"

    @property
    def taken(self) -> bool:
        """True when its id is that of a run of another job: there is no such run of this one."""
        return self.answer.kind == "other"

    @property
    def accepted(self) -> bool:
        """True when the run, or the one it repeats, will be run or was."""
        return self.answer.kind in ("ok", "dup", "unique")

    @property
    def spooled(self) -> bool:
        """True when the store has not heard of it yet: the supervisor of this host will submit it."""
        return self.answer.kind == "spooled"


@shown_as("SubmitUnknown")
class LostSubmitError(LostReplyError):
    """Raised when the answer to a submit was lost: the runs may or may not be there."""

    code = "unknown"

    def __init__(
        self, ids: Sequence[str], cause: LostReplyError, *, again: str, known_for: float = 0.0
    ) -> None:
        """``again`` is how they are repeated, ``known_for`` for how long their ids are known (``keep_ids``)."""
        until = _known_until(known_for)
        super().__init__(f"{cause}; repeat {again}, it cannot run twice {until}", ids=list(ids))


class NotReplicatedError(NotAcceptedError):
    """Raised when the primary took runs and too few replicas confirmed that they have them."""

    code = "not_replicated"

    def __init__(
        self,
        ids: Sequence[str],
        *,
        confirmed: int,
        settings: Settings,
        again: str,
        known_for: float = 0.0,
    ) -> None:
        """``again`` and ``known_for`` are as :class:`LostSubmitError` takes them."""
        what = f"run {ids[0]} is" if len(ids) == 1 else f"{len(ids)} runs are"
        super().__init__(
            f"{what} accepted by the primary, not yet replicated: {confirmed} of "
            f"{settings.durability_replicas} replicas confirmed within "
            f"{settings.durability_timeout:g} s, and a failover now could lose it; repeat {again}, it "
            f"cannot run twice {_known_until(known_for)}",
            ids=list(ids),
        )


def _known_until(seconds: float) -> str:
    """Return for how long a repeated submit makes no second run: all of its runs had a given id, or not."""
    if not seconds:
        return "as long as its record is kept (keep_runs, keep_days)"
    from jobctl.model.units import format_duration  # noqa: PLC0415 (only in trouble)

    return f"until {format_duration(seconds)} after its end (keep_ids)"


def send_one(session: Session, run: NewRun, *, spool: bool = False) -> tuple[Receipt, bool]:
    """Submit one run; tells also whether any supervisor is known to the store.

    With ``spool`` it is left to the supervisor of this host when the store cannot take it now.
    """
    calls = (
        transitions.submit(session.keys, [run], seal=session.signing.seal),
        queries.supervisors(session.keys),
    )
    try:
        steps = deliver(session, calls, [run.request.id], known_for=run.keep_id)
        (answer,), supervisors = session.carry_out(steps)
    except AWAY as error:
        if not spool:
            raise
        return _spooled(session, [run], error)[0], True
    return Receipt(run, answer), bool(supervisors)


def send_many(
    session: Session, runs: Iterable[NewRun], *, spool: bool = False
) -> Iterator[Receipt]:
    """Submit many runs in order; a later batch is sent when the receipts of one were taken.

    With ``spool`` those that the store cannot take now are left to the supervisor of this host.
    """
    away: JobctlError | None = None
    for batch in batches(runs):
        if away is None:
            try:
                call = transitions.submit(session.keys, batch, seal=session.signing.seal)
                ids = [run.request.id for run in batch]
                known_for = min(run.keep_id for run in batch)
                steps = deliver(session, (call,), ids, known_for=known_for)
                (answers,) = session.carry_out(steps)
            except AWAY as error:
                if not spool:
                    raise
                away = error
        if away is not None:
            yield from _spooled(session, batch, away)
            continue
        for run, answer in zip(batch, answers, strict=True):
            yield Receipt(run, answer)


class Tried:
    """A first try to send something, which failed."""

    __slots__ = ("began", "error")

    def __init__(self, error: JobctlError, *, began: float) -> None:
        """``began`` is when, by the monotonic clock."""
        self.error = error
        self.began = began


def deliver(
    session: Session,
    calls: Sequence[Call[Any]],
    ids: Sequence[str],
    *,
    tried: Tried | None = None,
    known_for: float = 0.0,
) -> Steps[list[Any]]:
    """Carry out a submit of the runs ``ids``, again when its answer was lost: the ids make that safe.

    ``tried`` says that it was sent once before, which counts as the first try. ``known_for`` is the
    ``keep_ids`` of all the runs, in seconds, if their ids were given. Raises ``LostSubmitError`` when something was sent and no answer comes after all, and
    ``UnreachableError`` or ``NotAcceptedError`` when the runs were certainly not accepted.
    """
    if tried is None:
        check_room(session)
    settings = session.settings
    patience = session.patience(None if tried is None else tried.began)
    patience.submits = True
    sealed = list(calls)
    if settings.durability == Durability.REPLICATED:
        sealed += queries.replicated(
            session.keys,
            replicas=settings.durability_replicas,
            timeout=settings.durability_timeout,
        )
    try:
        answers = yield from patiently(
            session, sealed, patience=patience, failed=None if tried is None else tried.error
        )
    except AWAY as error:
        if first_word(error.reply) == "UNBLOCKED":  # by a demotion, while it waited for replicas
            patience.failed(LostReplyError(str(error)))
        if patience.lost is not None:
            raise LostSubmitError(
                ids, patience.lost, again=session.again(ids), known_for=known_for
            ) from error
        failure = type(error)(f"not accepted: {error}", ids=ids)
        failure.reply = error.reply
        raise failure from error
    if len(sealed) > len(calls) and answers[-1] < settings.durability_replicas:
        raise NotReplicatedError(
            ids,
            confirmed=answers[-1],
            settings=settings,
            again=session.again(ids),
            known_for=known_for,
        )
    return answers[: len(calls)]


def check_room(session: Session) -> None:
    """Raise ``StoreBusyError`` while the embedded store's disk is nearly full.

    What is left is for the runs that were accepted: a store that cannot write does not live.
    """
    settings, now = session.settings, session.clock.monotonic()
    if settings.redis is not None or now < session.roomy_until:
        return
    found = room(settings.state_dir)
    if found is None:
        return
    if found.little:
        raise StoreBusyError(
            f"not accepted: disk nearly full, {found.free >> 20} MiB are free in {settings.state_dir} "
            f"and {found.floor >> 20} MiB are kept for the runs that were accepted; free some space"
        )
    if found.plenty:
        session.roomy_until = now + LOOK_FOR_ROOM


def _spooled(session: Session, runs: Sequence[NewRun], error: JobctlError) -> list[Receipt]:
    """Leave runs to the supervisor of this host; raises ``error`` when that cannot be done."""
    from jobctl.store import unsent  # noqa: PLC0415 (only in trouble)

    settings = session.settings
    try:
        unsent.put(
            settings.state_dir,
            namespace=settings.namespace,
            runs=runs,
            now=session.clock.epoch(),
        )
    except OSError as cause:
        if isinstance(error, LostSubmitError):
            raise error from cause
        raise type(error)(
            f"{error}; and it cannot be left to the daemon of this host: "
            f"{settings.state_dir}: {cause.strerror}; the daemon makes that directory when it starts"
        ) from cause
    return [Receipt(run, transitions.Answer("spooled")) for run in runs]


def batches(runs: Iterable[NewRun]) -> Iterator[list[NewRun]]:
    """Split ``runs`` so that no call takes the store more than a few milliseconds."""
    batch: list[NewRun] = []
    size = 0
    for run in runs:
        batch.append(run)
        size += 200 + sum(len(arg) for arg in run.request.args if isinstance(arg, str))
        size += sum(len(arg) for arg in run.request.kwargs.values() if isinstance(arg, str))
        if len(batch) >= BATCH_RUNS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
