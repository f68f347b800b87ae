"""Replacing the supervisor's process by a new one in place: same process id, maybe newer code.

Children stay children, and the pools find the new process through its socket, so attempts do not
notice. Pools that run other code than the new supervisor are replaced when they have finished.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jobctl

if TYPE_CHECKING:
    from typing import NoReturn

    from jobctl.engine.notify import Notifier


_MARK = "JOBCTL_REPLACED"
"""Set in the environment of a process that goes on for another one, until it has read that."""


def code_version() -> str:
    """Return what tells this installation of jobctl from any other: its version and newest file."""
    package = Path(jobctl.__file__).parent
    files = [path for kind in ("*.py", "*.lua") for path in package.rglob(kind)]
    newest = max((path.stat().st_mtime_ns for path in files), default=0)
    return f"{jobctl.__version__} {package} {newest}"


def replace_process(notifier: Notifier) -> NoReturn:
    """Begin anew with the words this process was started with; raises ``OSError``."""
    if notifier.given is not None:
        os.environ["NOTIFY_SOCKET"] = notifier.given
    os.environ[_MARK] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own interpreter


def is_successor() -> bool:
    """Return whether this process was made by :func:`replace_process`; only the first call tells."""
    return os.environ.pop(_MARK, None) is not None
