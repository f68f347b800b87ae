"""Every change of a run as a :class:`Call`: one Lua script each.

Ends of attempts are in :mod:`jobctl.store.settling`, schedules in :mod:`jobctl.store.decisions`,
supervisors in :mod:`jobctl.store.membership`.
"""

from __future__ import annotations

from functools import cache
from itertools import groupby

from jobctl.errors import InvalidArguments
from jobctl.model.records import maker, record
from jobctl.store.calls import Call
from jobctl.store.codec import encode_envelope, items_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jobctl.model.admission import NewRun
    from jobctl.model.sealing import Seal
    from jobctl.store.keys import Keys

Part = str | bytes | int
_PRIORITIES = range(10)


@record(frozen=True, slots=True)
class Answer:
    """What the store said to one submitted run."""

    kind: str
    """``ok``, ``dup`` (this id is known: fine), ``other`` (it is that of a run of another job),
    ``unique``, ``full`` or ``skip`` (overlap)."""
    detail: str = ""
    """The state letter for ``dup``, the job for ``other``, the other run's id for ``unique`` and ``skip``."""

    @classmethod
    def parse(cls, reply: object) -> Answer:
        """Read one answer of submit, tick or boot."""
        if reply == b"ok":
            return _OK
        kind, _, detail = text(reply).partition(" ")
        return cls(kind, detail)


_OK = Answer("ok")


@record(frozen=True, slots=True)
class Claim:
    """One claimed run; ``envelope`` is still undecoded."""

    id: str
    epoch: int
    attempt: int
    """Attempts started before this claim."""
    lost: int
    first_started_at: float | None
    queue: str
    priority: str
    job: str
    submitted_at: float
    max_attempts: str
    envelope: bytes
    due_at: float | None
    interrupted: int = 0
    """Attempts that a supervisor stopped in order (drain, stop) and gave back."""


@record(frozen=True, slots=True)
class ClaimReply:
    """The answer to a claim."""

    fenced: bool
    more: bool
    """True when runs are left that this claim did not take."""
    now: float
    next_due: float | None
    claims: tuple[Claim, ...]


def texts(reply: object) -> tuple[str, ...]:
    """Return an answer that is a list of texts."""
    return tuple(text(item) for item in items_of(reply))


def _int(reply: object) -> int:
    return int(reply)  # type: ignore[call-overload, no-any-return]


def milliseconds(value: float) -> int:
    """Return seconds as the scripts take them."""
    return round(value * 1000)


def _moment(value: float | None, delay: float | None) -> str:
    if delay is not None:
        return f"+{milliseconds(delay)}"
    return "" if value is None else str(milliseconds(value))


def run_header(run: NewRun) -> tuple[Part, ...]:
    """Return what runs of one submit may have in common, as ``admit.lua`` reads it.

    Raises ``InvalidArguments`` for a priority that is none: nobody would claim the runs.
    """
    request, rules = run.request, run.admission
    if type(request.priority) is not int or request.priority not in _PRIORITIES:
        raise InvalidArguments(f"priority {request.priority!r} is not one of 0 to 9 (9 runs first)")
    return (
        request.job,
        request.queue,
        request.priority,
        request.max_attempts,
        rules.limits,
        rules.overlap,
        rules.keep,
        rules.on_lost,
        rules.max_length,
        rules.start_deadline,
        rules.notices,
        milliseconds(run.keep_id) if run.keep_id else "",
    )


def run_body(run: NewRun, seal: Seal | None) -> tuple[Part, ...]:
    """Return what is a run's own, as ``admit.lua`` reads it."""
    envelope = encode_envelope(run.request)
    return (
        run.request.id,
        envelope if seal is None else seal(run, envelope),
        *run_moments(run),
        run.unique,
    )


def run_moments(run: NewRun) -> tuple[str, str]:
    """Return when a run starts and when it expires, as ``admit.lua`` reads it."""
    return _moment(run.start_at, run.start_in), _moment(None, run.expires_in)


RUN_FIELDS = 5
RUN_PLAIN = 2
"""Fields of a run, and those that are sent when the others are :data:`NOTHING` in all of a group."""
NOTHING = ("", "", "")


def submit(
    keys: Keys, runs: Sequence[NewRun], *, seal: Seal | None = None
) -> Call[tuple[Answer, ...]]:
    """Accept new runs; answers come in the order of ``runs``. Repeating it is safe.

    ``seal`` signs the envelopes; without it they are not signed.
    """
    return submit_groups(
        keys,
        [
            (header, [run_body(run, seal) for run in members])
            for header, members in groupby(runs, key=run_header)
        ],
    )


def submit_groups(
    keys: Keys, groups: Iterable[tuple[tuple[Part, ...], Sequence[tuple[Part, ...]]]]
) -> Call[tuple[Answer, ...]]:
    """Accept new runs, given as headers and the bodies that follow each; see :func:`submit`."""
    parts: list[Part] = [keys.prefix]
    for header, bodies in groups:
        parts += header
        size = RUN_PLAIN if all(body[RUN_PLAIN:] == NOTHING for body in bodies) else RUN_FIELDS
        parts += (len(bodies), size)
        for body in bodies:
            parts += body[:size]
    return Call(tuple(parts), _answers, script="submit")


def submit_stem(keys: Keys, header: tuple[Part, ...]) -> Call[tuple[Answer, ...]]:
    """Return what accepts one run, without its id and its envelope, which are to follow."""
    return Call((keys.prefix, *header, 1, RUN_PLAIN), _answers, script="submit")


def _answers(reply: object) -> tuple[Answer, ...]:
    return tuple(Answer.parse(item) for item in items_of(reply))


@cache
def _claims() -> Callable[..., Claim]:
    return maker(Claim)


@cache
def _replies() -> Callable[..., ClaimReply]:
    return maker(ClaimReply)


def _claim_reply(reply: object) -> ClaimReply:
    # What follows the three is per run: id, submitted, envelope. A zero and what the next runs
    # have in common may come before it. By places and in few calls: a lone run waits for this.
    parts = items_of(reply)
    status, now, next_due = parts[:3]
    claims = []
    place, end = 3, len(parts)
    made = _claims() if place < end else Claim
    while place < end:
        if parts[place] == 0:
            epoch, attempt, lost, interrupted = map(int, parts[place + 1 : place + 5])
            first, due = parts[place + 5 : place + 7]
            first = float(first) / 1000 if first else None
            due = float(due) / 1000 if due else None
            queue, priority, job, most = [
                str(part, "utf-8", "backslashreplace") if isinstance(part, bytes) else str(part)
                for part in parts[place + 7 : place + 11]
            ]
            place += 11
            continue
        run_id, submitted, envelope = parts[place : place + 3]
        place += 3
        claims.append(
            made(
                str(run_id, "utf-8", "backslashreplace"),
                epoch,
                attempt,
                lost,
                first,
                queue,
                priority,
                job,
                float(submitted) / 1000,
                most,
                envelope,
                due,
                interrupted,
            )
        )
    return _replies()(
        status < 0,
        status == 0,
        now / 1000,
        None if next_due < 0 else next_due / 1000,
        tuple(claims),
    )


def claim(
    keys: Keys,
    *,
    supervisor: str,
    owner: str,
    want: int,
    queues: Sequence[str],
    low_first: bool = False,
) -> Call[ClaimReply]:
    """Claim up to ``want`` ready runs from ``queues``, in their order and by priority."""
    return Call(
        (keys.prefix, supervisor, owner, want, "1" if low_first else "0", *queues),
        _claim_reply,
        script="claim",
        idempotent=False,
    )


def claim_again(keys: Keys, *, supervisor: str, owner: str, ids: Sequence[str]) -> Call[ClaimReply]:
    """Claim runs that this owner has begun, if the store takes them for waiting."""
    return Call(
        (keys.prefix, supervisor, owner, len(ids), "0", *("=" + run_id for run_id in ids)),
        _claim_reply,
        script="claim",
        idempotent=False,
    )


def start(
    keys: Keys, *, owner: str, marks: Iterable[tuple[str, int, int, float, int]]
) -> Call[tuple[str, ...]]:
    """Mark runs as started; ``marks`` are (id, epoch, attempt, started at, pid)."""
    parts: list[Part] = [keys.prefix, owner]
    for run_id, epoch, attempt, started_at, pid in marks:
        parts += (run_id, epoch, attempt, milliseconds(started_at), pid)
    return Call(tuple(parts), texts, script="start")


def release(keys: Keys, *, owner: str, items: Iterable[tuple[str, int]]) -> Call[tuple[str, ...]]:
    """Give back claims that were not started; ``items`` are (id, epoch)."""
    parts: list[Part] = [keys.prefix, owner]
    for run_id, epoch in items:
        parts += (run_id, epoch)
    return Call(tuple(parts), texts, script="release")


def note(keys: Keys, *, owner: str, items: Iterable[tuple[str, int, str]]) -> Call[int]:
    """Store progress; ``items`` are (id, epoch, JSON), or what :func:`held_up` returns for it."""
    parts: list[Part] = [keys.prefix, owner]
    for item in items:
        parts += item
    return Call(tuple(parts), _int, script="note")


def held_up(epoch: int, by: Iterable[str] | None) -> str:
    """Return for :func:`note` which runs keep one from beginning; ``None``: none does any more."""
    return "!" if by is None else " ".join((f"!{epoch}", *by))


def once(  # noqa: PLR0913 - who asks, and what
    keys: Keys,
    *,
    owner: str,
    run_id: str,
    epoch: int,
    job: str,
    key: str,
    step: str,
    token: str,
    ttl: float,
) -> Call[int]:
    """Decide whether a run is the first to do something; see ``once.lua``.

    ``step`` is ``first``, ``begin``, ``finish`` or ``leave``; ``token`` is new for each question;
    ``ttl`` is seconds. Returns 1 or 0, and -1 when the run is not this owner's.
    """
    parts = (keys.prefix, owner, run_id, epoch, job, key, step, token, max(1, milliseconds(ttl)))
    return Call(parts, _int, script="once")


@record(frozen=True, slots=True)
class PromoteReply:
    """The answer to a promote; ``again`` when more is due than one call handles."""

    again: bool
    now: float
    next_due: float | None


def promote(keys: Keys) -> Call[PromoteReply]:
    """Make everything happen that is due."""

    def decode(reply: object) -> PromoteReply:
        moved, now, due = items_of(reply)
        return PromoteReply(moved >= 100, now / 1000, None if due < 0 else due / 1000)  # noqa: PLR2004

    return Call((keys.prefix,), decode, script="promote")


def revoke(
    keys: Keys,
    ids: Sequence[str],
    *,
    reason: str = "user",
    signal: str = "-",
    grace: float | None = None,
    kill: bool = True,
    seal: Callable[[str, str], str] | None = None,
) -> Call[tuple[str, ...]]:
    """Revoke runs; answers "before after" letters each, ``-`` for an unknown run.

    A third word, ``again``, follows when the run was to be tried again.

    ``seal`` signs an order for a run; without it orders are not signed.
    """
    order = f"{reason} {signal} {'-' if grace is None else grace} {1 if kill else 0}"
    parts: list[Part] = [keys.prefix]
    for run_id in ids:
        parts += (run_id, order if seal is None else seal(order, run_id))
    return Call(tuple(parts), texts, script="revoke")


def seal(keys: Keys, triples: Sequence[tuple[str, bytes, str]]) -> Call[int]:
    """Give runs that have not ended a signed envelope: (id, the one it has, the new one) each."""
    parts = [part for triple in triples for part in triple]
    return Call((keys.prefix, *parts), _int, script="seal")


def count(keys: Keys, what: str) -> Call[int]:
    """Count an order that was not genuine (``forged``) or a run that came back (``replayed``)."""
    return Call(("HINCRBY", keys.counters, what, 1), _int, idempotent=False)


def set_limits(keys: Keys, sizes: Mapping[str, str]) -> Call[int]:
    """Set the sizes of limits; an empty size removes one. Parked runs use what was added."""
    flat = [part for pair in sizes.items() for part in pair]
    return Call((keys.prefix, *flat), _int, script="limits")
