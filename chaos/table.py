"""The numbered faults: what is done, what must hold afterwards, and what playing it needs.

A module of faults registers its functions with :func:`fault`; :func:`faults` imports them all.
"""

from __future__ import annotations

import importlib
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.world import World

    Play = Callable[[World], None]

MODULES = (
    "process", "signals", "store", "disk", "limits", "hostile", "data", "hosts", "security",
    "network", "groups", "clocks",
)  # fmt: skip
"""Modules of this package that register faults."""
PATIENCE = 240.0
"""Seconds after which a play that has not ended counts as failed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    ``criterion`` is what must hold besides the invariants. ``needs`` are words of
    :func:`lacking`. ``bounded`` faults are quick enough for every change. ``patience`` is in
    seconds.
    """

    number: int
    title: str
    criterion: str
    play: Play
    needs: tuple[str, ...] = ()
    bounded: bool = False
    patience: float = PATIENCE
    alone: bool = False
    """Whether it measures time, so that nothing else may be played meanwhile."""


ABSENT: dict[int, tuple[str, str]] = {
    45: ("finisher of the last child killed at every failpoint", "workflows do not exist yet"),
}
"""Numbers that cannot be played yet: title and reason."""
_FAULTS: dict[int, Fault] = {}


def fault(
    number: int,
    title: str,
    criterion: str,
    *,
    needs: tuple[str, ...] = (),
    bounded: bool = False,
    patience: float = PATIENCE,
    alone: bool = False,
) -> Callable[[Play], Play]:
    """Put a function into the table under ``number``; it gets a fresh world."""

    def register(play: Play) -> Play:
        if number in _FAULTS:
            raise ValueError(f"fault {number} is there twice")
        _FAULTS[number] = Fault(number, title, criterion, play, needs, bounded, patience, alone)
        return play

    return register


def faults() -> dict[int, Fault]:
    """Return the table by number."""
    for name in MODULES:
        importlib.import_module(f"chaos.{name}")
    return dict(sorted(_FAULTS.items()))


def lacking(need: str) -> str:
    """Return why this machine cannot give ``need``, or nothing when it can."""
    match need:
        case "root":
            return "" if os.geteuid() == 0 else "needs root"
        case "netns":
            there = os.geteuid() == 0 and shutil.which("ip") and Path("/dev/net/tun").exists()
            return "" if there else "needs root, network namespaces, ip and /dev/net/tun"
        case "cc":
            return "" if shutil.which("cc") else "needs a C compiler (cc) for clocks that are moved"
        case "cgroup":
            return "" if writable_cgroup() else "needs root and a writable cgroup"
    raise ValueError(f"no such need: {need}")


def writable_cgroup() -> Path | None:
    """Return a directory in which a memory cgroup can be made, or ``None``."""
    if os.geteuid() != 0:
        return None
    for place in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")):
        probe = place / f"chaos-probe-{os.getpid()}-{threading.get_ident()}"
        try:
            probe.mkdir()
        except OSError:
            continue
        names = {path.name for path in probe.iterdir()}
        probe.rmdir()
        if names & {"memory.max", "memory.limit_in_bytes"}:
            return place
    return None
