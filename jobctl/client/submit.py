"""Requests for runs: from what somebody asks for to what the store answered.

A wish is checked completely before anything is sent, so that of many wishes either all or none
reach the store. Run ids are made here, before the first byte leaves: whatever happens to the
answer, repeating the request with the same id can never make a second run.
"""

from __future__ import annotations

import os

from jobctl.errors import InvalidArguments
from jobctl.model.admission import NewRun, admission_for, unique_digest
from jobctl.model.ids import derived_id, is_id, new_id
from jobctl.model.params import bind
from jobctl.model.run import Request
from jobctl.store import queries
from jobctl.store.codec import DEPTH_MOST, ENVELOPE_MOST, LAST_MOMENT, check_depth, encode_envelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobctl.client.open import Session
    from jobctl.model.run import Run

LONGEST_NAME = 200
"""Characters of a queue's name, an idempotency key, or a tag."""
PRIORITIES = range(10)

ROOM_FOR_SEAL = 4096
"""Bytes of an envelope that signing may add."""


class Wish:
    """What somebody asks for; everything but the job may be left to the job's definition."""

    __slots__ = (
        "args", "expires", "force", "id", "job", "kwargs", "priority", "queue", "retries",
        "retry_of", "start_at", "start_in", "tags", "text", "timeout", "trigger",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - one keyword per thing that can be asked for
        self,
        job: str,
        *,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        id: str | None = None,  # noqa: A002 - the word of the contract
        start_in: float | None = None,
        start_at: float | None = None,
        expires: float | None = None,
        queue: str | None = None,
        priority: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        tags: Mapping[str, str] | None = None,
        force: bool = False,
        text: bool = False,
        trigger: str = "manual",
        retry_of: str | None = None,
    ) -> None:
        """Durations are seconds, ``start_at`` is epoch seconds; ``id`` is a run id or any key.

        ``retries`` -1 is without end; ``text`` says that the arguments are words of a command
        line; ``force`` lets the run overlap with others of its job.
        """
        self.job = job
        self.args = args
        self.kwargs = kwargs or {}
        self.id = id
        self.start_in = start_in
        self.start_at = start_at
        self.expires = expires
        self.queue = queue
        self.priority = priority
        self.timeout = timeout
        self.retries = retries
        self.tags = tags or {}
        self.force = force
        self.text = text
        self.trigger = trigger
        self.retry_of = retry_of


def prepare(session: Session, wish: Wish, *, submitter: str | None = None) -> NewRun:
    """Check a wish against its job's definition and return what to send.

    Raises ``NoSuchJob`` for an unknown job and ``InvalidArguments`` for anything else.
    """
    job = session.job(wish.job)
    args, kwargs = bind(job, wish.args, wish.kwargs, text=wish.text)
    check_options(wish)
    run = new_run(
        session, wish, id=run_id_for(session, wish), args=args, kwargs=kwargs, submitter=submitter
    )
    _check_size(session, run.request)
    return run


def new_run(
    session: Session,
    wish: Wish,
    *,
    id: str,  # noqa: A002 - the word of the contract
    args: tuple[object, ...],
    kwargs: dict[str, object],
    submitter: str | None,
) -> NewRun:
    """Return what to send for a wish that was checked, with arguments that were bound."""
    job = session.job(wish.job)
    queue = wish.queue or job.queue
    retries = job.retry.retries if wish.retries is None else wish.retries
    request = Request(
        id=id,
        job=job.name,
        args=args,
        kwargs=kwargs,
        tags={**job.tags, **wish.tags} if job.tags else dict(wish.tags),
        queue=queue,
        priority=job.priority if wish.priority is None else wish.priority,
        max_attempts=retries + 1 if retries >= 0 else -1,
        timeout=wish.timeout,
        trigger=wish.trigger,
        submitter=own_name() if submitter is None else submitter,
        retry_of=wish.retry_of,
    )
    return NewRun(
        request=request,
        admission=admission_for(job, queue=session.queue(queue), force=wish.force),
        start_in=wish.start_in,
        start_at=wish.start_at,
        expires_in=job.expires if wish.expires is None else wish.expires,
        unique=unique_digest(job, args, kwargs) if job.unique else "",
        keep_id=0.0 if wish.id is None else job.keep_ids,
    )


def run_id_for(session: Session, wish: Wish) -> str:
    """Return the id of a wish's run: its own, the one that belongs to its key, or a new one.

    Raises ``InvalidArguments`` for a key that is empty, too long or not printable.
    """
    if wish.id is None:
        return new_id()
    if is_id(wish.id):
        return wish.id
    _check_word("id", wish.id)
    return derived_id(session.keys.namespace, wish.job, wish.id)


def taken(run_id: str, *, job: str, other: str, option: str) -> InvalidArguments:
    """Return the error for an id that was given to a run of ``job`` and is that of a run of ``other``.

    ``option`` is how an id is given where the message is read.
    """
    return InvalidArguments(
        f"job {job}: nothing was submitted, the id {run_id} is that of a run of job {other}; leave out "
        f"{option} or give it another one (a key that is no run id belongs to one job only)",
        job=job,
        ids=[run_id],
    )


def own_name() -> str:
    """Return who submits, as ``user@host``."""
    name = f"{_user()}@{os.uname().nodename}"
    return name.encode("utf-8", "replace").decode()[:LONGEST_NAME]


def _user() -> str:
    named = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or os.environ.get("USER")
    if named:
        return named
    import pwd  # noqa: PLC0415 (only where nobody logged in)

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def check_options(wish: Wish) -> None:
    """Check everything of a wish but its job, arguments and id; raises ``InvalidArguments``."""
    if wish.priority is not None and wish.priority not in PRIORITIES:
        raise InvalidArguments(f"priority {wish.priority} is not one of 0 to 9 (9 runs first)")
    if wish.retries is not None and wish.retries < -1:
        raise InvalidArguments(f"retries {wish.retries} is less than 0 (-1: without end)")
    if wish.start_in is not None and wish.start_at is not None:
        raise InvalidArguments("the start is given twice: use either 'in' or 'at'")
    if wish.start_at is not None and not 0 <= wish.start_at <= LAST_MOMENT:
        raise InvalidArguments(
            "at: the start is not between the years 1970 and 9999; leave it out for a run that is"
            " to wait, and hold its queue instead"
        )
    if wish.timeout is not None and wish.timeout <= 0:
        raise InvalidArguments("timeout must be more than 0")
    if wish.queue is not None:
        _check_word("queue", wish.queue)
    for name, value in wish.tags.items():
        _check_word("tag", name)
        if "\0" in value:
            raise InvalidArguments(f"tag {name}: its value holds a NUL character")
        if len(value) > LONGEST_NAME:
            raise InvalidArguments(
                f"tag {name}: its value is longer than {LONGEST_NAME} characters"
            )


def _check_word(what: str, word: str) -> None:
    if not word or len(word) > LONGEST_NAME or not word.isprintable():
        raise InvalidArguments(
            f"{what}: write 1 to {LONGEST_NAME} printable characters, not {word[:40]!r}"
        )


def _check_size(session: Session, request: Request) -> None:
    try:
        check_envelope(
            session, encode_envelope(request), request.job,
            (request.args, request.kwargs, request.tags),
        )  # fmt: skip
    except (RecursionError, ValueError) as error:
        raise InvalidArguments(
            f"job {request.job}: the arguments are nested too deeply", job=request.job
        ) from error


def check_envelope(session: Session, envelope: str, job: str, values: tuple[object, ...]) -> None:
    """Check that an envelope is not too large and holds nothing that no process can be given.

    ``values`` is what it holds: arguments, named arguments and tags. Raises ``InvalidArguments``.
    """
    try:
        if "\\ud" in envelope:
            # The envelope can carry lone surrogates, but no process can be given all of them.
            for text in _texts(values):
                text.encode()
        size = len(envelope) if envelope.isascii() else len(envelope.encode())
        if envelope.count("[") + envelope.count("{") > DEPTH_MOST:
            check_depth(values[:2])
    except UnicodeEncodeError as error:
        bad = error.object[max(0, error.start - 10) : error.start + 10]
        raise InvalidArguments(
            f"job {job}: an argument or tag has bytes that are no text, near {bad!r}; "
            "only UTF-8 can be passed, so put other data in a file and pass its name",
            job=job,
        ) from error
    except (RecursionError, ValueError) as error:
        raise InvalidArguments(
            f"job {job}: the arguments are nested too deeply", job=job
        ) from error
    most = min(session.settings.max_args, ENVELOPE_MOST - ROOM_FOR_SEAL)
    if size > most:
        raise InvalidArguments(
            f"job {job}: the arguments take {size} bytes, the limit is {most}; "
            "put the data in a file and pass its name, or raise max_args in [jobctl]",
            job=job,
        )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def repeat(session: Session, run: Run) -> NewRun:
    """Return a new run with the request of ``run``, which it names as ``retry_of``."""
    old = run.request
    job = session.job(old.job)
    request = Request(
        id=new_id(),
        job=old.job,
        args=old.args,
        kwargs=old.kwargs,
        tags=old.tags,
        queue=old.queue,
        priority=old.priority,
        max_attempts=old.max_attempts,
        timeout=old.timeout,
        trigger="retry",
        scheduled_at=old.scheduled_at,
        submitter=own_name(),
        retry_of=old.id,
        parent=old.parent,
    )
    return NewRun(
        request=request,
        admission=admission_for(job, queue=session.queue(old.queue)),
        expires_in=job.expires,
        unique=unique_digest(job, old.args, old.kwargs),
    )


def ahead(session: Session, run: NewRun) -> int:
    """Count the ready runs that are claimed before one of this queue and priority."""
    queue = run.request.queue
    levels = range(run.request.priority, 10)
    counts = session.run_many([queries.ready_length(session.keys, queue, p) for p in levels])
    return sum(counts)
