"""Messages to systemd (sd_notify(3)): eight lines rather than a dependency that is not kept."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Tells the service manager how the daemon is; does nothing when none listens."""

    def __init__(self, address: str | None) -> None:
        self.given = address
        """As it was in the environment."""
        self._address = "\0" + address[1:] if address and address[0] == "@" else address

    @classmethod
    def from_environment(cls) -> Notifier:
        """Use ``NOTIFY_SOCKET`` and remove it, so that no attempt inherits it."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def send(self, *lines: str) -> None:
        """Send state lines, such as ``READY=1``; a manager that is gone is ignored."""
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sock:
            sock.sendto("\n".join(lines).encode(), self._address)


def watchdog_period(environ: dict[str, str]) -> float | None:
    """Return how often in seconds the manager wants a sign of life: half of what it allows."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2_000_000
