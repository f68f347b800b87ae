"""Plays one fault with one seed in this process: ``python -m chaos.play FAULT SEED DIRECTORY``.

Prints the verdict as a JSON object; the runner (:mod:`chaos.runner`) starts one process for each.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos import check
from chaos.table import Fault, faults, lacking
from chaos.waits import BrokenError, SkipError, Stopwatch
from chaos.world import World

HELD, BROKEN, SKIPPED = "held", "BROKEN", "skipped"


@dataclass(slots=True)
class Verdict:
    """How one play ended; ``verdict`` is ``held``, ``BROKEN`` or ``skipped``."""

    fault: int
    seed: int
    verdict: str
    reason: str = ""
    measured: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    log: str = ""
    """What the daemons said last, when it broke."""


def play(fault: Fault, seed: int, directory: Path) -> Verdict:
    """Play ``fault`` in a world in ``directory``, check the invariants, and stop everything."""
    verdict = Verdict(fault.number, seed, HELD)
    reasons = [reason for reason in map(lacking, fault.needs) if reason]
    if reasons:
        verdict.verdict, verdict.reason = SKIPPED, "; ".join(reasons)
        return verdict
    watch = Stopwatch()
    world = World(seed, directory, number=fault.number)
    try:
        fault.play(world)
        check.after(world)
    except SkipError as error:
        verdict.verdict, verdict.reason = SKIPPED, str(error)
    except BrokenError as error:
        verdict.verdict, verdict.reason = BROKEN, str(error)
    except Exception as error:  # noqa: BLE001 - whatever a play meets belongs into the report
        verdict.verdict, verdict.reason = BROKEN, f"{type(error).__name__}: {error}"
        verdict.log = traceback.format_exc(limit=-4)
    world.close()
    if verdict.verdict == BROKEN:
        verdict.log += "\n".join(
            f"--- {host.name}\n{host.log[-2000:]}" for host in world.hosts.values()
        )
    verdict.measured = world.measured
    verdict.seconds = watch.seconds
    return verdict


def main() -> int:
    """Play what the command line names."""
    number, seed, directory = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    # The client in this process keeps its cache there too.
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = str(directory)
    verdict = play(faults()[number], seed, directory)
    json.dump(asdict(verdict), sys.stdout, default=str)
    return 0


if __name__ == "__main__":
    sys.exit(main())
