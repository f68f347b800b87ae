"""States, codes, variables and fields, from the modules that define them."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections import defaultdict
from typing import TYPE_CHECKING

from docs.meanings import ATTEMPT_FIELDS, RUN_FIELDS, VARIABLES
from docs.sources import attribute_docs, markdown
from jobctl import errors
from jobctl.client import views
from jobctl.engine import environment as variables
from jobctl.engine.attempt import AttemptSpec
from jobctl.model import run as model
from jobctl.model.job import JobDef
from jobctl.model.run import (
    LETTERS,
    TRANSITIONS,
    AttemptRecord,
    Parent,
    Request,
    Run,
    RunState,
    Usage,
)
from jobctl.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ERROR_MODULES = ("store.failures", "store.codec", "config.problem", "client.sending")
"""Where branches of the exception tree grow that have a word of their own."""
ACCEPT = ("submit", "tick", "boot")
NOWHERE = "new"


def states() -> str:
    """Return the table of states."""
    docs = attribute_docs(model, "RunState")
    lines = ["| state | final | meaning |", "|---|---|---|"]
    lines += [
        f"| `{state.value}` | {'yes' if state.final else ''} | {docs[state.name]} |"
        for state in RunState
    ]
    return "\n".join(lines)


def _moves() -> dict[tuple[str, str], set[str]]:
    """Return the moves between states, and the scripts that make them.

    A run that is due later is ``retrying`` when it was started before. A claimed one counts as
    running, so its start is no move.
    """
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for old, new, script in TRANSITIONS:
        after = LETTERS[new].value
        if script == "settle" and new == "d":
            after = RunState.RETRYING.value
        before = NOWHERE if old == "-" else LETTERS[old].value
        if before == after == RunState.RUNNING.value:
            continue
        found[before, after].add(script)
        if old == "d" and script not in ACCEPT:
            found[RunState.RETRYING.value, after].add(script)
    # What never was started does not fail, and what was started does not come too late.
    found.pop((RunState.RETRYING.value, RunState.EXPIRED.value), None)
    for script in found.pop((RunState.SCHEDULED.value, RunState.FAILED.value), ()):
        found[RunState.RETRYING.value, RunState.FAILED.value].add(script)
    return found


def transitions() -> str:
    """Return the table of moves."""
    order = [NOWHERE, *(state.value for state in RunState)]
    lines = ["| from | to | by the script |", "|---|---|---|"]
    for (old, new), scripts in sorted(
        _moves().items(), key=lambda item: (order.index(item[0][0]), order.index(item[0][1]))
    ):
        lines.append(f"| {old} | {new} | {', '.join(sorted(scripts))} |")
    return "\n".join(lines)


def state_diagram() -> str:
    """Return the moves between unfinished states, and into final ones, as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2"]
    ends: dict[str, list[str]] = defaultdict(list)
    for old, new in sorted(_moves()):
        if RunState(new).final:
            ends[new].append(old)
        else:
            lines.append(f"    {'[*]' if old == NOWHERE else old} --> {new}")
    for state in RunState:
        lines += [
            f"    {'[*]' if old == NOWHERE else old} --> {state.value}"
            for old in sorted(ends[state.value])
        ]
    lines += [f"    {state.value} --> [*]" for state in RunState if state.final]
    return "\n".join([*lines, "```"])


def reasons() -> str:
    """Return the table of reasons."""
    docs = attribute_docs(model, "Reason")
    return _table("reason", ((reason.value, docs[reason.name]) for reason in model.Reason))


def exit_codes() -> str:
    """Return the table of exit codes."""
    docs = attribute_docs(errors, "ExitCode")
    codes = {name: value for name, value in vars(errors.ExitCode).items() if name.isupper()}
    return _table("code", ((str(value), docs[name]) for name, value in codes.items()))


def error_codes() -> str:
    """Return the table of the words that stand for errors in JSON."""
    for name in ERROR_MODULES:
        importlib.import_module(f"jobctl.{name}")
    found: dict[str, list[type[errors.JobctlError]]] = defaultdict(list)
    for branch in _branches(errors.JobctlError):
        if "code" in vars(branch):
            found[branch.code].append(branch)
    lines = ["| `code` | exit code | when |", "|---|---|---|"]
    for word, branches in found.items():
        said = " ".join(dict.fromkeys(_when(branch) for branch in branches))
        lines.append(f"| `{word}` | {branches[0].exit_code} | {said} |")
    lines.append("| `internal` | 1 | A bug in jobctl. |")
    return "\n".join(lines)


def _branches(root: type[errors.JobctlError]) -> Iterable[type[errors.JobctlError]]:
    """Yield a class and what is below it, in an order that does not depend on who imported what."""
    yield root
    # In the order of the source, whatever was imported first.
    for branch in sorted(root.__subclasses__(), key=_place):
        yield from _branches(branch)


def _place(branch: type[errors.JobctlError]) -> tuple[bool, str, int]:
    # Public ones are shown as `jobctl.NAME`, wherever they are.
    here = list(vars(errors).values())
    if branch in here:
        return False, "", here.index(branch)
    public = branch.__module__ == "jobctl"
    return True, branch.__module__, 0 if public else inspect.getsourcelines(branch)[1]


def _when(branch: type[errors.JobctlError]) -> str:
    if branch is errors.JobctlError:
        return "Anything that none of the others describes."
    text = (inspect.getdoc(branch) or "").split("\n\n")[0]
    said = markdown(text.removeprefix("Raised when "))
    # The file's name stays as it is written.
    return said if said.startswith("jobs.toml") else said[:1].upper() + said[1:]


def environment() -> str:
    """Return the table of the variables of an attempt."""
    account = variables.Account(name="shop", home="/home/shop")
    common = variables.job_environment(
        JobDef(name="x"), account=account, timezone="UTC", tools=None
    )
    spec = AttemptSpec(
        run_id="x",
        job=JobDef(name="x"),
        tags={"name": "x"},
        kwargs={"name": "x"},
        parent=Parent(run="x", job="x", state="failed"),
    )
    names = variables.attempt_environment(spec, common, result_file="x", progress_file="x")
    return _table("variable", _described(names, VARIABLES))


def redis_keys() -> str:
    """Return the map of the key space."""
    text = (inspect.getdoc(keys) or "").split("::\n\n", 1)[1]
    table, _, fields = text.partition("\n\n")
    return f"```text\n{textwrap.dedent(table)}\n\n{fields.strip()}\n```"


def run_fields() -> str:
    """Return the table of the fields of a run in JSON."""
    run = Run(request=Request(id="x", job="x"), state=RunState.QUEUED, letter="q")
    return _table("field", _described(views.run_view(run), RUN_FIELDS))


def attempt_fields() -> str:
    """Return the table of the fields of an attempt in JSON."""
    attempt = AttemptRecord(
        number=1, outcome="succeeded", reason=None, exit_code=0, signal=None, error=None,
        host=None, pid=None, started_at=None, finished_at=None, duration=None, usage=Usage(),
        log_bytes=0, log_truncated=False,
    )  # fmt: skip
    return _table("field", _described(views.attempt_view(attempt), ATTEMPT_FIELDS))


def _described(names: Iterable[str], meanings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return names with their meanings; raises ``ValueError`` unless each has exactly one."""
    found = list(names)
    odd = set(found) ^ set(meanings)
    if odd:
        raise ValueError(f"described but gone, or there but not described: {sorted(odd)}")
    return [(name, meanings[name]) for name in found]


def _table(head: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {head} | meaning |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {meaning} |" for name, meaning in rows)])
