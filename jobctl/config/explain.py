"""Turn what pydantic reports about a table into problems in plain words."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from jobctl.config.schema import (
    JobTable,
    LimitTable,
    MailTable,
    ParamTable,
    PoolTable,
    PythonTable,
    QueueTable,
    ScheduleTable,
    SecurityTable,
    SettingsTable,
    Table,
)
from jobctl.config.values import Wrong, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobctl.config.positions import Path
    from jobctl.config.problem import Problem
    from jobctl.config.source import Source

T = TypeVar("T", bound=Table)

_HIDDEN = frozenset(
    ("env", "redis", "smtp", "ping_url", "stdin", "args", "kwargs", "default", "choices")
)
"""Keys whose values may be secret and are never repeated."""

_OTHER_WORDS = {
    "acks_late": 'delivery = "at-least-once"', "at": 'schedule = "@at …"', "attempts": "retries",
    "autoretry_for": "retry_on", "backoff": "retry_backoff", "callable": "python",
    "catch_up": "missed", "catchup": "missed", "cmd": "command", "concurrency": "max_running",
    "concurrency_policy": "overlap", "countdown": "retry_delay", "cron": "schedule",
    "default_retry_delay": "retry_delay", "dir": "cwd", "directory": "cwd",
    "disabled": "enabled = false", "dont_autoretry_for": "no_retry_on", "email": "mail_to",
    "environment": "env", "every": 'schedule = "@every …"', "exec": "command",
    "execstart": "command", "failure_ttl": "keep_failed", "from": "sender", "func": "python",
    "function": "python", "grace": "stop_timeout", "grace_period": "stop_timeout",
    "ignore_result": 'keep_result = "none"', "job_timeout": "timeout",
    "kill_after": "stop_timeout", "kill_signal": "stop_signal", "kill_timeout": "stop_timeout",
    "lock": "limits", "mailto": "mail_to", "max_age": "expires", "max_backoff": "retry_max_delay",
    "max_instances": "max_running", "max_memory": "max_rss",
    "max_memory_per_child": "max_rss_per_child", "max_retries": "retries",
    "max_tasks_per_child": "max_runs_per_child", "max_tries": "retries", "max_workers": "slots",
    "mem_limit": "max_rss", "memory": "max_rss", "memorymax": "max_rss",
    "min_backoff": "retry_delay", "oncalendar": "schedule", "parallelism": "slots",
    "persistent": "missed", "prefetch_multiplier": "prefetch", "processes": "slots",
    "randomizeddelaysec": "jitter", "rate_limit": "rate", "result_expires": "result_ttl",
    "result_time_limit": "result_ttl", "retry_backoff_max": "retry_max_delay", "run": "command",
    "runtimemaxsec": "timeout", "script": "command", "soft_time_limit": "soft_timeout",
    "stop_grace": "stop_timeout", "suspend": "enabled = false", "target": "python",
    "task": "python", "threads": "slots", "throws": "expected", "time_limit": "timeout",
    "time_zone": "timezone", "timeoutstopsec": "stop_timeout", "ttl": "expires", "tz": "timezone",
    "venv": "interpreter", "virtualenv": "interpreter", "workdir": "cwd",
    "worker_max_tasks_per_child": "max_runs_per_child", "worker_prefetch_multiplier": "prefetch",
    "workers": "slots", "working_dir": "cwd", "workingdirectory": "cwd",
}  # fmt: skip
"""Words other schedulers and queues use, and what a job or a pool says here."""

_HOMES: tuple[tuple[str, type[Table]], ...] = (
    ("[jobctl]", SettingsTable), ("a job", JobTable), ("a pool", PoolTable),
    ("a queue", QueueTable), ("a limit", LimitTable), ("[security]", SecurityTable), ("[mail]", MailTable),
    ("[python]", PythonTable),
)  # fmt: skip


def check_table(
    model: type[T], raw: object, *, source: Source, path: Path, written: object = None
) -> tuple[T | None, list[Problem]]:
    """Validate one table; return what could be understood of it and all its problems.

    ``written`` is the table as it stands in the file, when ``raw`` has variables filled in.
    The table is returned without its wrong keys, so that the others can be checked further;
    it is ``None`` when a key that must be there is missing or wrong.
    """
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    text = raw if written is None else written
    problems = [
        _explain(detail, model=model, source=source, path=path, raw=text) for detail in details
    ]
    if not isinstance(raw, dict):
        return None, problems
    wrong = {detail["loc"][0] for detail in details if detail["loc"]}
    try:
        return model.model_validate({k: v for k, v in raw.items() if k not in wrong}), problems
    except ValidationError:
        return None, problems


def _explain(
    detail: Any,  # noqa: ANN401 (pydantic's ErrorDetails, whose import costs more than it says)
    *,
    model: type[Table],
    source: Source,
    path: Path,
    raw: object,
) -> Problem:
    loc: Path = tuple(detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        return unknown_key(
            str(loc[-1]),
            known=_model_at(model, loc).model_fields,
            source=source,
            path=path + loc,
        )
    if kind == "missing":
        return source.problem(
            path + loc,
            at_key=True,
            code="missing",
            message="this key is missing",
            remedy=f"add {loc[-1]} = …",
        )
    if kind == "value_error":
        wrong = detail["ctx"]["error"]
        if isinstance(wrong, Wrong):
            return wrong_value(wrong, source=source, path=path + loc, raw=_dig(raw, loc))
    shape = "a list of tables" if kind == "list_type" else "a table"
    said = f"{shown(_dig(raw, loc))} is not {shape}"
    return source.problem(path + loc, code="type", message=said, remedy=f"write {shape} here")


def wrong_value(wrong: Wrong, *, source: Source, path: Path, raw: object) -> Problem:
    """Return the problem for a value that was refused; ``raw`` is the value as it is written."""
    value = _dig(raw, wrong.path)
    where = path + wrong.path
    says = wrong.says
    if _HIDDEN.intersection(where) or (isinstance(value, dict) and not wrong.detail):
        subject = "the value"
    else:
        subject = shown(value)
        if wrong.detail and not (isinstance(value, str) and "${" in value):
            says = wrong.detail
    return source.problem(
        where,
        code=wrong.code,
        message=f"{subject} {says}",
        remedy=wrong.remedy,
        offset=wrong.offset,
    )


def unknown_key(key: str, *, known: Iterable[str], source: Source, path: Path) -> Problem:
    """Return the problem for a key that nothing knows, with what may have been meant."""
    names = list(known)
    close = nearest(key, names)
    other = other_word(key)
    if other and other.partition(" ")[0] in names:
        remedy = f"here it is called {other}" if "=" not in other else f"write {other}"
    elif close:
        remedy = f"did you mean '{close}'?"
    else:
        homes = [home for home, model in _HOMES if key in model.model_fields]
        remedy = f"it is a key of {' and '.join(homes)}" if homes else "remove it"
        if key == "include":
            remedy = "it goes to the top of the main file, above the first [table]"
    return source.problem(
        path, at_key=True, code="unknown-key", message="unknown key", remedy=remedy
    )


def other_word(key: str) -> str:
    """Return what jobctl calls something that other schedulers call ``key``, or nothing."""
    return _OTHER_WORDS.get(key.lower().replace("-", "_"), "")


def shown(value: object) -> str:
    """Return a short form of a value for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return "a date or time"
    said = repr(value) if isinstance(value, str) else _digits(value)
    return said if len(said) <= 60 else said[:58] + "…" + said[-1]  # noqa: PLR2004 (one row with its key)


def _digits(value: object) -> str:
    try:
        return str(value)
    except ValueError:
        # More digits than Python is willing to print.
        return "this number"


def _model_at(model: type[Table], loc: Path) -> type[Table]:
    if len(loc) > 1:
        below: dict[str, type[Table]] = {"schedules": ScheduleTable, "params": ParamTable}
        return below.get(str(loc[0]), model)
    return model


def _dig(value: object, path: Path) -> object:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
    return value


def entry_tables(
    raw: object, *, source: Source, section: str
) -> tuple[Mapping[str, object], list[Problem]]:
    """Return the tables of a section such as ``[jobs]``, which must be a table itself."""
    if isinstance(raw, dict):
        return raw, []
    problem = source.problem(
        (section,),
        code="type",
        message=f"{shown(raw)} is not a table",
        remedy=f"write [{section}.NAME] and its keys below",
    )
    return {}, [problem]
