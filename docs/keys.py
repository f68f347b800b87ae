"""The tables of keys of jobs.toml, from the schema and the definitions it fills."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from docs.sources import attribute_docs, default_of, type_word
from jobctl.config import build, schema
from jobctl.model import config, job, pool

if TYPE_CHECKING:
    from types import ModuleType

    from pydantic import BaseModel

TABLES: dict[str, tuple[type[BaseModel], ModuleType, type]] = {
    "settings": (schema.SettingsTable, config, config.Settings),
    "security": (schema.SecurityTable, config, config.Security),
    "mail": (schema.MailTable, job, job.MailDef),
    "python": (schema.PythonTable, job, job.PythonDef),
    "pool": (schema.PoolTable, pool, pool.PoolDef),
    "queue": (schema.QueueTable, job, job.QueueDef),
    "limit": (schema.LimitTable, job, job.LimitDef),
    "schedule": (schema.ScheduleTable, job, job.ScheduleDef),
    "param": (schema.ParamTable, job, job.ParamSpec),
}
"""Name of a table → its schema, and the module and class of the definition that is made of it."""

GROUPS: dict[str, tuple[str, ...]] = {
    "what": (
        "command", "python", "interpreter", "args", "kwargs", "params", "shell", "stdin", "only_if",
        "enabled", "description", "owner", "tags",
    ),
    "process": ("cwd", "env", "env_file", "user", "group", "umask", "nice", "max_rss", "max_output", "leftovers"),
    "when": (
        "schedule", "schedules", "timezone", "jitter", "missed", "catchup_window", "catchup_max",
        "overlap",
    ),
    "queueing": (
        "queue", "priority", "max_running", "rate", "limits", "unique", "start_deadline", "expires",
    ),
    "stopping": ("timeout", "soft_timeout", "total_timeout", "stop_signal", "stop_timeout"),
    "outcome": ("success_codes", "skip_codes", "expected", "on_lost", "delivery", "strict_single"),
    "retries": (
        "retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_jitter", "retry_on",
        "no_retry_on",
    ),
    "history": ("keep_runs", "keep_days", "keep_failed", "keep_ids", "keep_result", "result_format", "result_compression"),
    "notices": (
        "mail_to", "mail_on", "mail_every", "ping_url", "on_failure", "on_success", "on_retry",
        "late_after", "pause_after_failures",
    ),
    "inactive": schema.JobTable.INACTIVE,
}  # fmt: skip
"""Every key of a job, once, by what it is about."""

SPECIAL = {
    ("job", "overlap"): '`"skip"` with a schedule, else `"allow"`',
    ("pool", "slots"): "number of CPUs",
    ("settings", "state_dir"): "see [files](files.md)",
}
"""Defaults that are not one value."""
RENAMED = {("schedule", "schedule"): "rule"}
HEAD = "| key | takes | default | meaning |\n|---|---|---|---|\n"


def job_keys(group: str) -> str:
    """Return the table of a group of a job's keys."""
    docs = attribute_docs(job, "JobDef")
    docs.update(attribute_docs(schema, "JobTable"))
    retry = attribute_docs(job, "RetryPolicy")
    kept = _fields(job.JobDef)
    for key, name in build._RETRY.items():  # noqa: SLF001 - the one place that maps them
        docs[key] = retry[name]
        kept[key] = _fields(job.RetryPolicy)[name]
    return HEAD + "".join(
        _row("job", key, schema.JobTable, kept.get(key), docs[key]) for key in GROUPS[group]
    )


def table_keys(table: str) -> str:
    """Return the table of the keys of any other table."""
    model, module, made = TABLES[table]
    docs = attribute_docs(schema, model.__name__) | attribute_docs(module, made.__name__)
    kept = _fields(made)
    rows = []
    for key in model.model_fields:
        name = RENAMED.get((table, key), key)
        rows.append(_row(table, key, model, kept.get(name), docs[name]))
    return HEAD + "".join(rows)


def _row(
    table: str,
    key: str,
    model: type[BaseModel],
    kept: dataclasses.Field[Any] | None,
    meaning: str,
) -> str:
    default = SPECIAL.get((table, key)) or default_of(model, key, kept)
    return f"| `{key}` | {type_word(key, model.model_fields[key])} | {default} | {meaning} |\n"


def _fields(made: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(made)}
