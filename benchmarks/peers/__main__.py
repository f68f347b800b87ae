"""Compare jobctl with the queues people use today."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.peers.profile import profile
from benchmarks.report import machine


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--profile", choices=["jobctl"], help="only show where the CPU of one run goes"
    )
    parser.add_argument("--runs", type=int, default=20_000, help="functions queued in each round")
    parser.add_argument("--slots", type=int, default=10, help="how many may run at once")
    parser.add_argument("--rounds", type=int, default=5, help="how often; medians are shown")
    parser.add_argument("--dir", type=Path, help="file system to measure on (default: TMPDIR)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jcb-", dir=options.dir) as scratch:
        for fact in machine(Path(scratch)):
            print(fact)
        profile(Path(scratch), runs=options.runs, slots=options.slots, rounds=options.rounds)


if __name__ == "__main__":
    main()
