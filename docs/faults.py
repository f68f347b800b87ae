"""The table of faults, for the page about chaos."""

from __future__ import annotations

from chaos.table import ABSENT, faults


def table() -> str:
    """Return one line for each fault: what is done, what must hold, and what it needs."""
    lines = ["| no | fault | what must hold besides the invariants | needs |", "|---|---|---|---|"]
    for number, fault in faults().items():
        needs = ", ".join(fault.needs)
        mark = f"{number} ●" if fault.bounded else f"{number}"
        lines.append(f"| {mark} | {fault.title} | {fault.criterion} | {needs} |")
    lines += [
        f"| {number} | {title} | not played: {why} | |" for number, (title, why) in ABSENT.items()
    ]
    return "\n".join(lines)
