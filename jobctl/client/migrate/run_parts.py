"""One job for each script of a directory that ``run-parts`` runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE, Findings, JobDraft

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.client.migrate.idioms import Native

_PLAIN = re.compile(
    r"(?:/usr/bin/|/bin/)?run-parts\s+(?:(?:--report|--verbose|-v|--exit-on-error|--)\s+)*\S+/?\s*"
)
_DEBIAN_NAME = re.compile(r"[A-Za-z0-9_-]+")
LIMIT = "run-parts"


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
        found.tell(
            file,
            line,
            "run-parts",
            f"cannot be expanded: {native.command!r} is more than run-parts",
        )
        return False
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 (texts)
    except OSError as error:
        found.tell(file, line, "run-parts", f"cannot be expanded: {directory}: {error.strerror}")
        return False
    period = Path(directory).name.removeprefix("cron.")
    scripts = [name for name in names if _runs(directory, name)]
    for name in names:
        path = Path(directory, name)
        if name not in scripts and path.is_file() and name != ".placeholder":
            why = (
                "not executable"
                if _DEBIAN_NAME.fullmatch(name)
                else "its name has other characters than A-Z a-z 0-9 _ -"
            )
            found.tell(
                file,
                line,
                "run-parts",
                f"{path} is left out, as run-parts does: {why}",
                severity=NOTE,
            )
    if not scripts:
        found.tell(
            file,
            line,
            "run-parts",
            f"cannot be expanded: {directory} has no script that run-parts would run",
        )
        return False
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
        file, line, "run-parts",
        f"{len(scripts)} scripts of {directory}: one at a time by the limit {LIMIT!r}, in no fixed order", severity=NOTE,
    )  # fmt: skip
    return True


def _runs(directory: str, name: str) -> bool:
    path = Path(directory, name)
    return bool(_DEBIAN_NAME.fullmatch(name)) and path.is_file() and os.access(path, os.X_OK)
