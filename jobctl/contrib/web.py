"""What every web framework answers: 202 for a submitted run, and how a run is. Without a framework.

An answer is a status, a body that JSON can say, and headers; each framework makes its response of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobctl.client.results import readable_result
from jobctl.client.views import instant, loads
from jobctl.errors import (
    ConfigError,
    InvalidArguments,
    JobctlError,
    JobFailed,
    NotAcceptedError,
    NotFoundError,
    NotPermittedError,
    TimedOutError,
    UnreachableError,
    UsageError,
)
from jobctl.model.ids import is_id
from jobctl.model.run import RunState

if TYPE_CHECKING:
    from jobctl.api.handle import Handle
    from jobctl.model.run import Run

RETRY_AFTER = 1
"""Seconds after which a client should ask again; whole ones, as the header has them."""
AWAY_AFTER = 5
"""The same while the store is away or a queue is full."""
SHOWN_MOST = 500
"""Characters of an error that are shown."""
CODES: tuple[tuple[type[JobctlError], int], ...] = (
    (InvalidArguments, 422),
    (UsageError, 400),
    (NotFoundError, 404),
    (TimedOutError, 504),
    (UnreachableError, 503),
    (NotAcceptedError, 503),
    (NotPermittedError, 500),
    (ConfigError, 500),
)
"""What each branch of errors is answered with; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the browser or program that asked."""

    status: int
    body: dict[str, object]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as JSON, of ASCII alone: a result may have half a surrogate pair in it."""
        return json.dumps(self.body)


def checked(name: str, value: object, kind: str) -> None:
    """Raise ``ConfigError`` for a setting that is not of its ``kind``: ``flag``, ``seconds`` or ``allow``.

    A text such as ``"false"`` from an environment variable would else mean yes.
    """
    if kind == "flag" and not isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r} is neither True nor False")
    if kind == "seconds":
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 <= float(value) < float("inf")):  # type: ignore[arg-type]
            raise ConfigError(f"{name} = {value!r} is no number of seconds")
    if kind == "allow" and value is not None and not callable(value):
        raise ConfigError(f"{name} = {value!r} is no function")


def accepted(run_id: str, job: str, *, url: str) -> Answer:
    """Return 202 for a submitted run; ``url`` is where its state is told."""
    body: dict[str, object] = {"id": run_id, "job": job, "status_url": url}
    return Answer(202, body, {"Location": url, "Retry-After": str(RETRY_AFTER)})


def status(run: Run, *, url: str, allow_pickle: bool = False) -> Answer:
    """Return 200 and how a run is: state, progress, times, and result or error once it has ended.

    Arguments, output and tracebacks are not told: whoever has the id of a run is not always meant
    to see them. Of a result that cannot be read here, such as a pickle without ``allow_pickle``,
    ``result_unread`` says why.
    """
    result: object = None
    unread: dict[str, object] = {}
    if run.state is RunState.SUCCEEDED:
        try:
            result = readable_result(run.result, allow_pickle=allow_pickle)
        except JobctlError as error:
            unread = {"result_unread": str(error)}
    final = run.state.final
    body: dict[str, object] = {
        "id": run.id,
        "job": run.job,
        "state": run.state.value,
        "final": final,
        "progress": loads(run.progress),
        "result": result,
        **unread,
        "error": _error(run) if final and run.state is not RunState.SUCCEEDED else None,
        "submitted_at": instant(run.submitted_at),
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "status_url": url,
    }
    headers = {"Cache-Control": "no-store"}
    if not final:
        headers["Retry-After"] = str(RETRY_AFTER)
    return Answer(200, body, headers)


def reads_pickles(run: Handle) -> bool:
    """Return whether the client of a handle may read pickled results."""
    return run._reads_pickles  # noqa: SLF001 - what reads results for a program is its own


def revoked(run_id: str, *, done: bool, url: str) -> Answer:
    """Return 202 when a run is being revoked, 409 when it had ended already."""
    body: dict[str, object] = {"id": run_id, "revoked": done, "status_url": url}
    if not done:
        body["error"] = {"code": "ended", "message": f"run {run_id} has ended already"}
    return Answer(202 if done else 409, body, {"Location": url})


def refused(error: JobctlError) -> Answer:
    """Return the answer to a request that failed.

    What concerns the server alone, such as a wrong jobs.toml, is not told in detail: log it. Nor is
    which jobs and queues it has, and in what file.
    """
    code = next((code for kind, code in CODES if isinstance(error, kind)), 500)
    message = PLACE.sub("", str(error))[:SHOWN_MOST] if code < 500 else SERVER_SAYS[code]  # noqa: PLR2004 (the server's own fault)
    if isinstance(error, JobFailed):
        message = "the job that was waited for did not succeed"
    told: dict[str, object] = {"code": error.code, "message": message}
    if error.id is not None:
        told["id"] = error.id
    headers = {"Retry-After": str(AWAY_AFTER)} if code == 503 else {}  # noqa: PLR2004 (see CODES)
    return Answer(code, {"error": told}, headers)


PLACE = re.compile(r" in /[^;\n]*; it has .*", re.DOTALL)
"""What a message says of the file in which something was looked for, and of what is there."""
SERVER_SAYS = {
    500: "jobs cannot be submitted or looked at here now",
    503: "this cannot be accepted now; try again later",
    504: "the run has not ended yet; it goes on",
}


def forbidden() -> Answer:
    """Return 403 for somebody who may not do this."""
    return Answer(403, {"error": {"code": "not_permitted", "message": "you may not do this"}})


def unknown(run_id: str) -> Answer:
    """Return 404 for a run that there is not, or is not shown here."""
    return Answer(404, {"error": {"code": "not_found", "message": f"no run {run_id[:40]}"}})


def is_run_id(text: str) -> bool:
    """Tell whether a part of a URL can be a run's id: job names and beginnings of ids are not."""
    return is_id(text)


def wait_seconds(text: str | None, *, most: float) -> float:
    """Return how long to wait for the end of a run: what was asked for, and at most ``most`` seconds.

    Raises ``UsageError`` for what is no number.
    """
    if not text:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"wait={text[:20]!r} is no number of seconds")
    return min(seconds, most)


def _error(run: Run) -> dict[str, object]:
    lines = [line for line in (run.error or "").splitlines() if line.strip()]
    message = lines[-1].strip()[:SHOWN_MOST] if lines else None
    return {"reason": run.reason, "message": message, "exit_code": run.exit_code}
