"""What one attempt is given, and where its files live."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.model.job import JobDef
    from jobctl.model.run import Parent

DEFAULT_MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes of log kept of an attempt whose job says nothing: enough to read, too little to fill a disk."""

DEFAULT_MAX_RESULT = 256 * 1024
"""Bytes of a result: it is kept in the store, whose memory everybody shares."""

LOGS_MODE = 0o750
SPOOL_MODE = 0o711
"""Jobs with ``user =`` reach their own files in the spool, without seeing those of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """One attempt of one run: the definition and everything that is different this time."""

    run_id: str
    job: JobDef
    number: int = 1
    """From 1."""
    max_attempts: int = 1
    """-1: without end."""
    args: tuple[object, ...] = ()
    kwargs: dict[str, object] = field(default_factory=dict)
    queue: str = "default"
    trigger: str = "manual"
    scheduled_at: str | None = None
    """RFC 3339 with the schedule's own offset; ``None`` when no schedule made the run."""
    tags: dict[str, str] = field(default_factory=dict)
    parent: Parent | None = None
    """What the run of a hook is about."""
    timeout: float | None = None
    """Seconds left for this attempt; ``None``: no limit."""
    supervisor: str = ""
    """Whose attempt it is; left-over processes of a dead supervisor are found by it."""
    timezone: str = "UTC"
    """``TZ`` of the attempt."""
    max_output: int = DEFAULT_MAX_OUTPUT
    """Bytes."""
    max_result: int = DEFAULT_MAX_RESULT
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDirs:
    """Where attempts put their files."""

    logs: Path
    """Finished logs, one directory a job; see :func:`log_file`."""
    spool: Path
    """Files of attempts that run now; nothing in it outlives its pool."""

    @classmethod
    def under(cls, state_dir: Path) -> AttemptDirs:
        """Return the directories of the supervisor that owns ``state_dir``."""
        return cls(logs=state_dir / "logs", spool=state_dir / "spool")

    def create(self) -> None:
        """Make both directories; harmless when they exist.

        Jobs with ``user =`` also need the ``x`` bit for everybody on ``state_dir`` itself.
        """
        self.logs.mkdir(mode=LOGS_MODE, parents=True, exist_ok=True)
        self.spool.mkdir(mode=SPOOL_MODE, parents=True, exist_ok=True)
        self.spool.chmod(SPOOL_MODE)


def log_file(logs_dir: Path, job: str, run_id: str, attempt: int) -> Path:
    """Return where the log of an attempt is; no such file means that it printed nothing."""
    return logs_dir / job / f"{run_id}.{attempt}.log"
