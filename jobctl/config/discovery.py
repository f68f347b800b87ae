"""Jobs that Python modules declare with ``@job``: found by a clean child, never by this process.

The child runs in the interpreter, the environment and the directory that Python jobs of the file
have by default. What it finds lies below jobs.toml: a key that is written there wins.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobctl.config.asking import NoAnswerError, Surroundings
from jobctl.config.build import absolute
from jobctl.config.cache import file_stamp
from jobctl.config.env_file import EnvFileError, read_env_file
from jobctl.config.explain import check_table
from jobctl.config.gather import Entry, check_name
from jobctl.config.interview import Interview
from jobctl.config.paths import shown_path
from jobctl.config.positions import Place, Positions
from jobctl.config.schema import JobTable
from jobctl.config.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.config.gather import Draft
    from jobctl.config.problem import Problem

PATIENCE = 60.0
"""Seconds that importing one module may take."""
SECONDS = 90.0
"""Seconds for all modules, those included that an earlier child had imported."""
UNSETTLED = (0, 0, 0, 0, 0)
"""The stamp of a file that was changed while it was imported: it fits none."""


class DeclaredSource(Source):
    """A Python file as the place of the jobs it declares."""

    __slots__ = ("places",)
    declares = True

    def __init__(self, path: str) -> None:
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        super().__init__(path=path, shown=shown_path(path), text=text)
        self.data = {"jobs": {}}
        self.places: dict[str, int] = {}

    def add(self, name: str, keys: dict[str, object], *, line: int) -> None:
        """Note what is declared on a line."""
        self.places.setdefault(name, line)
        self.data["jobs"].setdefault(name, keys)  # type: ignore[attr-defined]  # a table
        self.positions.keys["jobs", name] = Place(line, 0)

    @property
    def positions(self) -> Positions:
        """Where the jobs are declared."""
        if self._positions is None:
            self._positions = Positions()
        return self._positions

    def line(self, section: str, name: str) -> int:  # noqa: ARG002 - it holds jobs only
        """Return the line on which a job is declared."""
        return self.places.get(name, 0)


def discover(draft: Draft) -> None:
    """Add the jobs that the modules of ``[python] discover`` declare."""
    table = draft.python.table if draft.python is not None else None
    if table is None or not table.discover or not draft.complete:
        return
    before = time.time_ns()
    try:
        found = _ask(draft, list(table.discover))
    except NoAnswerError as error:
        message, remedy = error.args
        draft.problems.append(
            draft.main.problem(
                ("python", "discover"), code="discover", message=message, remedy=remedy
            )
        )
        draft.discovered = False
        return
    for item in found["problems"]:
        draft.problems.append(_told(draft, item))
        draft.discovered = False
    for path in found["files"]:
        draft.watched[path] = _stamp(path, before)
    sources: dict[str, DeclaredSource] = {}
    for item in found["jobs"]:
        path = item["file"] or draft.path
        if path not in sources:
            sources[path] = DeclaredSource(path)
            sources[path].stamp = draft.watched.pop(path, _stamp(path, before))
            draft.sources.append(sources[path])
        _declare(draft, sources[path], item)


def _declare(draft: Draft, source: DeclaredSource, item: dict[str, Any]) -> None:
    name, path = item["name"], ("jobs", item["name"])
    keys = _keys(draft, item)
    earlier = draft.declared.get(name)
    source.add(name, keys, line=item["line"])
    if earlier is not None:
        if earlier.table is not None and earlier.table.python == item["target"]:
            return
        draft.problems.append(
            source.problem_at(
                Place(item["line"], 0), key=f"jobs.{name}", code="duplicate",
                message=f"{name} is already declared in {earlier.source.shown}:"
                f"{earlier.source.line('jobs', name)}",
                remedy='give one of them another name: @job("…")',
            )
        )  # fmt: skip
        return
    if keys["python"] != item["target"]:
        draft.problems.append(
            source.problem_at(
                Place(item["line"], 0), key=f"jobs.{name}", code="conflict",
                message="@job declares the function below it, and python names another",
                remedy="leave python out, or write it in jobs.toml",
            )
        )  # fmt: skip
    table, problems = check_table(JobTable, keys, source=source, path=path)
    draft.problems += problems
    takes = None if item["params"] is None else frozenset(item["params"])
    made = draft.declared[name] = Entry(
        name=name, source=source, path=path, table=table, takes=takes
    )
    if name in draft.jobs:
        draft.jobs[name].declared = made
    else:
        check_name(draft, source, path)
        draft.jobs[name] = made


def _keys(draft: Draft, item: dict[str, Any]) -> dict[str, object]:
    """Return what is declared as a job of jobs.toml has it; what ``None`` was given for is left out."""
    table = draft.python.table if draft.python is not None else None
    inherited = set()
    if draft.defaults is not None and draft.defaults.table is not None:
        inherited = draft.defaults.table.model_fields_set
    keys: dict[str, object] = {"python": item["target"]}
    if item["description"]:
        keys["description"] = item["description"]
    if "cwd" not in inherited:
        keys["cwd"] = "."
    if table is not None and table.interpreter is not None:
        keys["interpreter"] = table.interpreter
    if item["params"] is not None:
        keys["params"] = item["params"]
    own = {key: value for key, value in item["keys"].items() if value is not None}
    if item["params"] is None and own.get("params") == {}:
        del own["params"]  # it would say that the function has none
    if "params" in own and isinstance(own["params"], dict) and item["params"] is not None:
        own["params"] = {
            name: {**item["params"].get(name, {}), **own["params"].get(name, {})}
            for name in {**item["params"], **own["params"]}
        }
    return keys | own


def _ask(draft: Draft, modules: list[str]) -> dict[str, Any]:
    """Return what the child found; raises ``NoAnswerError``."""
    try:
        surroundings = _surroundings(draft)
    except EnvFileError as error:
        raise NoAnswerError(str(error), "") from error
    items = [{"kind": "declared", "names": modules}]
    interview = Interview(surroundings, items, patience=PATIENCE, seconds=SECONDS)
    [(_, found)] = interview.answers()
    return found  # type: ignore[no-any-return]  # JSON


def _surroundings(draft: Draft) -> Surroundings:
    """Return interpreter, directory and environment of Python jobs as far as defaults say them."""
    folder = os.path.dirname(draft.path)  # noqa: PTH120 (texts)
    defaults = draft.defaults.table if draft.defaults is not None else None
    chosen = draft.python.table.interpreter if draft.python and draft.python.table else None
    if chosen is None and defaults is not None:
        chosen = defaults.interpreter
    if chosen is not None:
        chosen = os.path.expanduser(absolute(chosen, folder=folder, bare=False))  # noqa: PTH111 (texts)
    environment: dict[str, str] = {}
    cwd, user = folder, None
    if defaults is not None:
        for name in defaults.env_file or ():
            environment |= read_env_file(os.path.expanduser(absolute(name, folder=folder)))  # noqa: PTH111 (texts)
        environment |= defaults.env or {}
        user = defaults.user
        if defaults.cwd is not None:
            cwd = os.path.expanduser(absolute(defaults.cwd, folder=folder))  # noqa: PTH111 (texts)
    return Surroundings(chosen, cwd, environment, user=user)


def _told(draft: Draft, item: Mapping[str, Any]) -> Problem:
    """Return a problem that the child met, in its module when it has a place there."""
    if not item["file"]:
        return draft.main.problem(
            ("python", "discover"), code="discover", message=item["message"], remedy=item["remedy"]
        )
    return DeclaredSource(item["file"]).problem_at(
        Place(item["line"], 0), code="discover", message=item["message"], remedy=item["remedy"]
    )


def _stamp(path: str, before: int) -> tuple[int, ...]:
    """Return the stamp of a file that was imported after ``before`` (nanoseconds)."""
    try:
        info = os.stat(path)  # noqa: PTH116 (texts)
    except OSError:
        return UNSETTLED
    return UNSETTLED if max(info.st_mtime_ns, info.st_ctime_ns) >= before else file_stamp(info)
