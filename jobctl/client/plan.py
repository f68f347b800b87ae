"""Many runs of one job: what they share is worked out once, so that each costs microseconds.

A plan does for a run what :func:`jobctl.client.submit.prepare` does, with the same checks and the
same bytes as a result.
"""

from __future__ import annotations

import json

from jobctl.client.sending import BATCH_BYTES, BATCH_RUNS, deliver
from jobctl.client.submit import Wish, check_envelope, check_options, new_run, run_id_for
from jobctl.errors import InvalidArguments, JobctlError
from jobctl.model.admission import unique_digest
from jobctl.model.config import Durability
from jobctl.model.ids import new_id
from jobctl.model.params import bind, text_for
from jobctl.model.positional import ignored
from jobctl.store import compact, transitions
from jobctl.store.codec import encode_envelope
from jobctl.store.packing import Stem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobctl.client.open import Session
    from jobctl.client.sending import Tried
    from jobctl.client.steps import Steps
    from jobctl.model.sealing import Ring
    from jobctl.store.calls import Call
    from jobctl.store.transitions import Answer, Part

_plain = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_encode = compact.encoder_of(_plain)
_READY = 700
"""Bytes that a run takes in a batch beside its envelope, roughly."""


class Ready:
    """One run that was checked and waits to be sent."""

    __slots__ = ("envelope", "id", "plan", "unique")

    def __init__(self, plan: Plan, run_id: str, envelope: str, unique: str) -> None:
        self.plan = plan
        self.id = run_id
        self.envelope = envelope
        self.unique = unique

    @property
    def job(self) -> str:
        """The name of its job."""
        return self.plan.job.name


class Plan:
    """How runs of one job are made that are asked for with the same options."""

    def __init__(self, session: Session, wish: Wish, *, submitter: str) -> None:
        """``wish`` says everything but arguments and id; raises as :func:`prepare`."""
        check_options(wish)
        self.job = session.job(wish.job)
        self.template = new_run(session, wish, id="", args=(), kwargs={}, submitter=submitter)
        self.header = transitions.run_header(self.template)
        self.moments = transitions.run_moments(self.template)
        self.queue = wish.queue
        """The queue that was asked for; ``None`` when it is the job's own."""
        self.lone = (
            self.moments == ("", "")
            and not self.job.unique
            and session.settings.durability != Durability.REPLICATED
        )
        """Whether a run by itself can be sent as :meth:`call` packs it."""
        self._ignored = ignored(self.job)
        self._session = session
        self._wish = wish
        self._begin = encode_envelope(self.template.request)[:-1]
        self._stem: Stem[tuple[Answer, ...]] | None = None
        self._sealing: tuple[Ring, int, Callable[[str, str], str]] | None = None
        """By which keys and in which second it was made, and what seals."""

    def ready(
        self, args: Sequence[object], kwargs: Mapping[str, object], *, run_id: str | None = None
    ) -> Ready:
        """Check the arguments of one run; ``run_id`` is an id or any key.

        Raises ``InvalidArguments``.
        """
        job = self.job
        if args and self._ignored:
            warn(self._ignored)
        args, kwargs = bind(job, args, kwargs, text=False)
        envelope = self._begin
        try:
            if args:
                envelope += f',"a":{_encode(args)}'
            if kwargs:
                envelope += f',"k":{_encode(kwargs)}'
        except TypeError as error:
            raise InvalidArguments(_no_json(job.name, args, kwargs, error), job=job.name) from error
        except (ValueError, RecursionError) as error:
            says = _no_number(args, kwargs) or str(error)
            raise InvalidArguments(f"job {job.name}: {says}", job=job.name) from error
        envelope += "}"
        if not envelope.isascii() and not _is_utf8(envelope):
            envelope = json.dumps(json.loads(envelope), separators=(",", ":"))
        check_envelope(
            self._session, envelope, job.name, (args, kwargs, self.template.request.tags)
        )
        if run_id is not None:
            self._wish.id = run_id
            run_id = run_id_for(self._session, self._wish)
        unique = unique_digest(job, args, kwargs) if job.unique else ""
        return Ready(self, run_id or new_id(), envelope, unique)

    def sealer(self) -> Callable[[str, str], str] | None:
        """Return what signs its runs now, ``None`` when nothing is signed."""
        return self._session.signing.sealer_of(self.template)

    def call(self, run: Ready) -> Call[tuple[Answer, ...]]:
        """Return what submits one run, if they are :attr:`lone`, packed as far as could be before."""
        if self._stem is None:
            self._stem = Stem(transitions.submit_stem(self._session.keys, self.header))
        seal = self._seal()
        return self._stem.grown(
            run.id, run.envelope if seal is None else seal(run.id, run.envelope)
        )

    def _seal(self) -> Callable[[str, str], str] | None:
        """Return what signs lone runs now; within a second, with one key, it is the same."""
        ring = self._session.signing.ring
        if ring is None:
            return None
        now = self._session.clock.epoch()
        if self._sealing is None or self._sealing[:2] != (ring, int(now)):
            self._sealing = ring, int(now), ring.sealer_of(self.template, now=now)
        return self._sealing[2]


def warn(message: str) -> None:
    """Warn the code that called jobctl."""
    import sys  # noqa: PLC0415 (only for a mistake)
    import warnings  # noqa: PLC0415 (same)

    level, frame = 1, sys._getframe()  # noqa: SLF001 (as warnings does)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jobctl."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(args: Sequence[object], kwargs: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    yield from ((f"argument {number}", value) for number, value in enumerate(args, 1))
    yield from kwargs.items()


def _no_number(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return the sentence for a number that JSON has no form for; "" when there is none."""
    for name, value in _named(args, kwargs):
        try:
            _encode(value)
        except ValueError as error:
            if "float" not in str(error):  # values within each other
                return ""
            return (
                f"{name}: holds a number that JSON does not have (nan or an infinity); pass None or"
                " a text for it"
            )
    return ""


def _no_json(
    job: str, args: Sequence[object], kwargs: Mapping[str, object], error: TypeError
) -> str:
    """Return the sentence for arguments that JSON has no form for, naming the first of them."""
    for name, value in _named(args, kwargs):
        try:
            _encode(value)
        except (TypeError, ValueError):
            kind = type(value).__name__
            return (
                f"job {job}: {name}: a {kind} cannot be passed as it is, only what JSON has: texts, "
                f"numbers, true, false, null, lists and dicts; pass a text for it, as {text_for(value)}"
            )
    return f"job {job}: {error}"


def send(
    session: Session, runs: Sequence[Ready], *, tried: Tried | None = None
) -> Steps[list[Answer]]:
    """Submit runs in batches, in order, and return what the store answered to each.

    ``tried`` is how a first try to send them, of one batch, came to nothing. Raises as :func:`jobctl.client.sending.deliver`; what it raises names the runs of its batch.
    """
    answers: list[Answer] = []
    for batch in _batches(runs):
        try:
            call = transitions.submit_groups(session.keys, _groups(batch))
            (found,) = yield from deliver(
                session,
                (call,),
                [run.id for run in batch],
                tried=tried,
                known_for=min(run.plan.template.keep_id for run in batch),
            )
        except JobctlError as error:
            error.items = range(len(answers), len(answers) + len(batch))
            raise
        answers += found
    return answers


def _batches(runs: Sequence[Ready]) -> Iterator[Sequence[Ready]]:
    begin = size = 0
    for at, run in enumerate(runs):
        size += len(run.envelope) + _READY
        if at - begin + 1 >= BATCH_RUNS or size >= BATCH_BYTES:
            yield runs[begin : at + 1]
            begin, size = at + 1, 0
    if begin < len(runs):
        yield runs[begin:]


def _groups(
    batch: Sequence[Ready],
) -> Iterator[tuple[tuple[Part, ...], Sequence[tuple[Part, ...]]]]:
    """Yield the header and the signed bodies of runs that follow each other with the same plan."""
    begin = 0
    while begin < len(batch):
        plan = batch[begin].plan
        end = begin + 1
        while end < len(batch) and batch[end].plan is plan:
            end += 1
        seal, (start, expiry) = plan.sealer(), plan.moments
        yield (
            plan.header,
            [
                (
                    run.id,
                    run.envelope if seal is None else seal(run.id, run.envelope),
                    start,
                    expiry,
                    run.unique,
                )
                for run in batch[begin:end]
            ],
        )
        begin = end
