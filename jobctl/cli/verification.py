"""Holds the store against itself, and the processes of this host against the store."""

from __future__ import annotations

from pathlib import Path

from jobctl.client import contents
from jobctl.engine import strays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client.open import Session
    from jobctl.store.verify import Audit
    from jobctl.store.verify.finding import Finding


def examined(session: Session) -> tuple[Audit, list[Finding]]:
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
