"""Reads systemd unit files with their drop-ins."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
USER_DIRECTORIES = ("/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
_SECTION = re.compile(r"\[([^\]]+)\]\s*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment."""

    value: str
    file: str
    line: int


@dataclass(slots=True)
class Unit:
    """One unit: every assignment that still holds, by section and key."""

    name: str
    file: str
    settings: dict[tuple[str, str], list[Setting]] = field(default_factory=dict)
    bad: list[tuple[str, int, str]] = field(default_factory=list)
    """Lines that are no assignments: file, line, text."""

    def all(self, section: str, key: str) -> list[Setting]:
        """Return the assignments of a key, in order; an empty one took back those before it."""
        return self.settings.get((section, key), [])

    def last(self, section: str, key: str) -> Setting | None:
        """Return the assignment that counts where only one can."""
        found = self.all(section, key)
        return found[-1] if found else None

    def text(self, section: str, key: str) -> str:
        """Return the value that counts, or an empty text."""
        found = self.last(section, key)
        return found.value if found else ""

    def flag(self, section: str, key: str) -> bool:
        """Tell whether a switch is on."""
        return self.text(section, key).lower() in {"1", "yes", "y", "true", "t", "on"}


def find_unit(name: str, directories: list[str]) -> Unit | None:
    """Return a unit by name, or its template's, with all drop-ins; ``None`` if there is none."""
    template = re.sub(r"@[^@]*(\.[a-z]+)$", r"@\1", name)
    for wanted in dict.fromkeys((name, template)):
        for directory in directories:
            path = Path(directory, wanted)
            if path.is_file():
                return _with_drop_ins(name, path, directories, wanted)
    return None


def _with_drop_ins(name: str, path: Path, directories: list[str], wanted: str) -> Unit:
    unit = Unit(name=name, file=str(path))
    _read(path, unit)
    found: dict[str, Path] = {}
    for folder in dict.fromkeys((f"{path.suffix[1:]}.d", f"{wanted}.d", f"{name}.d")):
        for directory in reversed(directories):
            for extra in sorted(Path(directory, folder).glob("*.conf")):
                found[extra.name] = extra
    for extra_name in sorted(found):
        _read(found[extra_name], unit)
    return unit


def _read(path: Path, unit: Unit) -> None:
    section = ""
    for number, line in _logical_lines(path.read_bytes().decode("utf-8", errors="surrogateescape")):
        header = _SECTION.fullmatch(line)
        if header:
            section = header[1]
            continue
        key, equals, value = line.partition("=")
        if not equals or not section:
            unit.bad.append((str(path), number, line))
            continue
        key, value = key.strip(), value.strip()
        held = unit.settings.setdefault((section, key), [])
        if value:
            held.append(Setting(value, str(path), number))
        else:
            held.clear()


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Return lines with continued ones joined, without comments; each with its first number."""
    out: list[tuple[int, str]] = []
    begun = 0
    joined = ""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped[:1] in ("#", ";"):
            continue  # A comment may stand inside a continued line.
        if not stripped and not begun:
            continue
        begun = begun or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        out.append((begun, (joined + line).strip()))
        begun, joined = 0, ""
    if begun:
        out.append((begun, joined.strip()))
    return [(number, line) for number, line in out if line]
