"""Which processes on this host belong to attempts, so that each can be held against its claim.

``/proc`` names those of commands by their environment, and the host journals name Python attempts,
whose interpreters serve one after another. Without the right to read the environment of other
users' processes, theirs are passed over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.engine import journal_content
from jobctl.engine.host_journal import PYTHON
from jobctl.engine.roster import known_pools
from jobctl.engine.survivors import lives
from jobctl.engine.tree import environ_of, read_process
from jobctl.store.verify.finding import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AttemptProcess:
    """A live process and the claim under which it was started."""

    pid: int
    run_id: str
    owner: str
    epoch: int


def attempt_processes(state_dir: Path) -> list[AttemptProcess]:
    """Return the processes of attempts that supervisors of ``state_dir`` started, and that live."""
    found = {one.pid: one for one in _of_journals(state_dir)}
    found.update({one.pid: one for one in _of_environments(state_dir)})
    return [found[pid] for pid in sorted(found)]


def unclaimed(
    processes: Iterable[AttemptProcess], claims: Mapping[str, tuple[str, str, str]]
) -> list[Finding]:
    """I7: return those whose run is not claimed by their owner in their epoch, one a run.

    ``claims`` are letter, owner and epoch of their runs; empty words when the store has none.
    """
    found: dict[tuple[str, str, int], list[int]] = {}
    for one in processes:
        letter, owner, epoch = claims.get(one.run_id, ("", "", ""))
        if letter not in ("c", "r") or (owner, epoch) != (one.owner, str(one.epoch)):
            found.setdefault((one.run_id, one.owner, one.epoch), []).append(one.pid)
    return [
        Finding(
            Kind.PROCESS,
            f"pid {pids[0]}",
            f"{_processes(pids)} of run {run_id} {'goes' if len(pids) == 1 else 'go'} on under claim "
            f"{epoch} of {owner}, which is not in force",
            run_id,
        )
        for (run_id, owner, epoch), pids in found.items()
    ]


def _processes(pids: list[int]) -> str:
    return f"process {pids[0]}" if len(pids) == 1 else f"{len(pids)} processes"


def _of_journals(state_dir: Path) -> Iterator[AttemptProcess]:
    for files in known_pools(state_dir):
        for started in journal_content.read(files.journal).running.values():
            if started.kind == PYTHON and lives(started):
                yield AttemptProcess(started.pid, started.run_id, files.owner, started.epoch)


def _of_environments(state_dir: Path) -> Iterator[AttemptProcess]:
    spool = os.fsencode(state_dir / "spool") + b"/"
    for name in os.listdir("/proc"):  # noqa: PTH208 - as in tree.py
        process = read_process(int(name)) if name.isdigit() else None
        if process is None or process.zombie:
            continue
        environ = environ_of(process.pid)
        if not environ.get(b"JOBCTL_RESULT_FILE", b"").startswith(spool):
            continue
        owner, _, place = (
            environ.get(b"JOBCTL_SUPERVISOR", b"").decode(errors="replace").rpartition("/")
        )
        epoch = place.partition(".")[2]
        if owner and epoch.isdigit():
            run_id = environ.get(b"JOBCTL_RUN_ID", b"").decode(errors="replace")
            yield AttemptProcess(process.pid, run_id, owner, int(epoch))
