"""``progress``: what a running job tells of itself."""

from __future__ import annotations

import os

from jobctl.errors import ExitCode, NotPermittedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.cli.invocation import Invocation

VARIABLE = "JOBCTL_PROGRESS_FILE"
LONGEST_MESSAGE = 500


def progress(call: Invocation, *, percent: str, message: list[str]) -> int:  # noqa: ARG001 - as all verbs
    """Append one line to the file the run's pool watches."""
    path = os.environ.get(VARIABLE)
    if not path:
        raise UsageError(f"progress works inside a job only: {VARIABLE} is not set")
    number = percent.removesuffix("%")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:  # noqa: PLR2004 (percent)
        raise UsageError(f"{percent[:20]!r} is not a number from 0 to 100")
    text = " ".join(" ".join(message).split())[:LONGEST_MESSAGE]
    line = f"{share:g} {text}".rstrip() + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode("utf-8", "replace"))
        finally:
            os.close(fd)
    except OSError as error:
        raise NotPermittedError(f"{path} cannot be written: {error.strerror}") from error
    return ExitCode.OK
