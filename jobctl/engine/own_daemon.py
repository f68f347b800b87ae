"""What a program that starts a daemon of its own needs: its command, its environment, its first word."""

from __future__ import annotations

import itertools
import os
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

LOOK_EVERY = 0.1
"""Seconds that :meth:`ReadySocket.heard` waits."""
_numbers = itertools.count()


def command(*words: str) -> list[str]:
    """Return the argument vector of a ``jobctl`` command, run by this interpreter."""
    return [sys.executable, "-P", "-m", "jobctl", *words]


def own_environment(directory: str) -> dict[str, str]:
    """Return this environment without what would lead ``jobctl`` elsewhere, its cache in ``directory``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JOBCTL_", "NOTIFY_", "WATCHDOG_", "JOURNAL_"))
        and name not in {"STATE_DIRECTORY", "RUNTIME_DIRECTORY"}
    }
    return kept | {"XDG_CACHE_HOME": f"{directory}/cache"}


class ReadySocket:
    """Hears a daemon say that it is ready, as a service manager would."""

    def __init__(self) -> None:
        # An abstract name: no file, and no limit to the length of a directory's path.
        name = f"jobctl-ready-{os.getpid()}-{next(_numbers)}"
        self.variables = {"NOTIFY_SOCKET": f"@{name}"}
        """What the daemon's environment must have."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self._socket.settimeout(LOOK_EVERY)

    def heard(self) -> bool:
        """Wait a moment; tell whether the daemon said that it is ready."""
        try:
            return b"READY=1" in self._socket.recv(4096)
        except TimeoutError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
