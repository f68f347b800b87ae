"""Which lines of all that is imported take, or might take, the same lock file."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobctl.client.migrate.draft import Findings

_QUOTING = re.compile(r"['\"\\]")
_BETWEEN = re.compile(r"[\s;&|()<>{}=`]+")
_FLOCK = re.compile(r"\bflock\b")
_UNKNOWN = re.compile(
    r"\bflock\s+(?:-\S+\s+(?:[\d.]+\s+)?)*[^\s-]*[$`*?]|\bflock\b.*\d>>?\s*[^\s;&|]*[$`*?]"
)
"""A lock whose file only the shell knows."""


class Locks:
    """Every file that a line names, whatever it does with it.

    A line that waits for a lock, or opens it by a number, keeps others out as ``flock -n`` does;
    so any second mention counts.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._places: Counter[str] = Counter()
        self._bare: Counter[str] = Counter()
        """Last parts of relative names: in which directory they are meant is not known."""
        self._names: Counter[str] = Counter()
        self._takers = 0
        self._unknown = 0
        for text in texts:
            self._look(text)

    def _look(self, text: str) -> None:
        for line in text.split("\n"):
            if line.lstrip().startswith("#"):
                continue
            places, bare, names = _mentioned(line)
            self._places.update(places)
            self._bare.update(bare)
            self._names.update(names)
            if _FLOCK.search(line):
                self._takers += 1
                self._unknown += bool(_UNKNOWN.search(line))

    def shared(self, lock: str, line: str) -> bool:
        """Tell whether a line other than ``line`` may take the file that ``line`` calls ``lock``."""
        if not lock:
            return False
        plain = _QUOTING.sub("", lock)
        name = os.path.basename(plain)  # noqa: PTH119 (texts)
        own_unknown = bool(_UNKNOWN.search(line))
        if self._unknown > own_unknown:
            return True
        if own_unknown:
            return self._takers > 1
        if not plain.startswith("/"):
            return self._names[name] > 1
        bare = _mentioned(line)[1]
        return self._places[_place(plain)] > 1 or self._bare[name] > (name in bare)

    def give_up(
        self, lock: str, text: str, *, file: str, line: int, found: Findings, native: bool
    ) -> bool:
        """Tell whether ``overlap`` may stand for the lock of a line, and say why not.

        ``native`` means that it will; then it is said that the lock is no longer taken.
        """
        if not lock:
            return True
        shared = self.shared(lock, text)
        if shared:
            message = f'several lines lock {lock}, or may; flock is kept, limits = ["NAME"] would do the same'
        else:
            message = (
                f"{lock} is no longer locked: keep flock if anything outside these tables locks it"
            )
        if shared or native:
            found.tell(file, line, "lock", message, severity=NOTE)
        return not shared


def _mentioned(line: str) -> tuple[set[str], set[str], set[str]]:
    """Return the absolute files a line names, the last parts of its relative ones, and of all."""
    words = {word for word in _BETWEEN.split(_QUOTING.sub("", line)) if word}
    places = {_place(word) for word in words if word.startswith("/")}
    bare = {os.path.basename(word) for word in words if not word.startswith("/")}  # noqa: PTH119 (texts)
    return places, bare, bare | {os.path.basename(place) for place in places}  # noqa: PTH119 (texts)


def _place(path: str) -> str:
    """Return one name for all spellings: without ``..``, and links followed where there are any."""
    return os.path.realpath(path)
