"""``jobctl doctor --verify`` and ``--repair``: the store is held against itself, and mended.

The processes of this host are held against the store as well.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from jobctl.client import contents
from jobctl.client.doctor import ERROR, WARNING, Check
from jobctl.engine import strays
from jobctl.errors import JobctlError, NotAcceptedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.cli.invocation import Invocation
    from jobctl.client.open import Session
    from jobctl.store.verify import Audit
    from jobctl.store.verify.finding import Finding

MOST_SHOWN = 200
"""Findings and repairs written one by one; ``--json`` has them all."""


def content_checks(
    call: Invocation, body: dict[str, object], *, repair: bool, yes: bool
) -> Iterator[Check]:
    """Yield what the store holds that it must not; with ``repair`` mend it, and yield what is left.

    ``body`` gets everything for ``--json``.
    """
    try:
        audit, processes = _examined(call.session)
        if not repair or not any(finding.mend for finding in audit.findings):
            body.update(contents.body(audit, processes))
            yield from _few(call, contents.content_checks(audit, processes))
            return
        if not yes:
            for check in _few(call, contents.content_checks(audit, processes)):
                # No error yet, where somebody can say yes: it is about to be mended.
                mild = check.status == ERROR and _can_ask()
                yield replace(check, status=WARNING if mild else check.status)
            _confirm(call, sum(bool(finding.mend) for finding in audit.findings))
        done = contents.repair(call.session, audit)
    except (NotAcceptedError, UsageError):
        raise
    except JobctlError as error:
        message, _, remedy = str(error).partition("; ")
        yield Check(name="contents", status=ERROR, detail=message, remedy=remedy)
        return
    body.update(contents.body(done.left, processes))
    body["repairs"] = [contents.plain_deed(deed) for deed in done.deeds]
    yield from _few(call, contents.repair_checks(done))
    yield from _few(call, contents.content_checks(done.left, processes))


def _few(call: Invocation, checks: Iterator[Check]) -> Iterator[Check]:
    """Yield the first check, and of the others as many as a person reads."""
    first, *rest = checks
    yield first
    if call.console.json:
        return
    yield from rest[:MOST_SHOWN]
    if len(rest) > MOST_SHOWN:
        yield Check(
            name=first.name, status=first.status, detail=f"{len(rest) - MOST_SHOWN} more are not shown",
            remedy="--json has them all",
        )  # fmt: skip


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _confirm(call: Invocation, findings: int) -> None:
    what = f"{findings} contradiction{'' if findings == 1 else 's'}"
    if not _can_ask():
        raise UsageError(f"--repair would mend {what}: add --yes, or --dry-run to see them")
    call.console.talk(f"Mend {what}? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAcceptedError("nothing was mended")


def _examined(session: Session) -> tuple[Audit, list[Finding]]:
    """Return what the store contradicts, and the processes here that go on without a claim.

    A process counts when it is without a claim before and after the store was read.
    """
    before = {finding.key for finding in _strays(session)}
    audit = contents.audit(session)
    after = _strays(session) if before else []
    return audit, [finding for finding in after if finding.key in before]


def _strays(session: Session) -> list[Finding]:
    processes = strays.attempt_processes(Path(session.settings.state_dir))
    claims = contents.claims(session, (one.run_id for one in processes))
    return strays.unclaimed(processes, claims)
