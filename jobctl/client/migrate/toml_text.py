"""Writes jobs.toml with comments; the only shapes are those that an import makes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.migrate.draft import Findings, JobDraft, Lost

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPES = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}
_TO_ESCAPE = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"\\]')


def document(found: Findings) -> str:
    """Return the text of a file with everything that was found."""
    parts = ["\n".join(comment(line) for line in found.preamble)] if found.preamble else []
    parts += [f"[limits.{key(name)}]\nslots = {slots}" for name, slots in found.limits.items()]
    parts += ["\n".join(_job(job)) for job in found.jobs]
    for lost in found.lost:
        lines = [
            f"NOT CARRIED OVER, {_place(lost)}: {lost.why}",
            *lost.original.splitlines(),
        ]
        parts.append("\n".join(comment(line) for line in lines))
    return "\n\n".join(parts) + "\n"


def _place(found: JobDraft | Lost) -> str:
    return f"{found.file}:{found.line}" if found.line else found.file


def _job(job: JobDraft) -> Iterator[str]:
    yield comment(_place(job))
    for line in job.original.splitlines():
        yield comment(f"  {line}")
    yield f"[jobs.{key(job.name)}]"
    for name, held in job.keys.items():
        yield f"{key(name)} = {value(held)}"
    for line in job.offers:
        yield comment(line)
    for table in job.schedules:
        yield ""
        yield f"[[jobs.{key(job.name)}.schedules]]"
        for name, held in table.items():
            yield f"{key(name)} = {value(held)}"


def comment(text: str) -> str:
    """Return a comment line; control characters are shown as escapes, as TOML allows none."""
    safe = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text.replace("\t", "    "))
    return f"# {safe}".rstrip()


def key(name: str) -> str:
    """Return a key, in quotes if it needs them."""
    return name if _BARE.fullmatch(name) else string(name)


def string(text: str) -> str:
    """Return a text: as it is in '…' where that spares escapes, else in "…"."""
    if ('"' in text or "\\" in text) and "'" not in text and not _CONTROL.search(text):
        return f"'{text}'"
    escaped = _TO_ESCAPE.sub(
        lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04X}", text
    )
    return f'"{escaped}"'


def value(held: object) -> str:
    """Return a value; tables are written inline."""
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, int | float):
        return repr(held)
    if isinstance(held, list | tuple):
        return "[" + ", ".join(value(one) for one in held) + "]"
    if isinstance(held, dict):
        return (
            "{ "
            + ", ".join(f"{key(str(name))} = {value(one)}" for name, one in held.items())
            + " }"
        )
    return string(str(held))
