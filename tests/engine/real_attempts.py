"""Real attempts in real slots, for tests."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.attempt import AttemptDirs, AttemptSpec, log_file
from jobctl.engine.slot import Slot
from jobctl.engine.tree import children_of, read_process
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from jobctl.model.run import Outcome

PATIENCE = 10.0
"""Seconds after which a test gives up waiting."""


async def until(condition: Callable[[], object], *, what: str = "the condition") -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and not process.zombie


def own_children() -> set[int]:
    return set(children_of(os.getpid()))


class Attempts:
    """Executes jobs in one slot of a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.dirs = AttemptDirs.under(directory / "state")
        self.directory = directory
        self.spec = AttemptSpec(run_id="", job=JobDef(name="-"))
        self.runs = 0

    def specify(self, job: JobDef | str, **more: object) -> AttemptSpec:
        self.runs += 1
        if isinstance(job, str):
            job = JobDef(name="job", command=job)
        return AttemptSpec(**{"run_id": f"run{self.runs:013d}", "job": job, **more})

    def execute(
        self,
        job: JobDef | str,
        *,
        meanwhile: Callable[[Slot], Awaitable[object]] | None = None,
        **more: object,
    ) -> Outcome:
        """Run one attempt; ``meanwhile`` runs beside it once its leader has started."""

        async def scenario(slot: Slot) -> Outcome:
            spec = self.spec = self.specify(job, **more)
            started = asyncio.Event()
            attempt = asyncio.ensure_future(
                slot.execute(spec, on_start=lambda _pid, _at: started.set())
            )
            if meanwhile is not None:
                await started.wait()
                await meanwhile(slot)
            return await attempt

        return self.inside(scenario)

    def inside(self, scenario: Callable[[Slot], Awaitable[Outcome]]) -> Outcome:
        """Run ``scenario`` with a slot, and see that no process is left."""

        async def whole() -> Outcome:
            before = own_children()
            place = Workplace.open(dirs=self.dirs, clock=SYSTEM_CLOCK)
            slot = Slot(name="test.0", workplace=place)
            try:
                return await scenario(slot)
            finally:
                await slot.close()
                place.close()
                assert own_children() <= before

        return asyncio.run(whole())

    @property
    def log(self) -> str:
        """What the last attempt printed."""
        path = self.log_path
        return path.read_text() if path.exists() else ""

    @property
    def log_path(self) -> Path:
        return log_file(self.dirs.logs, self.spec.job.name, self.spec.run_id, self.spec.number)

    def pid_from(self, name: str) -> int:
        """Return the number a job wrote into a file, 0 as long as there is none."""
        try:
            return int((self.directory / name).read_text())
        except (FileNotFoundError, ValueError):
            return 0
