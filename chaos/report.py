"""The report of a run of faults, for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from chaos.play import BROKEN, HELD, SKIPPED, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaos.table import Fault

SHOWN = 5
"""Measured values in a line of the table."""


def table(faults: Mapping[int, Fault], verdicts: Sequence[Verdict]) -> str:
    """Return one line for each fault, then what broke and what was skipped."""
    lines = [f"{'no':>3}  {'fault':58} {'seeds':12} {'verdict':14} measured"]
    for number, fault in faults.items():
        mine = [one for one in verdicts if one.fault == number]
        if not mine:
            continue
        counts = Counter(one.verdict for one in mine)
        words = ", ".join(f"{count} {word}" for word, count in counts.items())
        seeds = _seeds(one.seed for one in mine)
        lines.append(
            f"{number:3}  {fault.title[:58]:58} {seeds:12} {words:14} {summary(mine)}".rstrip()
        )
    for one in verdicts:
        if one.verdict == BROKEN:
            lines += ["", f"BROKEN: fault {one.fault}, seed {one.seed}: {one.reason}", one.log]
    reasons = {(one.fault, one.reason) for one in verdicts if one.verdict == SKIPPED}
    lines += [f"skipped: fault {number}: {reason}" for number, reason in sorted(reasons)]
    counts = Counter(one.verdict for one in verdicts)
    lines.append(
        f"{len(verdicts)} plays of {len({one.fault for one in verdicts})} faults: "
        f"{counts[HELD]} held, {counts[BROKEN]} broken, {counts[SKIPPED]} skipped"
    )
    return "\n".join(lines)


def summary(verdicts: Iterable[Verdict]) -> str:
    """Return what was measured, as ranges over the seeds."""
    values: dict[str, list[object]] = {}
    for one in verdicts:
        for name, value in one.measured.items():
            values.setdefault(name, []).append(value)
        values.setdefault("s", []).append(one.seconds)
    return ", ".join(f"{name} {_range(found)}" for name, found in values.items())


def as_json(verdicts: Sequence[Verdict]) -> str:
    """Return all verdicts as one JSON document."""
    return json.dumps({"schema": 1, "plays": [asdict(one) for one in verdicts]}, indent=1)


def _range(found: Sequence[object]) -> str:
    numbers = [value for value in found if isinstance(value, int | float)]
    if len(numbers) < len(found):
        return "/".join(sorted({str(value) for value in found}))
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g}–{high:g}"


def _seeds(seeds: Iterable[int]) -> str:
    found = sorted(seeds)
    if len(found) > 1 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}–{found[-1]}"
    return ",".join(map(str, found))
