"""One supervisor per state directory, and what the next one must know of the last.

An advisory lock, ``supervisor.lock``, refuses a second one at once. Pools have locks of their own,
see :mod:`jobctl.engine.roster`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import time
from typing import TYPE_CHECKING

from jobctl.errors import ConfigError, NotAcceptedError, NotPermittedError

if TYPE_CHECKING:
    from pathlib import Path

    from jobctl.engine.identity import Identity

log = logging.getLogger(__name__)

TRIES = 5
PAUSE = 0.04
DIRECTORIES = ("logs", "pools", "spool", "store")


def prepare(state_dir: Path) -> None:
    """Make the state directory and what belongs into it, for this user only.

    Raises ``NotPermittedError`` or ``ConfigError`` with the remedy when that fails.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in DIRECTORIES:
            (state_dir / name).mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            # Jobs with `user =` must get through to their own files in the spool; what is beside
            # it is closed to them by its own mode.
            state_dir.chmod(state_dir.stat().st_mode & 0o7777 | 0o011)
        _check_writable(state_dir)
    except PermissionError as error:
        raise NotPermittedError(
            f"state directory {state_dir} cannot be written: {error.strerror}; "
            "give it to this user, or set state_dir in [jobctl]"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"state directory {state_dir} cannot be used: {error.strerror}; set state_dir in [jobctl]"
        ) from error


def _check_writable(directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class StateLock:
    """The lock of a state directory, and the facts of the supervisor that holds them."""

    def __init__(self, state_dir: Path) -> None:
        self._facts_path = state_dir / "supervisor.json"
        self._own = os.open(
            state_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._state_dir = state_dir

    def acquire(self) -> None:
        """Take the supervisor's lock; raises ``NotAcceptedError`` when another one holds it."""
        for _ in range(TRIES):
            try:
                fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # Commands that look whether a daemon is up hold the lock for a moment.
                time.sleep(PAUSE)
            else:
                return
        facts = self.facts()
        who = f" (pid {facts['pid']})" if "pid" in facts else ""
        self.release()
        raise NotAcceptedError(
            f"another jobctl daemon{who} is using {self._state_dir}; "
            "stop it with `jobctl stop`, or give this one its own state_dir"
        )

    def facts(self) -> dict[str, object]:
        """Return what the last supervisor wrote of itself; empty when nothing readable is there."""
        try:
            facts = json.loads(self._facts_path.read_text())
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def describe(self, identity: Identity) -> None:
        """Write down what the next supervisor of this state directory must know of this one."""
        self._write(
            {"supervisor": identity.supervisor, "pid": os.getpid(), "boot": identity.boot_id}
        )

    def forget(self) -> None:
        """Write down that there is nothing to go on with."""
        self._write({})

    def _write(self, facts: dict[str, object]) -> None:
        """Replace the facts in one step."""
        draft = self._facts_path.with_suffix(".tmp")
        try:
            draft.write_text(json.dumps(facts))
            draft.replace(self._facts_path)
        except OSError as error:
            log.error(  # noqa: TRY400 - what happened is said, where it was plays no part
                "supervisor.json in %s cannot be written (%s); should this daemon be killed, the "
                "next one does not go on with what runs", self._state_dir, error.strerror,
            )  # fmt: skip

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._own)
