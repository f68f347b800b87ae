"""Run measurements and print their figures.

Absolute figures wander with whatever else the machine does; compare the ratios, which were taken
side by side. Nothing is asserted: a figure below its aim is printed like any other.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from pathlib import Path

from benchmarks.report import Scene, machine, show

MEASUREMENTS = (
    "shell",
    "latency",
    "startup",
    "bulk",
    "idle",
    "transitions",
    "costs",
    "python_noop",
    "schedules",
    "herd",
    "spread",
    "takeover",
    "scale",
    "attempts",
)


def main() -> None:
    """Measure what the arguments name, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions")
    parser.add_argument("--dir", type=Path, help="file system to measure on (default: TMPDIR)")
    options = parser.parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(
            f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}"
        )
    with tempfile.TemporaryDirectory(prefix="jcb-", dir=options.dir) as scratch:
        for fact in machine(Path(scratch)):
            print(fact)
        for name in options.names or MEASUREMENTS:
            module = importlib.import_module(f"benchmarks.{name}")
            print(f"\n{name}: {module.__doc__.partition(chr(10))[0]}", flush=True)
            started = time.monotonic()
            show(module.measure(Scene(Path(scratch) / name, quick=options.quick)))
            print(f"  [{time.monotonic() - started:.0f} s]")


if __name__ == "__main__":
    main()
