"""What is wrong with a configuration: where, what, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from jobctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ERROR = "error"
WARNING = "warning"
NOTE = "note"
"""What may well be right, and could not be judged."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One finding. Errors keep the configuration from being used, warnings and notes do not."""

    file: str
    """As the user would write it; absolute when the file is not below the working directory."""
    line: int = 0
    """From 1; 0 when the problem is the file itself."""
    column: int = 0
    """In characters, from 1; 0 when only the line is known."""
    key: str = ""
    """Dotted path of the key: ``jobs.backup.limits[0]``."""
    code: str
    """Stable word for scripts, for example ``unknown-key`` or ``duration``."""
    message: str
    remedy: str = ""
    severity: str = ERROR
    excerpt: str = ""
    """The line of the file, without what may be secret in it."""

    @property
    def place(self) -> str:
        """``file:line:column``, as far as it is known."""
        parts = [self.file]
        if self.line:
            parts.append(str(self.line))
        if self.column:
            parts.append(str(self.column))
        return ":".join(parts)

    @property
    def text(self) -> str:
        """The finding in one line, without its place."""
        about = f"{self.key}: " if self.key else ""
        return f"{about}{self.message}; {self.remedy}" if self.remedy else f"{about}{self.message}"

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}: {self.text}"


class ConfigProblems(ConfigError):  # noqa: N818 (it holds several)
    """Raised with everything that is wrong in all files of a configuration, at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        """Errors and warnings, in the order of files and lines."""
        super().__init__("\n".join(str(item) for item in self.problems if item.severity == ERROR))

    def __reduce__(self) -> tuple[type[ConfigProblems], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def format_problem(problem: Problem, source_line: str | None = None) -> str:
    """Return a problem as a compiler prints it: place and text, the line, a caret below it.

    ``source_line`` replaces the line the problem brings along.
    """
    line = problem.excerpt if source_line is None else source_line
    text = f"{problem.key}: {problem.message}" if problem.key else problem.message
    rows = [f"{problem.place}: {problem.severity}: {text}"]
    if line.strip():
        shown = line.rstrip().replace("\t", " ")
        rows.append(f"  {shown}")
        if problem.column:
            rows.append("  " + " " * min(problem.column - 1, len(shown)) + "^")
    if problem.remedy:
        rows.append(f"  {problem.remedy}")
    return "\n".join(rows)


def problem_to_plain(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON-ready data, all fields present."""
    return asdict(problem)


def problem_from_plain(plain: Mapping[str, Any]) -> Problem:
    """Rebuild a problem from its plain form."""
    return Problem(**plain)
