"""jobctl by its command line: one process reads all runs as lines of JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [str(Path(sys.executable).with_name("jobctl")), "-c", os.environ["PEER_CONFIG"]]


def connect() -> None:
    """Do nothing: the process that submits connects by itself, and that counts."""


def submit_many(count: int) -> None:
    """Submit all in one process."""
    subprocess.run(
        [*COMMAND, "submit", "--from-ndjson", "-"],
        input=b'{"job": "noop"}\n' * count,
        stdout=subprocess.DEVNULL,
        check=True,
    )
