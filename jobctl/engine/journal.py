"""The daemon's own log: one line an event on standard error.

Under systemd each line starts with its priority, which the journal reads, and carries no time,
because the journal has its own. What runs print never goes here; it has log files.
"""

from __future__ import annotations

import logging
import os
import sys

_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in text.splitlines())


def under_systemd() -> bool:
    """Tell whether standard error is connected to the journal."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(sys.stderr.fileno())
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def configure_logging(level: str | None = None) -> None:
    """Set the root logger up; ``level`` defaults to ``JOBCTL_LOG_LEVEL``, else ``info``."""
    name = (level or os.environ.get("JOBCTL_LOG_LEVEL") or "info").upper()
    handler = logging.StreamHandler()
    if under_systemd():
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        formatter = logging.Formatter(
            "%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
        )
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(getattr(logging, name, logging.INFO))
    logging.getLogger("asyncio").setLevel(logging.WARNING)
