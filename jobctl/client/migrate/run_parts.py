"""One job for each script of a directory that ``run-parts`` runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE, Findings, JobDraft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobctl.client.migrate.idioms import Native

_PLAIN = re.compile(
    r"(?:/usr/bin/|/bin/)?run-parts\s+(?:(?:--report|--verbose|-v|--exit-on-error|--)\s+)*\S+/?\s*"
)
_DEBIAN_NAME = re.compile(r"[A-Za-z0-9_-]+")
LIMIT = "run-parts"
CODE = "run-parts"
"""What remarks about such a line are filed under."""


def expand(
    native: Native,
    directory: str,
    *,
    keys: Mapping[str, object],
    file: str,
    line: int,
    original: str,
    found: Findings,
) -> bool:
    """Add a job per script; return False, with a warning, if the line has to be kept as it is."""
    if not _PLAIN.fullmatch(native.command):
        why = f"{native.command!r} is more than run-parts"
        return _kept(found, file, line, why)
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 (texts)
    except OSError as error:
        return _kept(found, file, line, f"{directory}: {error.strerror}")
    scripts = [name for name in names if _runs(directory, name)]
    _tell_left_out(found, file, line, [Path(directory, n) for n in names if n not in scripts])
    if not scripts:
        return _kept(found, file, line, f"{directory} has no script that run-parts would run")
    period = Path(directory).name.removeprefix("cron.")
    for name in scripts:
        made = {**keys, "description": f"From {directory}/{name}", **native.all_keys()}
        made["command"] = [f"{directory}/{name}"]
        made["limits"] = [LIMIT]
        made.pop("shell", None)
        made.pop("stdin", None)
        found.jobs.append(
            JobDraft(name=f"{period}-{name}", file=file, line=line, original=original, keys=made)
        )
    # run-parts runs one script after the other.
    found.limits[LIMIT] = 1
    found.tell(
        file, line, CODE,
        f"{len(scripts)} scripts of {directory}: one at a time by the limit {LIMIT!r}, in no fixed order", severity=NOTE,
    )  # fmt: skip
    return True


def _kept(found: Findings, file: str, line: int, why: str) -> bool:
    """Warn that a line is kept as it is; return False, as :func:`expand` then does."""
    found.tell(file, line, CODE, f"cannot be expanded: {why}")
    return False


def _tell_left_out(found: Findings, file: str, line: int, others: Iterable[Path]) -> None:
    """Say which files are no scripts to run-parts, and why."""
    for path in others:
        if path.is_file() and path.name != ".placeholder":
            why = (
                "not executable"
                if _DEBIAN_NAME.fullmatch(path.name)
                else "its name has other characters than A-Z a-z 0-9 _ -"
            )
            found.tell(
                file, line, CODE, f"{path} is left out, as run-parts does: {why}", severity=NOTE
            )


def _runs(directory: str, name: str) -> bool:
    path = Path(directory, name)
    return bool(_DEBIAN_NAME.fullmatch(name)) and path.is_file() and os.access(path, os.X_OK)
