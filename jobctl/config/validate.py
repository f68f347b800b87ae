"""From files to a configuration or all their problems; the expensive way.

Everything that imports pydantic or tree-sitter is reached through here.
"""

from __future__ import annotations

import contextlib
import gc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobctl.config.build import build_config, build_job
from jobctl.config.check_schedules import check_zone
from jobctl.config.checks import check_draft
from jobctl.config.gather import Entry, gather
from jobctl.config.problem import ERROR, WARNING, ConfigProblems, Problem
from jobctl.config.schema import JobTable
from jobctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobctl.config.gather import Draft
    from jobctl.config.schema import PoolTable
    from jobctl.model.config import Config
    from jobctl.model.job import JobDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came out of validating a configuration."""

    config: Config | None
    """``None`` when there are errors."""
    problems: tuple[Problem, ...]
    """Errors and warnings in the order of files and lines."""
    files: dict[str, tuple[int, ...]]
    """Absolute path and stamp of every file read."""
    includes: dict[str, list[str]]
    """Absolute pattern and what it matched."""
    variables: dict[str, str | None]
    """Environment variables that were filled in, and their values."""
    pools: dict[str, Entry[PoolTable]]
    """Where pools are written."""
    defaults: JobDef | None
    """What ``[defaults]`` says, as a job without a name; ``None`` when that makes no job."""

    def require(self) -> Config:
        """Return the configuration.

        Raises:
            ConfigProblems: there are errors.

        """
        if self.config is None:
            raise ConfigProblems(self.problems)
        return self.config


def validate(path: str, *, environ: Mapping[str, str], cpus: int) -> Checked:
    """Validate the configuration whose main file is ``path`` (absolute).

    ``cpus`` is how many slots a pool has that does not say.
    """
    draft = gather(path, environ=environ)
    if draft.sources:
        draft.problems += check_draft(draft)
        if draft.settings is not None and draft.settings.table is not None:
            zone = draft.settings.table.timezone
            if zone is not None:
                draft.problems += check_zone(zone, draft.settings, ("timezone",))
    problems = tuple(_in_order(draft))
    config = None
    if not any(problem.severity == ERROR for problem in problems):
        warnings = tuple(str(problem) for problem in problems if problem.severity == WARNING)
        config = build_config(draft, cpus=cpus, warnings=warnings)
    return Checked(
        config=config,
        problems=problems,
        files=draft.watched | {source.path: source.stamp for source in draft.sources},
        includes=draft.includes,
        variables=draft.variables,
        pools=draft.pools,
        defaults=None if config is None else _defaults(draft),
    )


def _defaults(draft: Draft) -> JobDef | None:
    nobody = Entry(name="", source=draft.main, path=(), table=JobTable())
    try:
        return build_job(nobody, draft=draft)
    except UsageError:  # its schedules lack arguments that each job gives
        return None


def _in_order(draft: Draft) -> list[Problem]:
    files = {source.shown: index for index, source in enumerate(draft.sources)}
    return sorted(
        dict.fromkeys(draft.problems),
        key=lambda one: (files.get(one.file, len(files)), one.line, one.column),
    )


def check_config(path: str) -> Checked:
    """Validate ``path`` with this process's environment."""
    with _uncollected():
        return validate(os.path.abspath(path), environ=os.environ, cpus=os.cpu_count() or 1)  # noqa: PTH100 (texts)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Let nobody look for garbage meanwhile: in a large file hardly anything is, and the look is long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
