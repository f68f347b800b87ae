"""What ``jobctl doctor --verify`` and ``--repair`` make of all that the store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobctl.client.doctor import ERROR, OK, WARNING, Check
from jobctl.errors import JobctlError
from jobctl.store import queries, verify
from jobctl.store.failures import WRONG_TYPE, first_word
from jobctl.store.verify import repair as mending
from jobctl.store.verify.census import shown
from jobctl.store.verify.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jobctl.client.open import Session
    from jobctl.store.verify import Audit
    from jobctl.store.verify.finding import Finding
    from jobctl.store.verify.repair import Deed, Repair

CHUNK = 500
"""Runs that are asked for together."""


def audit(session: Session) -> Audit:
    """Read the namespace, twice when there is something to find.

    Raises a branch of :class:`~jobctl.errors.JobctlError` when the store cannot be read.
    """
    return verify.audit(session.store, session.keys)


def repair(session: Session, found: Audit) -> Repair:
    """Mend what was found, as far as that can be done in the store; see :func:`audit`."""
    return mending.repair(session.store, session.keys, found)


def claims(session: Session, run_ids: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return letter, owner and epoch of runs, as :func:`jobctl.store.queries.claim_of` does.

    What has a record that is none counts as unknown.
    """
    ids = list(dict.fromkeys(run_ids))
    found: dict[str, tuple[str, str, str]] = {}
    for i in range(0, len(ids), CHUNK):
        chunk = ids[i : i + CHUNK]
        calls = [queries.claim_of(session.keys, run_id) for run_id in chunk]
        for run_id, reply in zip(chunk, session.try_many(calls), strict=True):
            if not isinstance(reply, JobctlError):
                found[run_id] = reply
            elif first_word(reply.reply) != WRONG_TYPE:
                raise reply
    return found


def content_checks(found: Audit, more: Sequence[Finding] = ()) -> Iterator[Check]:
    """Yield what was read and how much is wrong, then one check a finding."""
    findings = [*found.findings, *more]
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    status = ERROR if errors else WARNING if findings else OK
    yield Check(
        name="contents",
        status=status,
        detail=f"{found.runs} runs in {found.keys} keys, {_counted(len(findings), errors)}",
        remedy="see each below" if findings else "",
    )
    for finding in findings:
        yield Check(
            name=finding.kind.value,
            status=finding.severity.value,
            detail=f"{finding.key}: {finding.what}",
            remedy=finding.remedy,
        )


def repair_checks(done: Repair) -> Iterator[Check]:
    """Yield how much was mended, then one check a deed."""
    refused = sum(not deed.done for deed in done.deeds)
    yield Check(
        name="repair",
        status=WARNING if refused else OK,
        detail=f"{len(done.deeds) - refused} mended, {refused} left alone",
        remedy="what was left alone mends itself soon: run it again" if refused else "",
    )
    for deed in done.deeds:
        yield Check(
            name=deed.finding.kind.value,
            status=OK if deed.done else WARNING,
            detail=f"{deed.finding.key}: {deed.finding.what}: {deed.done or deed.refused}",
        )


def _counted(findings: int, errors: int) -> str:
    if not findings:
        return "no contradiction"
    plural = "" if findings == 1 else "s"
    warnings = findings - errors
    rest = "" if not warnings else f", {warnings} of them not to be mended in the store"
    return f"{findings} contradiction{plural}{rest}"


def body(found: Audit, more: Sequence[Finding] = ()) -> dict[str, object]:
    """Return the JSON form of an audit."""
    return {
        "runs_read": found.runs,
        "keys_read": found.keys,
        "findings": [plain(finding) for finding in (*found.findings, *more)],
    }


def plain_deed(deed: Deed) -> dict[str, object]:
    """Return the JSON form of a deed: the finding, and what was done or why not."""
    return {**plain(deed.finding), "done": deed.done or None, "refused": deed.refused or None}


def plain(finding: Finding) -> dict[str, object]:
    """Return the JSON form of a finding."""
    return {
        "kind": finding.kind.value,
        "invariant": finding.kind.invariant or None,
        "severity": finding.severity.value,
        "key": finding.key,
        "run": shown(finding.run) or None,
        "detail": finding.what,
        "remedy": finding.remedy,
        "repairable": bool(finding.mend),
    }
