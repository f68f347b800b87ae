"""What a run's end means to a program: its result, or an error that says how it failed."""

from __future__ import annotations

from jobctl.client.results import read_result
from jobctl.client.waiting import exit_code
from jobctl.errors import JobFailed, RunNotEnded
from jobctl.model.run import RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.model.run import Run as Record


def result_of(run: Record, *, allow_pickle: bool) -> object:
    """Return what the job of a final run returned.

    Raises ``JobFailed`` when it ended in another way, ``RunNotEnded`` when it has not ended, and
    as :func:`jobctl.client.results.read_result` when it cannot be read here.
    """
    if not run.state.final:
        raise RunNotEnded(
            f"run {run.id} is {run.state.value}; wait() waits for its end",
            job=run.job,
            ids=[run.id],
        )
    if exit_code(run) == 0:
        return read_result(run.result, allow_pickle=allow_pickle)
    raise failure_of(run)


def failure_of(run: Record) -> JobFailed:
    """Return the error that stands for a run that ended without success."""
    how = run.state.value
    if run.state is RunState.FAILED and run.reason:
        how = f"failed ({run.reason})"
    elif run.reason and run.reason != run.state.value:
        how = f"{how} ({run.reason})"
    kind, last = _last_words(run.error)
    said = last or (f"exit code {run.exit_code}" if run.exit_code else "")
    return JobFailed(
        f"run {run.id} of job {run.job} {how}" + (f": {said}" if said else ""),
        job=run.job,
        ids=[run.id],
        state=run.state.value,
        reason=run.reason,
        code=run.exit_code,
        signal=run.signal,
        error_type=kind,
        traceback=(run.attempts[-1].traceback if run.attempts else None) or run.error,
    )


def _last_words(error: str | None) -> tuple[str | None, str]:
    """Return the exception's name and the line of a traceback that has it."""
    lines = [line for line in (error or "").splitlines() if line.strip()]
    if not lines:
        return None, ""
    inside = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    if inside:
        rest = [line for line in lines[inside[-1] + 1 :] if not line.startswith(" ")]
        if rest:
            name = rest[0].partition(":")[0]
            return (name if name.replace(".", "").isidentifier() else None), rest[0]
    name, colon, _ = lines[0].partition(": ")
    is_name = bool(colon) and name.replace(".", "").isidentifier()
    return (name if is_name else None), lines[0]
