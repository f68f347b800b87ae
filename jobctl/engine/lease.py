"""How long this host may count on the others to leave its runs alone.

Others take a supervisor's runs over when they have seen no beat of it for :data:`TTL` seconds. So
what must never run on two hosts at once (``strict_single``) is killed well before that, counted
from the moment at which the last beat was sent that the store has answered. The pool does it, or
its keeper when the pool is dead, which finds deadline and leaders in a file.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from jobctl.engine.host_journal import since_boot
from jobctl.engine.rescuer import TTL
from jobctl.engine.tree import read_process

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

STRICT = 0.75
"""Part of the TTL after which strict attempts are killed; the rest is for the killing."""


class Lease:
    """The lease of a supervisor as one of its pools knows it."""

    def __init__(self, path: Path, *, shared: bool) -> None:
        """``shared`` is False with an embedded store: no other host could take anything over."""
        self._path = path
        self._shared = shared
        self._deadline = since_boot() + TTL * STRICT
        self._leaders: dict[str, str] = {}

    def renew(self, sent: float) -> None:
        """Note that a beat sent at ``sent`` (seconds since boot) was answered."""
        self._deadline = max(self._deadline, sent + TTL * STRICT)
        if self._leaders:
            self._write()

    def begin(self, run_id: str, pid: int) -> None:
        """Watch over a strict attempt from its start."""
        process = read_process(pid) if self._shared else None
        if process is not None:
            self._leaders[run_id] = f"{pid} {process.start}"
            self._write()

    def end(self, run_id: str) -> None:
        """Forget an attempt; nothing happens when it is not a strict one."""
        if self._leaders.pop(run_id, None) is not None:
            self._write()

    def took(self, pid: int) -> bool:
        """Return whether the keeper killed an attempt's leader because the lease had run out."""
        try:
            lines = self._path.with_suffix(".exits").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return False
        return any(line.startswith(f"lease {pid} ") for line in lines)

    @property
    def over(self) -> bool:
        """Whether others may soon take over what this host runs."""
        return self._shared and since_boot() >= self._deadline

    def expired(self) -> list[str]:
        """Return the runs that must be killed now."""
        return list(self._leaders) if self.over else []

    def _write(self) -> None:
        draft = self._path.with_suffix(".lease-draft")
        try:
            if not self._leaders:
                self._path.unlink(missing_ok=True)
                return
            draft.write_text("\n".join([f"{self._deadline:.3f}", *self._leaders.values()]))
            draft.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            _log.error("the lease %s cannot be written: %s", self._path, error.strerror)
