"""Requests that wait on this host's disk because the store could not be reached.

``submit --spool`` puts them into ``unsent`` below the state directory, one file for each batch, and
the supervisor of that directory sends them later. Run ids were made before, so sending a file
twice makes no second run. Times are kept as instants: a run that was to start in ten minutes does
so ten minutes after it was asked for, and one that has expired meanwhile ends as expired.
"""

from __future__ import annotations

import json
import os
import stat
from errno import ELOOP

from jobctl.model.admission import Admission, NewRun
from jobctl.model.records import differing
from jobctl.model.run import Request
from jobctl.store import whole_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

DIRECTORY = "unsent"
BAD = "bad"
"""Where files go that cannot be sent; nothing looks at them but people."""
VERSION = 1
ENDING = ".json"
SOON = 0.001
"""Seconds a run that has expired is given, so that the store ends it and keeps a record."""


class UnsentError(ValueError):
    """Raised when a file of unsent requests cannot be used."""


class Unsent:
    """The content of one file."""

    __slots__ = ("namespace", "runs")

    def __init__(self, namespace: str, runs: list[NewRun]) -> None:
        self.namespace = namespace
        self.runs = runs

    def check_namespace(self, ours: str) -> None:
        """Raise ``UnsentError`` when the requests are for another namespace than ``ours``."""
        if self.namespace != ours:
            raise UnsentError(f"it is for namespace {self.namespace}, not for {ours}")


def put(state_dir: str, *, namespace: str, runs: Sequence[NewRun], now: float) -> str:
    """Write a batch to disk and return its file's path once it is safe there; raises ``OSError``.

    ``now`` is epoch seconds. Files belong to the owner of the state directory, who sends them.
    """
    folder = f"{state_dir}/{DIRECTORY}"
    owner = os.stat(state_dir)  # noqa: PTH116 (pathlib costs 10 ms)
    if not os.path.isdir(folder):  # noqa: PTH112 (texts)
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 (texts)
        whole_file.give(folder, owner)
    text = json.dumps(
        {"v": VERSION, "namespace": namespace, "runs": [_plain(run, now) for run in runs]},
        separators=(",", ":"),
    )
    path = f"{folder}/{int(now * 1e6):020d}-{runs[0].request.id}{ENDING}"
    whole_file.write(path, text, owner=owner)
    return path


def waiting(state_dir: str) -> list[str]:
    """Return the paths of files that wait to be sent, oldest first; raises ``OSError``."""
    folder = f"{state_dir}/{DIRECTORY}"
    try:
        names = os.listdir(folder)  # noqa: PTH208 (texts)
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in sorted(names) if name.endswith(ENDING)]


def load(path: str, *, now: float) -> Unsent:
    """Read one file; ``now`` is epoch seconds. Raises ``OSError``, and ``UnsentError`` when it is not one of ours."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == ELOOP:
            raise UnsentError("it is a link") from error
        raise
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise UnsentError("it is no file")
        if info.st_uid not in (0, os.geteuid()):
            raise UnsentError("it belongs to another user")
        with open(handle, "rb", closefd=False) as file:
            data = file.read()
    finally:
        os.close(handle)
    try:
        body = json.loads(data)
        if body["v"] != VERSION:
            raise UnsentError(f"it has version {body['v']}, this jobctl reads {VERSION}")
        return Unsent(str(body["namespace"]), [_run(item, now) for item in body["runs"]])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, UnsentError):
            raise
        raise UnsentError(f"it cannot be read ({type(error).__name__}: {error})") from error


def remove(path: str) -> None:
    """Forget a file whose requests were answered; it may be gone already."""
    try:
        os.unlink(path)  # noqa: PTH108 (texts)
    except FileNotFoundError:
        return
    whole_file.sync_folder(os.path.dirname(path))  # noqa: PTH120 (texts)


def set_aside(path: str) -> str:
    """Move a file that can never be sent out of the way; return where it is now."""
    folder, _, name = path.rpartition("/")
    os.makedirs(f"{folder}/{BAD}", mode=0o700, exist_ok=True)  # noqa: PTH103 (texts)
    place = f"{folder}/{BAD}/{name}"
    os.rename(path, place)  # noqa: PTH104 (texts)
    return place


def _plain(run: NewRun, now: float) -> dict[str, object]:
    body: dict[str, object] = {
        "request": differing(run.request),
        "admission": differing(run.admission),
    }
    start_at = run.start_at if run.start_in is None else now + run.start_in
    if start_at is not None:
        body["start_at"] = start_at
    if run.expires_in is not None:
        body["expires_at"] = now + run.expires_in
    if run.unique:
        body["unique"] = run.unique
    if run.keep_id:
        body["keep_id"] = run.keep_id
    return body


def _run(body: Mapping[str, Any], now: float) -> NewRun:
    request = dict(body["request"])
    request["args"] = tuple(request.get("args", ()))
    start, expires = body.get("start_at"), body.get("expires_at")
    return NewRun(
        request=Request(**request),
        admission=Admission(**body["admission"]),
        start_at=None if start is None else float(start),
        expires_in=None if expires is None else max(SOON, float(expires) - now),
        unique=str(body.get("unique", "")),
        keep_id=float(body.get("keep_id", 0)),
    )
