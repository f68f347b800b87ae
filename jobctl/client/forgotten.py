"""What can still be said of a run of which the store has no record."""

from __future__ import annotations

from jobctl.client.steps import patiently
from jobctl.errors import NoSuchRun
from jobctl.model.run import LETTERS
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.client.steps import Steps


def forgotten(session: Session, run_id: str, *, job: str = "") -> Steps[NoSuchRun]:
    """Return the error for a run without a record, which says what has dropped it where that is known.

    ``job`` is that of a run that was there: one that was accepted here, or read before.
    """
    (left,) = yield from patiently(session, [queries.given_id(session.keys, run_id)])
    became = ""
    if left is not None:
        letter, job = left
        became = f", has ended ({LETTERS[letter].value})"
    if not job:
        return NoSuchRun(f"no run {run_id}: it never was, or is past its retention", ids=[run_id])
    (kept,) = yield from patiently(session, [queries.history_length(session.keys, job)])
    return NoSuchRun(
        f"run {run_id} of job {job} was accepted{became}, and its record is gone: "
        f"{_why(session, job, kept)}",
        job=job,
        ids=[run_id],
    )


def _why(session: Session, job: str, kept: int) -> str:
    found = session.find_job(job)
    if found is None:
        return "keep_runs or keep_days of its job has dropped it"
    if kept >= max(found.keep_runs, 1):
        return f"keep_runs = {found.keep_runs} of the job has dropped it, because newer runs ended"
    failed = "" if found.keep_failed is None else f" or keep_failed = {found.keep_failed}"
    days = f"keep_days = {found.keep_days:g}{failed}"
    return f"{days} of the job has dropped it, or the store has lost it"
