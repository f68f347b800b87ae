"""``submit`` and ``exec``: ask for runs."""

from __future__ import annotations

from jobctl.cli import values
from jobctl.cli.words import arguments
from jobctl.client.sending import send_one
from jobctl.client.steps import AWAY
from jobctl.client.submit import Wish, ahead, prepare, taken
from jobctl.errors import (
    ExitCode,
    JobctlError,
    NotAcceptedError,
    NotPermittedError,
    UnreachableError,
    UsageError,
)
from jobctl.model.job import EXEC_JOB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation
    from jobctl.client.sending import Receipt
    from jobctl.model.admission import NewRun
    from jobctl.model.run import Request


USUAL_QUEUE = "default"
"""Hardly ever without a pool: not worth a second look at the store on every submit."""


class Asked:
    """The options that ``submit`` and ``exec`` share, parsed."""

    def __init__(self, call: Invocation, options: dict[str, object]) -> None:
        """``options`` are words as they were given; ``tag`` is a list, switches are booleans."""
        self.call = call
        self._words = options
        self.start_in = values.duration("--in", self._word("in_"))
        self.start_at = self._at()
        self.expires = values.duration("--expires", self._word("expires"))
        self.queue = self._word("queue")
        self.priority = values.integer("--priority", self._word("priority"))
        self.timeout = values.duration("--timeout", self._word("timeout"))
        self.retries = values.integer("--retries", self._word("retries"), least=-1)
        self.id = self._word("id_")
        self.tags = values.pairs("--tag", options["tag"])  # type: ignore[arg-type]
        self.patience = values.duration("--timeout-wait", self._word("timeout_wait"))
        self.follow = bool(options["follow"])
        self.wait = bool(options["wait"]) or self.patience is not None
        self.spool = bool(options["spool"])
        if self.spool and (self.wait or self.follow):
            raise UsageError(
                "--spool may leave the run for later; use `jobctl wait` to wait for it"
            )
        store_wait = values.duration("--store-wait", self._word("store_wait"))
        if store_wait is not None:
            call.session.store_wait = store_wait
        if self.start_in is not None and self.start_at is not None:
            raise UsageError("--in and --at exclude each other")

    def _word(self, name: str) -> str | None:
        word = self._words[name]
        return None if word is None else values.text(f"--{name.rstrip('_')}", str(word))

    def _at(self) -> float | None:
        word = self._word("at")
        if word is None:
            return None
        from jobctl.client.schedules import default_zone, moment

        return moment(word, zone=default_zone(self.call.session)).timestamp()

    def wish(self, job: str, *, args: list[object], kwargs: dict[str, object], text: bool) -> Wish:
        """Return the wish for one run."""
        return Wish(
            job,
            args=args,
            kwargs=kwargs,
            id=self.id,
            start_in=self.start_in,
            start_at=self.start_at,
            expires=self.expires,
            queue=self.queue,
            priority=self.priority,
            timeout=self.timeout,
            retries=self.retries,
            tags=self.tags,
            text=text,
        )


def submit(
    call: Invocation,
    *,
    job: str | None,
    words: list[str],
    args_json: str | None,
    from_ndjson: str | None,
    force: bool,
    dry_run: bool,
    **options: object,
) -> int:
    """Submit one run of ``job``, or one per line of a file."""
    asked = Asked(call, options)
    if from_ndjson is not None:
        from jobctl.cli.bulk import submit_lines

        if words or call.literal or args_json is not None:
            raise UsageError("--from-ndjson brings the arguments; give none beside it")
        return submit_lines(call, asked, job=job, source=from_ndjson, force=force, dry_run=dry_run)
    if job is None:
        raise UsageError("name the job to submit; `jobctl jobs` lists them")
    args, kwargs = _arguments(words, call.literal)
    if args_json is not None:
        from jobctl.cli.documents import json_arguments

        more, named = json_arguments(args_json)
        args, kwargs = [*more, *args], {**named, **kwargs}
    wish = asked.wish(job, args=args, kwargs=kwargs, text=True)
    wish.force = force
    run = prepare(call.session, wish)
    require_queue(call, asked, asked.queue)
    warn_of_ignored(call, run.request)
    return _show(call, run) if dry_run else send(call, asked, run)


def execute(call: Invocation, *, words: list[str], **options: object) -> int:
    """Submit a command as a run of the built-in job for commands."""
    command = [values.text("the command", word) for word in (*words, *call.literal)]
    if not command:
        raise UsageError("name the command after --: jobctl exec -- du -sh /srv")
    if not call.session.settings.allow_exec:
        raise NotPermittedError(
            "ad-hoc commands are off; set allow_exec = true in [jobctl] of "
            f"{call.session.path} to permit them"
        )
    asked = Asked(call, options)
    wish = asked.wish(EXEC_JOB, args=list(command), kwargs={}, text=False)
    wish.trigger = "exec"
    run = prepare(call.session, wish)
    require_queue(call, asked, asked.queue)
    return send(call, asked, run)


def warn_of_ignored(call: Invocation, request: Request) -> None:
    """Say so when the command of the job does nothing with the arguments in order."""
    if request.args:
        from jobctl.model.positional import ignored

        said = ignored(call.session.job(request.job))
        if said:
            call.console.note(said)


def require_queue(call: Invocation, asked: Asked, queue: str | None) -> None:
    """Raise ``InvalidArguments`` for a queue that was asked for and that there is not."""
    if queue is None or call.session.has_queue(queue):
        return
    from jobctl.client.queues import require

    try:
        call.session.carry_out(require(call.session, queue))
    except AWAY:
        # What is left to the daemon is not lost for a question that nobody can answer now.
        if not asked.spool:
            raise
        call.session.known_queues.add(queue)


def _arguments(words: list[str], literal: list[str]) -> tuple[list[object], dict[str, object]]:
    """Return positional and named arguments; ``literal`` words are never named."""
    for number, word in enumerate((*words, *literal), 1):
        values.text(f"argument {number}", word)
    args, kwargs = arguments(words)
    return [*args, *literal], dict(kwargs)


def send(call: Invocation, asked: Asked, run: NewRun) -> int:
    """Submit ``run``, print its id, and stay with it as long as was asked for."""
    try:
        receipt, supervised = send_one(call.session, run, spool=asked.spool)
    except (UnreachableError, NotAcceptedError) as error:
        # The id is what a repetition needs, whatever has become of this one.
        _print_id(call, run.request, error.code)
        raise
    if receipt.taken:
        raise taken(receipt.id, job=receipt.job, other=receipt.answer.detail, option="--id")
    if not receipt.full:
        _print_id_or_say_it(call, receipt)
    code = explain(call, receipt)
    if code == ExitCode.OK and not receipt.spooled:
        _guide(call, receipt, run, supervised=supervised, chosen=asked.queue is not None)
        if asked.follow:
            from jobctl.cli.logs import follow_to_end

            return follow_to_end(call, receipt.id, timeout=asked.patience)
        if asked.wait:
            from jobctl.cli.wait import wait_for_one

            return wait_for_one(call, receipt.id, timeout=asked.patience)
    return code


def _print_id(call: Invocation, what: Receipt | Request, answer: str) -> None:
    console = call.console
    if console.json:
        console.document({"id": what.id, "job": what.job, "answer": answer})
    else:
        console.data(what.id)
    console.flush()


def _print_id_or_say_it(call: Invocation, receipt: Receipt) -> None:
    """Print the id; when that cannot be done, the error tells it."""
    try:
        _print_id(call, receipt, receipt.answer.kind)
    except JobctlError as error:
        became = "spooled" if receipt.spooled else "accepted"
        raise JobctlError(f"{error}; run {receipt.id} was {became}") from error


def explain(call: Invocation, receipt: Receipt) -> int:
    """Say what is not as usual about an answer; return the exit code it means."""
    answer = receipt.answer
    match answer.kind:
        case "unique":
            call.console.note(
                f"job {receipt.job} is unique and run {receipt.id} has not ended: that one is meant"
            )
        case "dup":
            call.console.note(f"run {receipt.id} was submitted before; nothing new was made")
        case "spooled":
            call.console.note(spooled("run " + receipt.id, call))
        case "full":
            call.console.report(
                "not_accepted", f"the queue of job {receipt.job} is full; try again later"
            )
            return ExitCode.NOT_ACCEPTED
        case "skip":
            call.console.note(
                f"skipped: run {answer.detail} of {receipt.job} has not ended (overlap = skip); "
                "--force lets them overlap"
            )
            return ExitCode.NOT_ACCEPTED
    return ExitCode.OK


def spooled(what: str, call: Invocation) -> str:
    """Return what is said of requests that were left to the daemon of this host."""
    return (
        f"{what} is spooled, not accepted yet: the store cannot be reached, and the daemon on "
        f"{call.session.settings.state_dir} submits it once it can"
    )


def _guide(
    call: Invocation, receipt: Receipt, run: NewRun, *, supervised: bool, chosen: bool
) -> None:
    """Tell a person what happens next, and everybody when nothing will."""
    console = call.console
    if chosen or run.request.queue != USUAL_QUEUE or console.talks_to_person:
        _warn_unserved(call, run, supervised=supervised)
    elif not supervised:
        console.note(_nobody(call))
    if not console.talks_to_person or receipt.answer.kind != "ok":
        return
    queue = run.request.queue
    if run.start_in or run.start_at:
        what = f"scheduled on {queue}"
    else:
        others = max(0, ahead(call.session, run) - 1)
        what = f"queued on {queue}" + (f", {others} ahead" if others else "")
    console.talk(f"{what}; `jobctl logs -f {receipt.id}`")


def _nobody(call: Invocation) -> str:
    flag = call.session.config_flag
    return f"no supervisor is up; the run is kept and starts with `jobctl daemon{flag}`"


def _warn_unserved(call: Invocation, run: NewRun, *, supervised: bool) -> None:
    """Say so when no pool will take the run as things are."""
    from jobctl.client.supervisors import live_supervisors

    found = live_supervisors(call.session) if supervised else []
    queue = run.request.queue
    if not found:
        call.console.note(_nobody(call))
    elif not any(queue in item.queues() for item in found):
        call.console.note(
            f"no supervisor serves queue {queue}: the run waits until a pool names it in `queues`"
        )


def _show(call: Invocation, run: NewRun) -> int:
    """Show what would be submitted."""
    request = run.request
    body: dict[str, object] = {
        "id": request.id,
        "job": request.job,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "queue": request.queue,
        "priority": request.priority,
        "max_attempts": None if request.max_attempts < 0 else request.max_attempts,
        "timeout": request.timeout,
        "start_in": run.start_in,
        "start_at": run.start_at,
        "expires_in": run.expires_in,
        "tags": request.tags,
    }
    if call.console.json:
        call.console.document({"run": body})
        return ExitCode.OK
    from jobctl.cli.console import dumps

    for name, value in body.items():
        if value not in (None, [], {}):
            call.console.data(f"{name + ':':14}{value if isinstance(value, str) else dumps(value)}")
    call.console.note("not submitted (--dry-run)")
    return ExitCode.OK
