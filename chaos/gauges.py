"""Samples of what processes hold over time: memory and descriptors, and whether that grows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Self

import psutil

from chaos.processes import SERVERS
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from chaos.world import World
    from tests.acceptance.host import Host

EVERY = 5.0
"""Seconds between two samples."""


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
    """The longest time one process was watched."""
    high: float
    """The most of any process at any age, in KiB."""
    middle: float
    last: float
    """Medians of the middle and of the last third of what was seen of the longest life, in KiB.

    In the first third a process imports, and fills what it keeps: a pool has its thousand recent
    outcomes after eight minutes at two runs a second."""
    descriptors: int
    """Most at a time."""


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

    def growth(self) -> list[Growth]:
        """Return one row for each role that was seen."""
        return [self._of(role, samples) for role, samples in sorted(self._samples.items())]

    @staticmethod
    def _of(role: str, samples: list[Sample]) -> Growth:
        lives: dict[tuple[int, float], list[Sample]] = defaultdict(list)
        for one in samples:
            lives[one.process].append(one)
        longest = max(lives.values(), key=lambda life: life[-1].age - life[0].age)
        third = max(len(longest) // 3, 1)
        return Growth(
            role=role,
            processes=len(lives),
            samples=len(samples),
            minutes=(longest[-1].age - longest[0].age) / 60,
            high=max(one.kib for one in samples),
            middle=median(one.kib for one in longest[third : 2 * third] or longest),
            last=median(one.kib for one in longest[-third:]),
            descriptors=max(one.descriptors for one in samples),
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
