"""Samples of what processes hold over time: memory and descriptors, and whether that grows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import psutil

from chaos.processes import SERVERS
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.world import World
    from tests.acceptance.host import Host

EVERY = 5.0
"""Seconds between two samples."""
WARM_UP = 720.0
"""Seconds of a process's life that do not count: it imports, and fills what it keeps.

A pool keeps its last thousand outcomes; at two runs a second it has them after eight minutes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process held ``age`` seconds after it began."""

    process: tuple[int, float]
    age: float
    kib: float
    """Unique set size: pages that are shared count for more when others end."""
    descriptors: int


@dataclass(frozen=True, slots=True)
class Growth:
    """How what processes of one role hold changes while they live."""

    role: str
    processes: int
    samples: int
    minutes: float
    """The longest time one process was watched, without its warm-up."""
    low: float
    high: float
    """KiB, of all samples after the warm-up."""
    slope: float
    """KiB a minute within the life of a process, all processes together."""
    descriptors: int
    """Most at a time."""


def slope(series: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Return the common slope of several lines, each with a height of its own.

    ``series`` are points (x, y) of each; the result is in y a unit of x, 0 without two points.
    """
    above = below = 0.0
    for points in series:
        if len(points) < 2:
            continue
        middle = sum(x for x, _ in points) / len(points)
        height = sum(y for _, y in points) / len(points)
        above += sum((x - middle) * (y - height) for x, y in points)
        below += sum((x - middle) ** 2 for x, _ in points)
    return above / below if below else 0.0


class Gauges:
    """Samples supervisors, pools and the store of a world until stopped."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Return seconds and KiB of the process of each role that was watched longest."""
        found: dict[str, list[tuple[float, float]]] = {}
        for role, samples in self._samples.items():
            lives = Counter(one.process for one in samples)
            longest = lives.most_common(1)[0][0]
            found[role] = [
                (round(one.age), round(one.kib)) for one in samples if one.process == longest
            ]
        return found

    def growth(self, *, warm_up: float = WARM_UP) -> list[Growth]:
        """Return one row for each role that was seen; ``warm_up`` in seconds."""
        return [
            self._of(role, [one for one in samples if one.age > warm_up])
            for role, samples in sorted(self._samples.items())
        ]

    @staticmethod
    def _of(role: str, samples: list[Sample]) -> Growth:
        lives: dict[tuple[int, float], list[Sample]] = defaultdict(list)
        for one in samples:
            lives[one.process].append(one)
        lines = [[(one.age / 60, one.kib) for one in life] for life in lives.values()]
        return Growth(
            role=role,
            processes=len(lives),
            samples=len(samples),
            minutes=max((line[-1][0] - line[0][0] for line in lines), default=0.0),
            low=min((one.kib for one in samples), default=0.0),
            high=max((one.kib for one in samples), default=0.0),
            slope=slope(lines),
            descriptors=max((one.descriptors for one in samples), default=0),
        )

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            for host in list(self._world.hosts.values()):
                self._look(host)

    def _look(self, host: Host) -> None:
        roles = {"supervisor": [], "pools": []}  # type: dict[str, list[psutil.Process]]
        with contextlib.suppress(psutil.Error, JobctlError):
            roles["supervisor"] = [self._world.supervisor(host)]
            roles["pools"] = self._world.pools(host)
        for role, processes in roles.items():
            for process in processes:
                self._take(f"{role} of {host.name}", process)

    def _take(self, role: str, process: psutil.Process) -> None:
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() in SERVERS or process.status() == psutil.STATUS_ZOMBIE:
                return
            begun = process.create_time()
            # Both clocks are the machine's; only differences count.
            age = time.time() - begun  # noqa: TID251 - the start of a process is told so
            kib = process.memory_full_info().uss / 1024
            key = (process.pid, begun)
            self._samples[role].append(Sample(key, age, kib, process.num_fds()))
