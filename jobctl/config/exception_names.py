"""Whether the exceptions that ``retry_on``, ``no_retry_on`` and ``expected`` name are there.

A name that nobody has does nothing, and nobody notices. It is looked for as an interpreter that runs
the function finds it, less what the function imports only when it is called: such a name is better
written with its module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobctl.config.hooks import Serving, may_need_init, unjudged
from jobctl.config.hosts import problem_of
from jobctl.config.job_values import REASONS
from jobctl.config.problem import NOTE, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jobctl.config.problem import Problem
    from jobctl.model.job import JobDef

REMEDY = "correct it: as long as nobody has that name, the key does nothing for it"
SHORT = "correct it, or write it with its module, as in an import statement"


@dataclass(slots=True)
class Named:
    """A name of an exception in a key of jobs that run in one place."""

    key: str
    name: str
    jobs: list[JobDef] = field(default_factory=list)

    @property
    def item(self) -> dict[str, object]:
        """What the child is asked."""
        modules = dict.fromkeys(str(job.python).partition(":")[0] for job in self.jobs)
        return {"kind": "exception", "name": self.name, "modules": list(modules)}

    def problem(self, answer: Mapping[str, Any], serving: Serving) -> Problem:
        """Return what is said of it when it is not there."""
        job = self.jobs[0]
        message = f"{self.name!r}: {answer['wrong']}"
        if len(self.jobs) > 1:
            message += f"; {len(self.jobs) - 1} more jobs name it likewise"
        pool = serving.init_of(job)
        if pool is not None and may_need_init(answer):
            return problem_of(
                job, self.key, code="unjudged", severity=NOTE,
                message=message, remedy=unjudged(pool, answer),
            )  # fmt: skip
        return problem_of(
            job, self.key, code="exception", severity=WARNING,
            message=message, remedy=REMEDY if "." in self.name else SHORT,
        )  # fmt: skip


def exception_names(job: JobDef) -> Iterator[tuple[str, str]]:
    """Yield key and name of each exception that a job names."""
    rules: dict[str, Iterable[int | str]] = {
        "retry_on": job.retry.retry_on or (),
        "no_retry_on": job.retry.no_retry_on,
        "expected": job.expected,
    }
    for key, names in rules.items():
        for name in names:
            if isinstance(name, str) and (key == "expected" or name not in REASONS):
                yield key, name
