"""Ask an application's own interpreter what its modules hold: this process never imports them."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("discovery_child.py")
KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ")
"""What the child gets of this process' environment, as attempts have it."""


class NoAnswerError(Exception):
    """Raised with a message and a remedy when the child could not say what there is."""


class Surroundings:
    """Where and as whom modules are imported."""

    def __init__(
        self, python: str | None, cwd: str, environment: dict[str, str], *, user: str | None = None
    ) -> None:
        """``python`` is an interpreter or the directory of a virtual environment; default: ours.

        ``environment`` goes over the little that is kept of that of this process. Root imports as
        ``user``. Raises ``NoAnswerError`` when there is no such user.
        """
        self.python = sys.executable
        if python is not None:
            inside = Path(python) / "bin" / "python"
            self.python = str(inside) if inside.exists() else python
        self.cwd = cwd
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= environment
        self._identity = _identity(user, self.environment)

    @property
    def key(self) -> str:
        """The same for all that may be asked together."""
        return repr((self.python, self.cwd, sorted(self.environment.items()), self._identity))

    def start(self, fds: tuple[int, int, int], *, output: int) -> subprocess.Popen[bytes]:
        """Start the child in a session of its own; raises ``NoAnswerError``.

        ``fds`` are where it answers, where it reads what it is asked, and where it writes down its
        stack when it is ended; see import_watch.py.
        """
        command = [self.python, str(CHILD), *map(str, fds)]
        try:
            return subprocess.Popen(  # noqa: S603 (what the administrator configured)
                command, cwd=self.cwd, env=self.environment, pass_fds=fds,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                **self._identity,
            )  # fmt: skip
        except OSError as error:
            what = self.cwd if error.filename == self.cwd else self.python
            raise NoAnswerError(
                f"{what} cannot be used to import modules: {error.strerror}",
                "correct interpreter in [python], or cwd in [defaults]",
            ) from error


def _identity(user: str | None, environment: dict[str, str]) -> dict[str, Any]:
    """Return as whom the child runs: root does not import what belongs to another user's jobs."""
    if user is None or os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise NoAnswerError(
            f"there is no user {user!r} to import modules as", "correct user in [defaults]"
        ) from None
    if entry.pw_uid == 0:
        return {}
    environment.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
