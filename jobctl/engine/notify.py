"""Messages to systemd (sd_notify(3)): eight lines rather than a dependency that is not kept."""

from __future__ import annotations

import contextlib
import os
import socket

PASSING = ("STATUS=", "WATCHDOG=")
"""What is said again soon anyway."""
MOMENT = 1.0


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
        """Send state lines, such as ``READY=1``; a manager that is gone is ignored.

        One that does not read its socket is not waited for: it must not stop the heartbeat. What
        it has to know (anything but a status) gets a second.
        """
        if not self._address:
            return
        patience = 0.0 if all(line.startswith(PASSING) for line in lines) else MOMENT
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sock:
            sock.settimeout(patience)
            sock.sendto("\n".join(lines).encode(), self._address)


def watchdog_period(environ: dict[str, str]) -> float | None:
    """Return how often in seconds the manager wants a sign of life: half of what it allows."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2_000_000
