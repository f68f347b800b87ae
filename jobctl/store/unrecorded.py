"""Outcomes of runs that the store does not know any more, because it lost its data."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from jobctl.model.run import LETTERS

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.store.settling import Settlement

NAME = "unrecorded.jsonl"
"""In the state directory; `jobctl doctor` reports what is in it."""
MOST = 4 * 1024 * 1024
"""Bytes; beyond them outcomes are only logged."""

_log = logging.getLogger(__name__)


def keep(state_dir: Path, item: Settlement, *, now: float) -> None:
    """Append the outcome of a run to the file of those the store has lost, and say so loudly.

    ``now`` is epoch seconds.
    """
    state = LETTERS[item.letter].value
    fields = dict(zip(item.fields[::2], item.fields[1::2], strict=True))
    entry = {"id": item.id, "state": state, "reason": item.reason, "at": now}
    entry |= {
        name: fields[key]
        for name, key in (("exit_code", "rc"), ("signal", "sg"), ("error", "er"), ("result", "re"))
        if key in fields
    }
    line = json.dumps(entry, default=str).encode() + b"\n"
    # First the file, then the word: whoever reads the log may look at once.
    where = f"is in {state_dir / NAME}"
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(state_dir / NAME, flags, 0o600)
        try:
            if os.fstat(fd).st_size < MOST:
                os.write(fd, line)
            else:
                where = f"is not kept, {state_dir / NAME} is full"
        finally:
            os.close(fd)
    except OSError as error:
        where = f"could not be kept: {error.strerror}"
    _log.error("THE STORE HAS LOST run %s: its outcome (%s) %s", item.id, state, where)


def kept(state_dir: Path) -> tuple[int, str]:
    """Return how many outcomes the file has, and of which run the last one is.

    Raises OSError.
    """
    try:
        lines = (state_dir / NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return 0, ""
    try:
        last = str(json.loads(lines[-1])["id"]) if lines else ""
    except (ValueError, KeyError, TypeError):
        last = "?"
    return len(lines), last
