"""Ask an application's own interpreter what its modules hold: this process never imports them."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
"""Seconds that importing the modules of an application may take."""
CHILD = Path(__file__).with_name("discovery_child.py")
KEPT = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ")
"""What the child gets of this process' environment, as attempts have it."""
LAST_WORDS = 300


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

    def ask(self, words: list[str], *, modules: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the child answers; raises ``NoAnswerError``. ``modules`` is for messages."""
        with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
            command = [self.python, str(CHILD), str(answer.fileno()), *words]
            try:
                child = subprocess.Popen(  # noqa: S603 (what the administrator configured)
                    command, cwd=self.cwd, env=self.environment, pass_fds=(answer.fileno(),),
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    **self._identity,
                )  # fmt: skip
            except OSError as error:
                what = self.cwd if error.filename == self.cwd else self.python
                raise NoAnswerError(
                    f"{what} cannot be used to import modules: {error.strerror}",
                    "correct interpreter in [python], or cwd in [defaults]",
                ) from error
            if not _ended(child):
                raise NoAnswerError(
                    f"importing {modules} took more than {TIMEOUT:g} s",
                    "let modules only define what they hold when they are imported",
                )
            answer.seek(0)
            try:
                return json.loads(answer.read())
            except ValueError as error:
                output.seek(0)
                said = " ".join(output.read().decode("utf-8", "replace").split())[-LAST_WORDS:]
                raise NoAnswerError(
                    f"{self.python} ended with code {child.returncode} and said: {said or 'nothing'}",
                    "import the modules by hand to see why",
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


def _ended(child: subprocess.Popen[bytes]) -> bool:
    """Wait for the child, and end it with what it started when it takes too long."""
    try:
        child.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return False
    return True
