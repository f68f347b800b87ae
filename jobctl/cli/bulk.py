"""``submit --from-ndjson``: many runs, all checked before any is sent."""

from __future__ import annotations

import tempfile
from contextlib import suppress

from jobctl.cli import values
from jobctl.cli.documents import loads, open_source
from jobctl.cli.submit import require_queue, spooled, warn_of_ignored
from jobctl.client.sending import LostSubmitError, NotReplicatedError, send_many
from jobctl.client.steps import AWAY
from jobctl.client.submit import Wish, own_name, prepare
from jobctl.errors import ExitCode, JobctlError, NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from jobctl.cli.invocation import Invocation
    from jobctl.cli.submit import Asked
    from jobctl.client.sending import Receipt
    from jobctl.model.admission import NewRun

MOST_SHOWN = 20
SPOOL_IN_MEMORY = 8 * 1024 * 1024
"""Bytes; longer input waits in a temporary file between the check and the sending."""
KEYS = frozenset(
    ("args", "at", "expires", "id", "in", "job", "kwargs", "priority", "queue", "retries",
     "tags", "timeout")
)  # fmt: skip


def submit_lines(
    call: Invocation, asked: Asked, *, job: str | None, source: str, force: bool, dry_run: bool
) -> int:
    """Submit one run per line of ``source``; prints the ids in order.

    The options of the command are defaults for lines that say nothing else.
    """
    if asked.id is not None or asked.wait or asked.follow:
        raise UsageError(
            "--id, --wait and --follow are for one run; give the lines ids, and use `jobctl wait`"
        )
    lines = _Lines(call, asked, job=job, force=force)
    with tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY) as spool:
        with open_source(source) as file:
            count = lines.check(file, spool)
        if dry_run:
            call.console.note(f"{count} runs are fine; nothing was submitted (--dry-run)")
            return ExitCode.OK
        spool.seek(0)
        return _send(call, lines.runs(spool), spool=asked.spool)


class _Tally:
    """What became of the runs so far."""

    def __init__(self, call: Invocation) -> None:
        self._console = call.console
        self.refused = self.skipped = self.accepted = self.spooled = 0
        self.taken: list[Receipt] = []
        self.documents: list[dict[str, object]] = []

    def take(self, receipt: Receipt) -> None:
        """Count one, and tell its id if it has one."""
        self.spooled += receipt.spooled
        self.refused += receipt.full
        self.skipped += receipt.answer.kind == "skip"
        self.accepted += receipt.accepted
        if receipt.taken:
            self.taken.append(receipt)
        made = not (receipt.full or receipt.taken)
        self.tell(receipt.id, answer=receipt.answer.kind, job=receipt.job, shown=made)

    def tell(self, run_id: str, *, answer: str, job: str | None = None, shown: bool = True) -> None:
        """Write an id, or keep it for the document."""
        if self._console.json:
            body = {"id": run_id, "job": job, "answer": answer}
            self.documents.append({name: item for name, item in body.items() if item is not None})
        elif shown:
            # The rest is sent though nobody reads the ids any more.
            with suppress(BrokenPipeError):
                self._console.data(run_id)


def _send(call: Invocation, runs: Iterator[NewRun], *, spool: bool) -> int:
    console = call.console
    tally = _Tally(call)
    try:
        for receipt in send_many(call.session, runs, spool=spool):
            tally.take(receipt)
    except BaseException as error:
        if isinstance(error, LostSubmitError | NotReplicatedError):
            # They may or may not be there for good, and nothing else knows their ids.
            for run_id in error.ids:
                tally.tell(run_id, answer=error.code)
        if console.json and tally.documents:
            console.document({"runs": tally.documents})
        if tally.accepted:
            console.note(f"{tally.accepted} runs were accepted before this happened")
        if isinstance(error, JobctlError):
            raise error from None
        raise
    if console.json:
        console.document({"runs": tally.documents})
    return _conclude(call, tally)


def _conclude(call: Invocation, tally: _Tally) -> int:
    refused, skipped, accepted = tally.refused, tally.skipped, tally.accepted
    if tally.spooled:
        call.console.note(spooled(f"each of the last {tally.spooled} runs", call))
    if refused:
        call.console.report(
            "not_accepted",
            f"{refused} runs were not accepted, their queue is full; {accepted} were",
        )
    if skipped:
        call.console.note(f"{skipped} runs were skipped, an older run of their job has not ended")
    if tally.taken:
        call.console.report("usage", _taken(tally))
        return ExitCode.USAGE
    return ExitCode.NOT_ACCEPTED if refused or skipped else ExitCode.OK


def _taken(tally: _Tally) -> str:
    shown = "; ".join(
        f"{one.id} of job {one.answer.detail}, not {one.job}" for one in tally.taken[:MOST_SHOWN]
    )
    more = "; …" if len(tally.taken) > MOST_SHOWN else ""
    return (
        f"{len(tally.taken)} runs were not submitted, {tally.accepted} were: their ids are those of runs "
        f"of other jobs ({shown}{more}); give them other ids, or none"
    )


class _Lines:
    """The lines of one input as runs."""

    def __init__(self, call: Invocation, asked: Asked, *, job: str | None, force: bool) -> None:
        self._call = call
        self._asked = asked
        self._job = job
        self._force = force
        self._submitter = own_name()
        self._warned: set[str] = set()

    def check(self, file: IO[bytes], spool: IO[bytes]) -> int:
        """Copy the lines while checking them all; return how many runs they are.

        Raises the first problem's branch of ``JobctlError`` with all problems in its message.
        """
        problems: list[JobctlError] = []
        count = 0
        for number, line in enumerate(file, 1):
            spool.write(line if line.endswith(b"\n") else line + b"\n")
            if not line.strip():
                continue
            try:
                self._run(number, line)
                count += 1
            except AWAY:
                raise
            except JobctlError as error:
                problems.append(type(error)(_numbered(number, error)))
                if len(problems) > MOST_SHOWN:
                    break
        if problems:
            raise _together(problems)
        return count

    def runs(self, spool: IO[bytes]) -> Iterator[NewRun]:
        """Yield the runs of lines that were checked."""
        for number, line in enumerate(spool, 1):
            if line.strip():
                yield self._run(number, line)

    def _run(self, number: int, line: bytes) -> NewRun:
        body = loads(line, f"line {number}")
        if not isinstance(body, dict):
            raise UsageError(f"line {number}: write one JSON object a line")
        wish = self._wish(body)
        run = prepare(self._call.session, wish, submitter=self._submitter)
        require_queue(self._call, self._asked, wish.queue)
        if wish.args and wish.job not in self._warned:
            self._warned.add(wish.job)
            warn_of_ignored(self._call, run.request)
        return run

    def _wish(self, body: dict[str, object]) -> Wish:
        unknown = body.keys() - KEYS
        if unknown:
            raise UsageError(
                f"unknown key {min(unknown)!r}; a line may have {', '.join(sorted(KEYS))}"
            )
        asked = self._asked
        job = body.get("job", self._job)
        if job is None:
            raise UsageError("it names no job, and neither does the command")
        if not isinstance(job, str):
            raise UsageError("job must be a text")
        delayed = "in" in body or "at" in body
        return Wish(
            job,
            args=_typed(body, "args", list, []),  # type: ignore[arg-type]
            kwargs=_typed(body, "kwargs", dict, {}),  # type: ignore[arg-type]
            id=_typed(body, "id", str, None),  # type: ignore[arg-type]
            start_in=_duration(body, "in") if delayed else asked.start_in,
            start_at=self._at(body) if delayed else asked.start_at,
            expires=_duration(body, "expires") if "expires" in body else asked.expires,
            queue=_typed(body, "queue", str, asked.queue),  # type: ignore[arg-type]
            priority=_typed(body, "priority", int, asked.priority),  # type: ignore[arg-type]
            timeout=_duration(body, "timeout") if "timeout" in body else asked.timeout,
            retries=_typed(body, "retries", int, asked.retries),  # type: ignore[arg-type]
            tags={**asked.tags, **_tags(body)},
            force=self._force,
        )

    def _at(self, body: dict[str, object]) -> float | None:
        word = body.get("at")
        if word is None:
            return None
        from jobctl.client.schedules import default_zone, moment

        return moment(str(word), zone=default_zone(self._call.session)).timestamp()


def _typed(body: dict[str, object], key: str, kind: type, default: object) -> object:
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {list: "a list", dict: "an object", str: "a text", int: "a whole number"}
        raise UsageError(f"{key} must be {names[kind]}")
    return value


def _duration(body: dict[str, object], key: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise UsageError(f'{key} must be seconds or a text such as "10m"')
    return values.duration(key, value)  # type: ignore[arg-type]  # numbers are seconds


def _tags(body: dict[str, object]) -> dict[str, str]:
    tags: dict[str, object] = _typed(body, "tags", dict, {})  # type: ignore[assignment]  # checked there
    for key, value in tags.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UsageError(f"tags: {key!r} is no text; write one in quotes, or leave the tag out")
    return {key: str(value) for key, value in tags.items()}


def _numbered(number: int, error: JobctlError) -> str:
    text = str(error)
    return text if text.startswith(f"line {number}:") else f"line {number}: {text}"


def _together(problems: list[JobctlError]) -> JobctlError:
    listed = "\n  ".join(str(problem) for problem in problems[:MOST_SHOWN])
    more = "\n  …" if len(problems) > MOST_SHOWN else ""
    text = f"nothing was submitted; these lines are wrong:\n  {listed}{more}"
    if all(isinstance(problem, NotFoundError) for problem in problems):
        return NotFoundError(text)
    return UsageError(text)
