"""What a measurement hands back, and how it is printed."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.store.binary import find_binary, version
from jobctl.store.directory import file_system

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Scene:
    """Where and how thoroughly to measure."""

    directory: Path
    """Scratch space of one measurement; removed afterwards."""
    quick: bool = False

    def pick(self, full: int, quick: int) -> int:
        """Return the size for this run."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    ours: float
    unit: str
    beside: str = ""
    """What was measured in the same run to compare with; its figure is ``theirs``."""
    theirs: float | None = None
    ratio: float | None = None
    aim: str = ""
    note: str = ""


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of figures taken one after the other."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def figure(value: float) -> str:
    """Return a number with as many digits as it is worth."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def machine(directory: Path) -> list[str]:
    """Return the facts that figures depend on."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    store = ".".join(map(str, version(find_binary(None))))
    return [
        f"{os.cpu_count()} x {cpu}, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}",
        f"Linux {platform.release()}, Python {platform.python_version()}, store server {store}",
        f"scratch on {file_system(directory, Path('/proc/self/mountinfo'))}, jobctl {_revision()}",
    ]


def _revision() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "unknown revision"


def show(rows: Sequence[Row]) -> None:
    """Print rows, one line each."""
    for row in rows:
        line = f"  {row.what:<46} {figure(row.ours):>9} {row.unit:<8}"
        if row.beside and row.theirs is not None:
            line += f" {row.beside:<26} {figure(row.theirs):>9}"
        if row.ratio is not None:
            line += f"  ratio {row.ratio:5.2f}"
        if row.aim:
            line += f"  (aim {row.aim})"
        if row.note:
            line += f"  {row.note}"
        print(line.rstrip(), flush=True)
