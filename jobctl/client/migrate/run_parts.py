"""One job for each script of a directory that ``run-parts`` runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE, Findings, JobDraft

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    scripts, why = _scripts(native, directory)
    for path, reason in [] if scripts is None else _left_out(directory, scripts):
        said = f"{path} is left out, as run-parts does: {reason}"
        found.tell(file, line, "run-parts", said, severity=NOTE)
    if not scripts:
        found.tell(file, line, "run-parts", f"cannot be expanded: {why}")
        return False
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
        file, line, "run-parts",
        f"{len(scripts)} scripts of {directory}: one at a time by the limit {LIMIT!r}, in no fixed order", severity=NOTE,
    )  # fmt: skip
    return True


def _scripts(native: Native, directory: str) -> tuple[list[str] | None, str]:
    """Return what run-parts would run, sorted, and why nothing; ``None`` when that is not known."""
    if not _PLAIN.fullmatch(native.command):
        return None, f"{native.command!r} is more than run-parts"
    try:
        found = sorted(name for name in os.listdir(directory) if _runs(directory, name))  # noqa: PTH208 (texts)
    except OSError as error:
        return None, f"{directory}: {error.strerror}"
    return found, f"{directory} has no script that run-parts would run"


def _left_out(directory: str, scripts: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files that run-parts leaves out, and why."""
    for path in sorted(Path(directory).iterdir()):
        if path.name in scripts or not path.is_file() or path.name == ".placeholder":
            continue
        usual = _DEBIAN_NAME.fullmatch(path.name)
        yield (
            path,
            "not executable" if usual else "its name has other characters than A-Z a-z 0-9 _ -",
        )


def _runs(directory: str, name: str) -> bool:
    path = Path(directory, name)
    return bool(_DEBIAN_NAME.fullmatch(name)) and path.is_file() and os.access(path, os.X_OK)
