"""A report for ``[jobs.nightly-report]``: an ordinary function in an ordinary module.

Its module needs nothing of jobctl, and jobctl need not be installed where it runs.
"""

from __future__ import annotations

import os
import shutil
import socket

GIB = 1 << 30


def nightly(path: str = "/") -> dict[str, object]:
    """Print how this host is, and return the same as the result of the run."""
    disk = shutil.disk_usage(path)
    report = {
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "memory_gib": round(memory() / GIB, 1),
        "disk_path": path,
        "disk_used_percent": round(100 * disk.used / disk.total, 1) if disk.total else None,
    }
    for name, value in report.items():
        print(f"{name:18} {value}")
    return report


def memory() -> int:
    """Return the bytes of memory of this host."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
