"""What an import found: jobs still without a place, and remarks about where they came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

ERROR = "error"
WARNING = "warning"
NOTE = "note"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing to be told, with the place it is about."""

    file: str
    line: int
    """From 1; 0 when the whole file is meant."""
    severity: str
    """``error``: not carried over. ``warning``: carried over, and not quite the same here or
    elsewhere. ``note``: for information."""
    code: str
    """Stable word for scripts."""
    message: str

    def __str__(self) -> str:
        """Return ``file:line: severity: message``, safe for a terminal."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return _CONTROL.sub(_escape, f"{place}: {self.severity}: {self.message}")


@dataclass(slots=True, kw_only=True)
class JobDraft:
    """One job to be written; ``keys`` are those of jobs.toml in the order of writing."""

    name: str
    file: str
    line: int
    original: str
    """What stood there, possibly several lines."""
    keys: dict[str, object] = field(default_factory=dict)
    schedules: list[dict[str, object]] = field(default_factory=list)
    """Tables of ``[[jobs.NAME.schedules]]``."""
    offers: list[str] = field(default_factory=list)
    """Comment lines: what could be written instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Something that could not be carried over; it is written as a comment."""

    file: str
    line: int
    original: str
    why: str


@dataclass(slots=True)
class Findings:
    """Everything that came out of reading the sources."""

    jobs: list[JobDraft] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    """Slots of ``[limits.NAME]`` tables that the jobs need."""
    preamble: list[str] = field(default_factory=list)
    """Comment lines for the top of the file."""

    def tell(
        self, file: str, line: int, code: str, message: str, *, severity: str = WARNING
    ) -> None:
        """Add a remark."""
        self.remarks.append(
            Remark(file=file, line=line, severity=severity, code=code, message=message)
        )

    def lose(self, file: str, line: int, original: str, why: str, *, code: str) -> None:
        """Record what cannot be carried over, with an error that says so."""
        self.lost.append(Lost(file=file, line=line, original=original, why=why))
        self.tell(file, line, code, why, severity=ERROR)
