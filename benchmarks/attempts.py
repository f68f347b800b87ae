"""How many `true` a second pass through the slots of one pool, beside xargs doing the same.

    python -m benchmarks.attempts [-n RUNS] [--slots N] [--dir DIRECTORY] [--profile]

Only the machinery of attempts is measured: no store, nothing claimed or settled. The two take turns,
because the machine's speed wanders; compare the ratio, not the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import Row, median_ratio
from jobctl.clock import SYSTEM_CLOCK
from jobctl.engine.attempt import AttemptDirs, AttemptSpec
from jobctl.engine.slot import Slot
from jobctl.engine.workplace import Workplace
from jobctl.model.job import JobDef
from jobctl.model.run import OutcomeKind

if TYPE_CHECKING:
    from benchmarks.report import Scene


def own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def through_slots(
    runs: int, slots: int, directory: Path, command: str
) -> tuple[float, float]:
    """Return runs a second, and microseconds of this process' CPU a run."""
    place = Workplace.open(dirs=AttemptDirs.under(directory), clock=SYSTEM_CLOCK)
    job = JobDef(name="noop", command=command)
    numbers = iter(range(runs))

    async def work(slot: Slot) -> None:
        for number in numbers:
            spec = AttemptSpec(run_id=f"{number:016d}", job=job, timeout=60.0)
            outcome = await slot.execute(spec, on_start=lambda _pid, _at: None)
            assert outcome.kind is OutcomeKind.SUCCEEDED, outcome

    places = [Slot(name=f"bench.{number}", workplace=place) for number in range(slots)]
    cpu, started = own_cpu(), time.perf_counter()
    await asyncio.gather(*map(work, places))
    took, cpu = time.perf_counter() - started, own_cpu() - cpu
    for slot in places:
        await slot.close()
    place.close()
    return runs / took, cpu / runs * 1e6


def through_xargs(runs: int, slots: int, command: str) -> float:
    numbers = "\n".join(map(str, range(runs)))
    started = time.perf_counter()
    subprocess.run(
        ["xargs", f"-P{slots}", "-n1", "sh", "-c", command], input=numbers, text=True, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return runs / (time.perf_counter() - started)


def measure(scene: Scene) -> list[Row]:
    """Compare slots alone with xargs, in turns."""
    runs, ours, theirs, own = scene.pick(400, 200), [], [], []
    for number in range(scene.pick(5, 3)):
        theirs.append(through_xargs(runs, 4, "true"))
        state = scene.directory / str(number)
        rate, cpu = asyncio.run(through_slots(runs, 4, state, "true"))
        ours.append(rate)
        own.append(cpu)
    return [
        Row("`true` through 4 slots, no store", statistics.median(ours), "runs/s", "xargs -P4 -n1 sh -c",
            statistics.median(theirs), median_ratio(ours, theirs)),
        Row("  CPU of the pool itself", statistics.median(own), "us/run"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", "--runs", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--command", default="true")
    parser.add_argument(
        "--dir", type=Path, default=Path.cwd(), help="file system for spool and logs"
    )
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        state = Path(directory)
        if options.profile:
            profile = cProfile.Profile()
            profile.enable()
            asyncio.run(through_slots(options.runs, options.slots, state, options.command))
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
            return
        ratios = []
        for _ in range(options.rounds):
            share = options.runs // options.rounds
            theirs = through_xargs(share, options.slots, options.command)
            ours, cpu = asyncio.run(through_slots(share, options.slots, state, options.command))
            ratios.append(ours / theirs)
            print(
                f"slots {ours:6.0f}/s  own CPU {cpu:4.0f} us a run   xargs {theirs:6.0f}/s   ratio {ours / theirs:.2f}"
            )
        print(f"median ratio {statistics.median(ratios):.2f} (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
