"""Read the main file and what it includes, and check every table by itself."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from jobctl.config.cache import find_included
from jobctl.config.explain import check_table, entry_tables, shown, unknown_key, wrong_value
from jobctl.config.problem import Problem
from jobctl.config.schema import (
    JobTable,
    LimitTable,
    MailTable,
    PoolTable,
    PythonTable,
    QueueTable,
    SecurityTable,
    SettingsTable,
    Table,
)
from jobctl.config.source import Source, dotted, read_source
from jobctl.config.values import Wrong, name
from jobctl.config.variables import fill_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.config.positions import Path

T = TypeVar("T", bound=Table)

_SECTIONS: dict[str, type[Table]] = {
    "jobs": JobTable,
    "pools": PoolTable,
    "queues": QueueTable,
    "limits": LimitTable,
}
_MAIN_ONLY = ("jobctl", "security", "mail", "python", "include", "defaults")


@dataclass(slots=True)
class Entry(Generic[T]):
    """One table and where it is written."""

    name: str
    source: Source
    path: Path
    table: T | None
    """Without its wrong keys; ``None`` when nothing could be made of it."""
    declared: Entry[T] | None = None
    """What Python code says of the same job, below what is written here."""
    takes: frozenset[str] | None = None
    """The parameters of the function that it declares, when that names them all."""

    def problem(self, key: str | Path, *, code: str, message: str, **more: str) -> Problem:
        """Return a problem at the value of a key of this table."""
        below = (key,) if isinstance(key, str) else key
        return self.source.problem(self.path + below, code=code, message=message, **more)  # type: ignore[arg-type]  # more holds texts only


@dataclass(slots=True)
class Draft:
    """Everything that was read, table by table, and everything wrong with it so far."""

    path: str
    problems: list[Problem] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    complete: bool = True
    """False when a file could not be parsed, so that a missing name may be in there."""
    settings: Entry[SettingsTable] | None = None
    security: Entry[SecurityTable] | None = None
    mail: Entry[MailTable] | None = None
    python: Entry[PythonTable] | None = None
    defaults: Entry[JobTable] | None = None
    jobs: dict[str, Entry[JobTable]] = field(default_factory=dict)
    pools: dict[str, Entry[PoolTable]] = field(default_factory=dict)
    queues: dict[str, Entry[QueueTable]] = field(default_factory=dict)
    limits: dict[str, Entry[LimitTable]] = field(default_factory=dict)
    includes: dict[str, list[str]] = field(default_factory=dict)
    """Absolute pattern to what it matched."""
    variables: dict[str, str | None] = field(default_factory=dict)
    """The variables used and their values."""
    declared: dict[str, Entry[JobTable]] = field(default_factory=dict)
    """The jobs that Python code declares."""
    discovered: bool = True
    """False when modules could not be imported, so that a missing job may be in there."""
    watched: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Absolute path and stamp of further files on which the result depends."""

    @property
    def main(self) -> Source:
        """The main file, which was read."""
        return self.sources[0]


def gather(path: str, *, environ: Mapping[str, str]) -> Draft:
    """Read ``path`` (absolute) and its includes; everything that is wrong is in the draft."""
    draft = Draft(path=path)
    main = _read(draft, path)
    if main is None:
        return draft
    _settings(draft, main, environ=environ)
    _security(draft, main)
    _mail(draft, main)
    _python(draft, main)
    _defaults(draft, main)
    _sections(draft, main)
    for found in _included(draft, main):
        source = _read(draft, found)
        if source is not None:
            _sections(draft, source)
    if draft.python is not None:
        from jobctl.config.discovery import discover  # noqa: PLC0415 (it makes entries of ours)

        discover(draft)
    return draft


def _read(draft: Draft, path: str) -> Source | None:
    source = read_source(path)
    if isinstance(source, Problem):
        draft.problems.append(source)
        draft.complete = False
        return None
    draft.sources.append(source)
    return source


def _settings(draft: Draft, main: Source, *, environ: Mapping[str, str]) -> None:
    written = main.data.get("jobctl", {})
    raw: object = written
    if isinstance(written, dict):
        raw = known = {}
        for key, value in written.items():
            try:
                filled = (
                    fill_in(value, environ, used=draft.variables)
                    if isinstance(value, str)
                    else value
                )
            except Wrong as wrong:
                draft.problems.append(
                    wrong_value(wrong, source=main, path=("jobctl", key), raw=value)
                )
            else:
                known[key] = filled
    table, problems = check_table(
        SettingsTable, raw, source=main, path=("jobctl",), written=written
    )
    draft.problems += problems
    draft.settings = Entry(name="jobctl", source=main, path=("jobctl",), table=table)


def _security(draft: Draft, main: Source) -> None:
    draft.security = _only(draft, main, "security", SecurityTable)


def _mail(draft: Draft, main: Source) -> None:
    draft.mail = _only(draft, main, "mail", MailTable)


def _python(draft: Draft, main: Source) -> None:
    draft.python = _only(draft, main, "python", PythonTable)


def _defaults(draft: Draft, main: Source) -> None:
    draft.defaults = _only(draft, main, "defaults", JobTable)


def _only(draft: Draft, main: Source, key: str, kind: type[T]) -> Entry[T] | None:
    """Return a table that there is only one of, in the main file."""
    if key not in main.data:
        return None
    table, problems = check_table(kind, main.data[key], source=main, path=(key,))
    draft.problems += problems
    return Entry(name=key, source=main, path=(key,), table=table)


def _sections(draft: Draft, source: Source) -> None:
    is_main = source is draft.main
    known = (*_SECTIONS, *_MAIN_ONLY)
    for key, raw in source.data.items():
        if key in _SECTIONS:
            _entries(draft, source, section=key, raw=raw)
        elif key not in known:
            draft.problems.append(unknown_key(key, known=known, source=source, path=(key,)))
        elif not is_main:
            draft.problems.append(
                source.problem(
                    (key,),
                    at_key=True,
                    code="not-here",
                    message="an included file cannot hold this",
                    remedy=f"move it to {draft.main.shown}",
                )
            )


def _entries(draft: Draft, source: Source, *, section: str, raw: object) -> None:
    tables, problems = entry_tables(raw, source=source, section=section)
    draft.problems += problems
    entries: dict[str, Entry[Table]] = getattr(draft, section)
    for key, item in tables.items():
        path = (section, key)
        check_name(draft, source, path)
        earlier = entries.get(key)
        if earlier is not None:
            draft.problems.append(_duplicate(earlier, source, path))
            continue
        table, problems = check_table(_SECTIONS[section], item, source=source, path=path)
        draft.problems += problems
        entries[key] = Entry(name=key, source=source, path=path, table=table)


def check_name(draft: Draft, source: Source, path: tuple[str, str]) -> None:
    """Add a problem when the last part of ``path`` cannot be a name."""
    try:
        name(path[1])
    except Wrong as wrong:
        draft.problems.append(
            source.problem(
                path, at_key=True, code=wrong.code,
                message=f"{shown(path[1])} {wrong.says}", remedy=wrong.remedy,
            )
        )  # fmt: skip


def _duplicate(earlier: Entry[Table], source: Source, path: Path) -> Problem:
    first = earlier.source.positions.key(earlier.path)
    return source.problem(
        path,
        at_key=True,
        code="duplicate",
        message=f"{dotted(path)} is already defined in {earlier.source.shown}:{first.line}",
        remedy="rename or remove one of the two",
    )


def _included(draft: Draft, main: Source) -> list[str]:
    """Return the absolute paths of the included files, each once, in the order they are named."""
    patterns = main.data.get("include", [])
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, list):
        draft.problems.append(_bad_include(main, ("include",), patterns))
        return []
    seen = {os.path.realpath(main.path)}
    paths: list[str] = []
    for index, pattern in enumerate(patterns):
        place: Path = ("include", index) if isinstance(main.data["include"], list) else ("include",)
        if not isinstance(pattern, str) or not pattern or "\0" in pattern:
            draft.problems.append(_bad_include(main, place, pattern))
            continue
        # The directory's own name may hold characters that mean something in a pattern.
        folder = glob.escape(os.path.dirname(main.path))  # noqa: PTH120 (glob works on texts)
        full = os.path.join(folder, os.path.expanduser(pattern))  # noqa: PTH111, PTH118 (same)
        found = find_included(full)
        draft.includes[full] = found
        if not found and not glob.has_magic(pattern):
            draft.problems.append(
                main.problem(
                    place, code="unreadable", message=f"there is no file {shown(pattern)}",
                    remedy="create it, or remove it from include",
                )
            )  # fmt: skip
            draft.complete = False
        for path in found:
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                paths.append(path)
    return paths


def _bad_include(main: Source, path: Path, value: object) -> Problem:
    return main.problem(
        path,
        code="type",
        message=f"{shown(value)} is not a file name",
        remedy='write include = ["jobs.d/*.toml"]',
    )
