"""From the words people use for a run to its id.

A reference is a whole run id, the beginning of one (4 characters and more), a job's name (its
latest run), or ``@last`` (the last submitted run).
"""

from __future__ import annotations

from jobctl.client.forgotten import forgotten
from jobctl.client.open import hint, shown
from jobctl.errors import NoSuchRun, UsageError
from jobctl.model.ids import is_id, is_prefix
from jobctl.store import queries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobctl.client.open import Session
    from jobctl.model.run import Run

LAST = "@last"
CANDIDATES = 5
"""Ids listed for a prefix that fits several."""


def resolve(session: Session, word: str) -> str:
    """Return the id of the run that ``word`` stands for.

    Raises ``NoSuchRun`` when there is none, ``UsageError`` when several begin with it.
    """
    keys = session.keys
    try:
        word.encode()
    except UnicodeEncodeError:
        raise NoSuchRun(f"no job or run {shown(word)}: it is no text") from None
    known, latest = session.run_many([queries.exists(keys, word), queries.latest(keys, word)])
    if known and is_id(word):
        return word
    if latest is not None:
        return _not_forgotten(session, word, latest)
    if is_prefix(word) and not is_id(word) and word not in session.job_names:
        found = by_prefix(session, word)
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(_ambiguous(word, found))
    raise NoSuchRun(_nothing(session, word))


def resolve_all(session: Session, words: Sequence[str]) -> list[str]:
    """Return the ids of several references, each id once, in order."""
    return list(dict.fromkeys(resolve(session, word) for word in words))


def fetch(session: Session, word: str) -> Run:
    """Return the run that ``word`` stands for; raises as :func:`resolve`."""
    run = session.run(queries.run(session.keys, resolve(session, word)))
    if run is None:
        raise NoSuchRun(_nothing(session, word))
    return run


def by_prefix(session: Session, prefix: str) -> list[str]:
    """Return all run ids that begin with ``prefix``, by walking over the keys."""
    found: set[str] = set()
    cursor = "0"
    while True:
        cursor, ids = session.run(queries.scan_runs(session.keys, prefix, cursor))
        found.update(run_id for run_id in ids if is_id(run_id))
        if cursor == "0":
            return sorted(found)


def _not_forgotten(session: Session, word: str, run_id: str) -> str:
    if session.run(queries.exists(session.keys, run_id)):
        return run_id
    raise NoSuchRun(
        f"the latest run of {shown(word)}, {run_id}, is past its retention and forgotten"
        if word != LAST
        else f"the last submitted run, {run_id}, is past its retention and forgotten"
    )


def _ambiguous(word: str, found: Sequence[str]) -> str:
    listed = ", ".join(found[:CANDIDATES]) + (", …" if len(found) > CANDIDATES else "")
    return f"{len(found)} runs begin with {word}: {listed}; write more of the id"


def _nothing(session: Session, word: str) -> str:
    if word == LAST:
        return "nothing was submitted yet"
    if word in session.job_names:
        return f"job {word} has no runs yet"
    if is_id(word):
        return str(session.carry_out(forgotten(session, word)))
    return f"no job or run {shown(word)}{hint(word, session.job_names)}"
