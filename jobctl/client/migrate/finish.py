"""From what was found to a file that ``jobctl check`` takes: names, text, and the check itself."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl.client.migrate.draft import NOTE
from jobctl.client.migrate.toml_text import document
from jobctl.config.problem import ERROR, WARNING
from jobctl.config.validate import validate
from jobctl.errors import JobctlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.client.migrate.draft import Findings, JobDraft
    from jobctl.config.problem import Problem

_LONGEST_NAME = 56
_CPUS = 4
"""Any number: how many slots a pool has plays no part in whether a file is right."""


def finished(found: Findings) -> str:
    """Return the text of the file; a job that does not check becomes a comment and an error.

    Raises:
        JobctlError: what was written cannot be read even so, which is a defect of this program.

    """
    _distinct_names(found.jobs)
    found.jobs, lost = _apart(found.jobs)
    for job in lost:
        found.lose(
            job.file,
            job.line,
            job.original,
            "its text is not UTF-8; write this job by hand",
            code="text",
        )
    for _ in range(2):
        text = document(found)
        problems = _problems(text)
        errors = [one for one in problems if one.severity == ERROR]
        if not errors:
            _pass_on_warnings(found, problems)
            return text
        _give_up(found, errors)
    told = "; ".join(f"line {one.line}: {one.message}" for one in errors[:3])
    raise JobctlError(
        f"the jobs.toml that was made of this does not check, so it is not shown ({told}); please report it"
    )


def _apart(jobs: list[JobDraft]) -> tuple[list[JobDraft], list[JobDraft]]:
    """Divide the jobs into those that can be written as text and those with undecodable bytes."""
    lost = [job for job in jobs if any("\udc80" <= char <= "\udcff" for char in _all_text(job))]
    return [job for job in jobs if job not in lost], lost


def _all_text(job: JobDraft) -> str:
    return "".join((job.name, str(job.keys), str(job.schedules), job.original, job.file))


def _distinct_names(jobs: list[JobDraft]) -> None:
    taken: set[str] = set()
    for job in jobs:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", job.name).strip("-_.")[:_LONGEST_NAME] or "job"
        name, number = plain, 1
        while name in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name)
        job.name = name


def _problems(text: str) -> tuple[Problem, ...]:
    with tempfile.TemporaryDirectory(prefix="jobctl-import-") as directory:
        path = Path(directory, "jobs.toml")
        path.write_text(text, encoding="utf-8")
        return validate(str(path), environ=os.environ, cpus=_CPUS).problems


def _by_job(found: Findings, problems: list[Problem]) -> Iterator[tuple[JobDraft, Problem]]:
    names = {job.name: job for job in found.jobs}
    for problem in problems:
        name = re.match(r'jobs\.(?:"([^"]+)"|([A-Za-z0-9_-]+))', problem.key)
        job = names.get(name[1] or name[2]) if name else None
        if job is not None:
            yield job, problem


def _give_up(found: Findings, errors: list[Problem]) -> None:
    whys: dict[str, list[str]] = {}
    for job, problem in _by_job(found, errors):
        whys.setdefault(job.name, []).append(f"{problem.key.rpartition('.')[2]}: {problem.message}")
    for job in [job for job in found.jobs if job.name in whys]:
        found.jobs.remove(job)
        found.lose(
            job.file, job.line, job.original, "; ".join(whys[job.name]), code="does-not-check"
        )


def _pass_on_warnings(found: Findings, problems: tuple[Problem, ...]) -> None:
    """Repeat what ``check`` will warn of, with the place it comes from: it was so before, too."""
    told = {(one.file, one.line, one.message) for one in found.remarks}
    for job, problem in _by_job(found, [one for one in problems if one.severity == WARNING]):
        if problem.code == "inactive" or (job.file, job.line, problem.message) in told:
            continue
        found.tell(job.file, job.line, problem.code, problem.message, severity=NOTE)
