"""Which zone data the instants come from: they are an input, and change a few times a year."""

from __future__ import annotations

import zoneinfo
from pathlib import Path


def zone_data() -> str:
    """Return where the rules of the zones come from, and their version."""
    for folder in zoneinfo.TZPATH:
        if not Path(folder, "UTC").exists() and not Path(folder, "Etc/UTC").exists():
            continue
        for name in ("tzdata.zi", "+VERSION"):
            try:
                with Path(folder, name).open(encoding="ascii") as file:
                    found = file.readline().replace("# version", "").strip()
            except (OSError, UnicodeDecodeError):
                continue
            return f"zone data {found} in {folder}"
        return f"zone data of unknown age in {folder}"
    from importlib import metadata  # noqa: PLC0415 (only for those without files of their own)

    try:
        return f"zone data {metadata.version('tzdata')} of the tzdata package"
    except metadata.PackageNotFoundError:
        return "no zone data"
