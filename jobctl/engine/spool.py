"""What dead processes of a pool left in the spool, and who still needs it.

A slot that begins empty clears its own files away. One that goes on with what a dead process began
cannot, and slots that the pool has no more are not there to do so.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from jobctl.engine.journal_content import Started
    from jobctl.engine.roster import PoolFiles


def tally_file(spool: Path, *, slot: str, pid: int) -> Path:
    """Return where the bundles of an interpreter are counted; ``slot`` is the name of its slot."""
    return spool / f"{slot}.{pid}.tally"


def clear(files: PoolFiles, *, under_way: Iterable[Started], logs: Collection[int]) -> None:
    """Delete what the slots of a pool left, but for attempts that are still to end.

    ``logs`` are the numbers of the slots that take care of their own. An interpreter that lives
    keeps its tally if it runs one of the attempts; else it has the file open, and goes.
    """
    prefix = f"{files.serial}-"
    spool = files.state_dir / "spool"
    kept = {f"{prefix}{number}.log" for number in logs}
    bases: tuple[str, ...] = ()
    for one in under_way:
        slot = f"{prefix}{one.slot}"
        kept.add(tally_file(spool, slot=slot, pid=one.pid).name)
        kept.add(f"{slot}.{one.run_id}.{one.attempt}")
        bases += (f"{slot}.{one.run_id}.{one.attempt}.",)
    with contextlib.suppress(OSError):
        for entry in os.scandir(spool):
            name = entry.name
            if name.startswith(prefix) and name not in kept and not name.startswith(bases):
                remove(entry.path)


def remove(name: str | Path) -> None:
    """Delete a file, or a directory with all that is in it; nothing happens when that fails."""
    path = Path(name)
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            import shutil  # noqa: PLC0415 - 0.3 MB that only a job that made a directory costs

            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
