"""The plain form of a configuration that was valid, kept until anything it depends on changes.

Validating takes a tenth of a second and more; reading this takes about a millisecond, which is
what lets ``jobctl submit`` look a job up. Only a file that nobody else can write is trusted, and
a cache that cannot be read or written is as good as none.
"""

from __future__ import annotations

import json
import os
import stat
import zlib

from jobctl import __version__
from jobctl.config.paths import cache_dir, default_state_dir
from jobctl.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jobctl.config.validate import Checked

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SETTLED_NS = 100_000_000
"""A file changed less than this before the cache was written could change again within the same
tick of the file system's clock, and look the same; such a state is not kept."""


def fetch(path: str, *, most: int | None = None) -> dict[str, Any] | None:
    """Return the plain form kept for the main file ``path`` (absolute), if it still holds.

    With ``most``, one of more bytes counts as none.
    """
    place = _place(path)
    if place is None:
        return None
    try:
        kept = _kept(_read_own(place, most=most))
    except (OSError, ValueError, RecursionError):
        return None
    if kept is None or not _holds(path, kept["depends"]):
        return None
    plain: dict[str, Any] = kept["plain"]
    return plain


def fetch_last_good(path: str) -> dict[str, Any] | None:
    """Return the plain form of the main file ``path`` as it last was valid, if this code made it.

    For who only reads: what it says may be out of date.
    """
    place = _place(path)
    if place is None:
        return None
    try:
        kept = _kept(_read_own(place))
        if kept is None:
            return None
        depends, ours = kept["depends"], _surroundings(path)
        same = all(depends.get(key) == ours[key] for key in ("jobctl", "code", "path"))
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    plain: dict[str, Any] = kept["plain"]
    return plain if same else None


def keep(checked: Checked, plain: Mapping[str, object], *, path: str) -> None:
    """Keep the plain form of a valid configuration, when there is a safe place for it."""
    place = _place(path)
    if place is None or not _own_directory(os.path.dirname(place)):  # noqa: PTH120 (pathlib costs 10 ms)
        return
    kept: dict[str, object] = {
        "depends": {
            **_surroundings(path),
            "files": {name: list(stamp) for name, stamp in checked.files.items()},
            "includes": checked.includes,
            "variables": checked.variables,
        },
        "plain": {name: item for name, item in plain.items() if name != "jobs"},
    }
    jobs: Mapping[str, object] = plain.get("jobs", {})  # type: ignore[assignment]  # a table
    try:
        lines = "".join(
            [f"\n{json.dumps(name)}:{json.dumps(job)}" for name, job in jobs.items()] + ["\n"]
        )
        kept["sum"] = zlib.crc32(lines.encode())
        _write_own(place, json.dumps(kept) + lines, newest=_newest(checked))
    except (OSError, ValueError):
        # A full disk or a read-only home: the next command validates again.
        return


def _kept(content: bytes) -> dict[str, Any] | None:
    """Return what was kept, its jobs to be read when they are asked for; None when it is damaged."""
    head, _, lines = content.partition(b"\n")
    lines = b"\n" + lines
    kept = json.loads(head) if head else None
    if not isinstance(kept, dict) or kept.get("sum") != zlib.crc32(lines):
        return None
    if not isinstance(kept.get("plain"), dict) or kept.get("depends") is None:
        return None
    kept["plain"]["jobs"] = KeptJobs(lines)
    return kept


class KeptJobs:
    """The plain forms of jobs by name, like a dict that nobody changes; each is read when asked for.

    A command that needs one of a hundred thousand jobs looks for its line.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: bytes) -> None:
        """``lines`` begin with a line feed and end with one; each is a name, a colon and a job."""
        self._lines = lines

    def __getitem__(self, name: str) -> dict[str, Any]:
        mark = f"\n{json.dumps(name)}:".encode()
        found = self._lines.find(mark)
        if found < 0:
            raise KeyError(name)
        begin = found + len(mark)
        job: dict[str, Any] = json.loads(self._lines[begin : self._lines.index(b"\n", begin)])
        return job

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and f"\n{json.dumps(name)}:".encode() in self._lines

    def get(self, name: str, default: object = None) -> object:
        """Return a job, or ``default``."""
        try:
            return self[name]
        except KeyError:
            return default

    def __len__(self) -> int:
        return self._lines.count(b"\n") - 1

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items())

    def keys(self) -> list[str]:
        """Return all names, in the order of the files."""
        return list(self)

    def values(self) -> Iterator[dict[str, Any]]:
        """Yield all jobs, in the order of the files."""
        return (job for _, job in self.items())

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield names and jobs, in the order of the files."""
        decoder = json.JSONDecoder()
        for line in self._lines.split(b"\n"):
            if line:
                text = line.decode()
                name, end = decoder.raw_decode(text)
                yield name, decoder.raw_decode(text, end + 1)[0]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (dict, KeptJobs)):
            return dict(self.items()) == dict(other.items())
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a dict


def file_stamp(info: os.stat_result) -> tuple[int, ...]:
    """Return what changes whenever a file is written, replaced, or its rights change."""
    return (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino, info.st_dev)


def find_included(pattern: str) -> list[str]:
    """Return what an absolute pattern matches now, sorted; ``**`` spans directories."""
    import glob  # noqa: PLC0415 (only configurations with an include pay for it)

    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (texts, not Paths)


def _place(path: str) -> str | None:
    folder = cache_dir()
    if folder is None:
        return None
    # The checksum names the file only; which path it is for is written in it and compared.
    return f"{folder}/config-{zlib.crc32(os.fsencode(path)):08x}.json"


def _surroundings(path: str) -> dict[str, object]:
    """Return what the result depends on besides files and variables."""
    try:
        state = default_state_dir()
    except ConfigError:
        state = ""
    return {
        "jobctl": __version__,
        "code": _code_stamp(),
        "path": path,
        "state_dir": state,
        "home": os.path.expanduser("~"),  # noqa: PTH111 (pathlib costs 10 ms)
        "cpus": os.cpu_count() or 1,
    }


def _code_stamp() -> list[int]:
    """Return what changes with the code that makes the plain form, also between versions."""
    folder = os.path.dirname(__file__)  # noqa: PTH120 (texts)
    try:
        files = [f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".py")]  # noqa: PTH208 (texts)
        files += [f"{folder}/../model/{name}.py" for name in ("config", "job", "params")]
        return [len(files), max(os.stat(file).st_mtime_ns for file in files)]  # noqa: PTH116 (texts)
    except OSError:
        return []


def _holds(path: str, depends: Mapping[str, Any]) -> bool:
    surroundings = _surroundings(path)
    if any(depends.get(key) != value for key, value in surroundings.items()):
        return False
    try:
        return (
            all(os.environ.get(name) == value for name, value in depends["variables"].items())
            and all(_stamp(name) == stamp for name, stamp in depends["files"].items())
            and all(find_included(one) == found for one, found in depends["includes"].items())
        )
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def _stamp(path: str) -> list[int]:
    return list(file_stamp(os.stat(path)))  # noqa: PTH116 (texts)


def _newest(checked: Checked) -> int:
    """Return when the files last changed, in nanoseconds; nobody can set this time at will."""
    return max(changed for _, changed, *_ in checked.files.values())


def _read_own(place: str, *, most: int | None = None) -> bytes:
    """Return the content of a file that only we could have written, else nothing."""
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or not _ours(info):
            return b""
        if most is not None and info.st_size > most:
            return b""
        with open(handle, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(handle)


def _ours(info: os.stat_result) -> bool:
    return info.st_uid == os.geteuid() and not info.st_mode & _WRITABLE_BY_OTHERS


def _own_directory(folder: str) -> bool:
    try:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 (texts)
        if not os.path.lexists(folder):
            os.mkdir(folder, 0o700)  # noqa: PTH102 (texts)
        info = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and _ours(info)


def _write_own(place: str, text: str, *, newest: int) -> None:
    """Write a file in one step, readable by us alone."""
    draft = f"{place}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(draft, flags, 0o600)
    try:
        with open(handle, "w", encoding="utf-8") as stream:  # noqa: PTH123 (a descriptor)
            stream.write(text)
        if os.stat(draft).st_mtime_ns - newest < _SETTLED_NS:  # noqa: PTH116 (texts)
            os.unlink(draft)  # noqa: PTH108 (texts)
            return
        os.replace(draft, place)  # noqa: PTH105 (texts)
    except BaseException:
        os.unlink(draft)  # noqa: PTH108 (texts)
        raise
