"""One attempt of a Python job in this process, with the outcome that a pool's interpreter would report.

What goes in and what comes out is written as JSON and read again by the very code that does it
for pools, so that what cannot travel fails here too. What differs: the interpreter, its working
directory and its environment (but for the job's own and ``JOBCTL_*``) are those of the test; see
:mod:`jobctl.testing.time_limits` for how far time limits are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import os
import sys
import tempfile
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from jobctl.context import PROVIDER, RunContext, bound
from jobctl.engine import python_child, python_failure, python_stop
from jobctl.engine.ending import Finding, judge_reply, keeps_result, outcome_of
from jobctl.engine.environment import attempt_environment
from jobctl.engine.exchange import last_progress
from jobctl.engine.python_call import PythonReply, call_limits, named_exceptions
from jobctl.engine.python_child import Modules, ResultError, TargetError, encode_result
from jobctl.engine.python_forms import Form
from jobctl.errors import JobctlError
from jobctl.model.run import Outcome, OutcomeKind, Reason, Usage
from jobctl.testing import coroutines, time_limits
from jobctl.testing.surroundings import (
    environment,
    own_environment,
    put_back,
    search_path,
    signal_handlers,
    standard_input,
    surrounded,
)
from jobctl.testing.time_limits import Stopped, softly, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from jobctl.clock import Clock
    from jobctl.context import Link
    from jobctl.engine.attempt import AttemptSpec

    Answer = tuple[dict[str, Any], bytes, BaseException | None]

CALLERS = (__file__, python_stop.__file__, time_limits.__file__, coroutines.__file__)
"""Files of what calls a function of a job."""
LOOP = os.path.dirname(asyncio.__file__) + os.sep  # noqa: PTH120 (texts)
"""Where that is what awaits one."""


_providing = threading.Lock()
"""Held while there is a module by the name that only interpreters of pools have."""


class Called:
    """What came of one call."""

    def __init__(
        self, outcome: Outcome, *, output: str, progress: str | None, error: BaseException | None
    ) -> None:
        self.outcome = outcome
        self.output = output
        """What it printed."""
        self.progress = progress
        """JSON text, as last reported through ``$JOBCTL_PROGRESS_FILE``."""
        self.error = error
        """What the function raised."""


def call(spec: AttemptSpec, *, clock: Clock, link: Link) -> Called:
    """Call the function of ``spec`` and return what came of it; ``link`` serves its context.

    Lets through what is no failure of a job: Ctrl-C, and what ends a test from within, such as
    ``pytest.fail``.
    """
    output = io.StringIO()
    started, begun = clock.epoch(), clock.monotonic()
    progress, stopped = None, None
    with tempfile.TemporaryDirectory(prefix="jobctl-eager-") as folder:
        report = os.path.join(folder, "progress")  # noqa: PTH118 (texts)
        try:
            common = own_environment(spec)
        except JobctlError as error:
            reply, result, raised = {"reason": "spawn", "error": str(error)}, b"", None
        else:
            variables = attempt_environment(
                spec,
                common,
                result_file=os.path.join(folder, "result"),  # noqa: PTH118 (same)
                progress_file=report,
            )
            with (
                signal_handlers(),
                surrounded(
                    lambda: [
                        put_back(),
                        environment(variables),
                        search_path(spec, common),
                        standard_input(spec.job.stdin),
                        _copied_output(output),
                    ]
                ),
                _printing_to(output),
                bound(_context(spec, link, started), threads=True),
            ):
                try:
                    reply, result, raised = _in_thread_of_its_own(
                        lambda: within(spec.timeout, lambda: _invoke(spec))
                    )
                except Stopped as error:
                    said = f"did not end within its timeout of {spec.timeout:g} s"
                    stopped = Finding(OutcomeKind.FAILED, Reason.TIMEOUT, said)
                    reply, result = {"reason": Reason.TIMEOUT.value}, b""
                    raised = TimeoutError(said).with_traceback(_users_part(error.__traceback__))
        with contextlib.suppress(OSError), open(report, encoding="utf-8") as file:  # noqa: PTH123 (same)
            progress = last_progress(file.read())
    ending = judge_reply(spec.job, _reply(reply, result), stopped=stopped)
    outcome = outcome_of(
        ending,
        pid=os.getpid(),
        started_at=started,
        duration=clock.monotonic() - begun,
        usage=Usage(),
        log_bytes=0,
        log_truncated=False,
    )
    return Called(outcome, output=output.getvalue(), progress=progress, error=raised)


def _context(spec: AttemptSpec, link: Link, now: float) -> RunContext:
    at = spec.scheduled_at
    return RunContext(
        link,
        id=spec.run_id,
        job=spec.job.name,
        attempt=spec.number,
        max_attempts=None if spec.max_attempts < 0 else spec.max_attempts,
        queue=spec.queue,
        trigger=spec.trigger,
        tags=spec.tags,
        scheduled_at=None if at is None else datetime.fromisoformat(at),
        deadline=None if spec.timeout is None else now + spec.timeout,
    )


def _invoke(spec: AttemptSpec) -> Answer:
    """Call the function; returns what a child would reply, the result's bytes, and what was raised."""
    reply: dict[str, Any] = {}
    try:
        form = _form(spec)
        function = Modules.target(spec.job.python or "")
        value = softly(spec.job.soft_timeout, function, spec.args, spec.kwargs, run=coroutines.run)
        if hasattr(type(value), "__await__"):
            value = coroutines.run(_awaited(value))
        if value is None or not keeps_result(spec.job, succeeded=True):
            return reply, b"", None
        return reply, encode_result(value, spec.max_result, form), None
    except ResultError as error:
        reply.update(reason="result", error=str(error))
        _say(str(error))
        return reply, b"", error
    except TargetError as error:
        reply.update(reason="spawn", error=str(error))
        _say(str(error))
        return reply, b"", error
    except SystemExit as error:
        _exit_as_script(error.code, reply)
        return reply, b"", error
    except BaseException as error:
        if _is_no_outcome(error):
            raise
        python_failure.describe(
            error.with_traceback(_users_part(error.__traceback__)),
            reply,
            expected=spec.job.expected,
            named=named_exceptions(spec.job),
        )
        return reply, b"", error


def _is_no_outcome(error: BaseException) -> bool:
    """Tell what a function raises that is not its own: Ctrl-C, ends of its time and of the test."""
    if isinstance(error, KeyboardInterrupt | Stopped):
        return True
    outcomes = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and isinstance(error, outcomes.OutcomeException)


def _form(spec: AttemptSpec) -> Form | None:
    """Return how the job's results are written when it is not as usual; raises ``TargetError``."""
    wish: Any = call_limits(spec).get("result")
    if wish is None:
        return None
    # What makes it looks for the interpreter's own module by the name that has there.
    with _providing:
        sys.modules[PROVIDER] = python_child
        try:
            return Form(wish)
        finally:
            del sys.modules[PROVIDER]


def _say(text: str) -> None:
    """Write a line of jobctl's own into the log of the run."""
    sys.stderr.write(f"jobctl: {text}\n")


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return ``trace`` from below our own modules, as if the job had been called by nobody."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in CALLERS and not file.startswith(LOOP):
            break
        trace = trace.tb_next
    return trace


async def _awaited(value: Any) -> object:  # noqa: ANN401 - any awaitable
    return await value


def _exit_as_script(code: object, reply: dict[str, Any]) -> None:
    """Fill ``reply`` with what ``sys.exit(code)`` means at the end of a script."""
    if code is not None and not isinstance(code, int):
        reply["error"] = f"{code}"
        sys.stderr.write(f"{code}\n")
        code = 1
    reply["exit_code"] = (code or 0) & 0xFF
    if reply["exit_code"]:
        reply["reason"] = "exit"


def _reply(reply: dict[str, Any], result: bytes) -> PythonReply:
    reason = reply.get("reason")
    return PythonReply(
        reason=None if reason is None else Reason(reason),
        result=result.decode() or None,
        exception=reply.get("exception"),
        bases=tuple(reply.get("bases", ())),
        error=reply.get("error"),
        exit_code=reply.get("exit_code"),
        retry_in=reply.get("retry_in"),
        again=bool(reply.get("again")),
        skip=bool(reply.get("skip")),
        traceback=reply.get("traceback"),
        fatal=bool(reply.get("fatal")),
    )


_printed: contextvars.ContextVar[io.StringIO | None] = contextvars.ContextVar(
    "jobctl_printed", default=None
)
"""Where that goes what the call prints that is under way; threads that it starts do not know."""


@contextlib.contextmanager
def _printing_to(copy: io.StringIO) -> Iterator[None]:
    token = _printed.set(copy)
    try:
        yield
    finally:
        _printed.reset(token)


class _Copying(io.TextIOBase):
    """A text stream that also keeps what is written to it, unless another run's call writes it."""

    def __init__(self, stream: TextIO | None, copy: io.StringIO) -> None:
        self._stream, self._copy = stream, copy

    def write(self, text: str) -> int:
        if _printed.get() in {None, self._copy}:
            self._copy.write(text)
        return len(text) if self._stream is None else self._stream.write(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # io has it as an attribute
        return getattr(self._stream, "encoding", None) or "utf-8"


@contextlib.contextmanager
def _copied_output(copy: io.StringIO) -> Iterator[None]:
    before = python_failure._write  # noqa: SLF001 - it writes to the descriptor, past the copy
    python_failure._write = lambda text: print(text, end="", file=sys.stderr)  # noqa: SLF001, T201 - same
    out, err = _Copying(sys.stdout, copy), _Copying(sys.stderr, copy)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    finally:
        python_failure._write = before  # noqa: SLF001 - same


def _in_thread_of_its_own(work: Callable[[], Answer]) -> Answer:
    """Do ``work``, in another thread when an event loop runs in this one: a job may need its own."""
    if not coroutines.in_event_loop():
        return work()
    found: list[Answer] = []
    raised: list[BaseException] = []

    def do() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            raised.append(error)

    context = contextvars.copy_context()
    if not coroutines.served(lambda: context.run(do)):
        thread = threading.Thread(target=context.run, args=(do,), name="jobctl-eager")
        thread.start()
        thread.join()
    if raised:
        raise raised[0]
    return found[0]
