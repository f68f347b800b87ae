"""Make the frozen definitions of :mod:`jobctl.model` from checked tables."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobctl.config.paths import default_state_dir
from jobctl.model.config import Config, Security, Settings
from jobctl.model.job import (
    Delivery,
    JobDef,
    LimitDef,
    MailDef,
    Missed,
    OnLost,
    Overlap,
    ParamSpec,
    PythonDef,
    QueueDef,
    RetryPolicy,
    ScheduleDef,
)
from jobctl.model.params import bind
from jobctl.model.pool import PoolDef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobctl.config.gather import Draft, Entry
    from jobctl.config.schema import JobTable, ParamTable, ScheduleTable, Table

DEFAULT_POOL = "default"
KEYS_NAME = "signing.keys"
"""The key file of the embedded store, in the state directory, as the store makes it."""

_RETRY = {
    "retries": "retries", "retry_delay": "delay", "retry_backoff": "backoff",
    "retry_max_delay": "max_delay", "retry_jitter": "jitter", "retry_on": "retry_on",
    "no_retry_on": "no_retry_on",
}  # fmt: skip
"""Flat keys of a job, and the fields of its :class:`RetryPolicy`."""
_MERGED = ("env", "tags")
"""Tables to which a job adds; all its other keys replace those of ``[defaults]``."""
HOOKS = ("on_failure", "on_success", "on_retry")
_EITHER = (("command", "python"), ("schedule", "schedules"))
"""A job that writes one of these inherits neither from ``[defaults]``."""


def layered(
    job: Entry[JobTable], defaults: Entry[JobTable] | None
) -> dict[str, tuple[object, Entry[JobTable]]]:
    """Return each key that is set for a job, with the table that it comes from."""
    own = _written(job)
    if job.declared is not None:
        own = _over(_written(job.declared), own)
    if defaults is None:
        return own
    inherited = _written(defaults)
    if any(job.name in inherited[key][0] for key in HOOKS if key in inherited):  # type: ignore[operator]  # lists of names
        # What is to be told of all jobs is not told of itself, for ever.
        for key in HOOKS:
            inherited.pop(key, None)
    return _over(inherited, own)


def _over(
    below: dict[str, tuple[object, Entry[JobTable]]], own: dict[str, tuple[object, Entry[JobTable]]]
) -> dict[str, tuple[object, Entry[JobTable]]]:
    """Return what ``own`` says, and ``below`` where that says nothing."""
    for group in _EITHER:
        if any(key in own for key in group):
            for key in group:
                below.pop(key, None)
    merged = below | own
    for key in _MERGED:
        if key in own and key in below:
            merged[key] = ({**below[key][0], **own[key][0]}, own[key][1])  # type: ignore[dict-item]  # both are tables
    if "params" in own and "params" in below and own["params"][1].declared is below["params"][1]:
        merged["params"] = (_params_over(below["params"][0], own["params"][0]), own["params"][1])  # type: ignore[arg-type]  # tables
    return merged


def _params_over(below: dict[str, ParamTable], own: dict[str, ParamTable]) -> dict[str, ParamTable]:
    """Return declared parameters with what jobs.toml says of them, key by key."""
    return {
        name: below[name].model_copy(
            update={key: getattr(own[name], key) for key in own[name].model_fields_set}
        )
        if name in below and name in own
        else (own.get(name) or below[name])
        for name in {**below, **own}
    }


def _written(entry: Entry[JobTable]) -> dict[str, tuple[object, Entry[JobTable]]]:
    if entry.table is None:
        return {}
    return {key: (getattr(entry.table, key), entry) for key in entry.table.model_fields_set}


def build_job(job: Entry[JobTable], *, draft: Draft) -> JobDef:
    """Return the definition of a job, defaults filled in and paths absolute."""
    layers = layered(job, draft.defaults)
    values = {key: value for key, (value, _) in layers.items()}
    folder = os.path.dirname(draft.path)  # noqa: PTH120 (the plain form holds texts)
    schedules = _schedules(job.name, values)
    data: dict[str, Any] = {
        key: value
        for key, value in values.items()
        if key not in _RETRY and key not in ("schedule", "params")
    }
    data["schedules"] = schedules
    data["retry"] = RetryPolicy(
        **{field: values[key] for key, field in _RETRY.items() if key in values}  # type: ignore[arg-type]  # checked by the schema
    )
    data["params"] = tuple(
        param(name, table) for name, table in (data_params(values) or {}).items()
    )
    data["of_function"] = of_function(layers)
    data["overlap_written"] = "overlap" in data
    data["overlap"] = Overlap(data.get("overlap", Overlap.SKIP if schedules else Overlap.ALLOW))
    for key, kind in (("missed", Missed), ("on_lost", OnLost), ("delivery", Delivery)):
        if key in data:
            data[key] = kind(data[key])
    for key in ("cwd", "interpreter"):
        if key in data:
            data[key] = absolute(data[key], folder=folder, bare=key == "cwd")
    if "env_file" in data:
        data["env_file"] = tuple(absolute(one, folder=folder) for one in data["env_file"])
    line = job.source.line("jobs", job.name)
    made = JobDef(name=job.name, source=f"{job.source.path}:{line}", **data)
    bound = tuple(_bound(made, one) for one in schedules)
    # Making a job costs more than all the rest, and most have no parameters to fill in.
    same = all(one is other for one, other in zip(schedules, bound, strict=True))
    return made if same else replace(made, schedules=bound)


def _bound(job: JobDef, schedule: ScheduleDef) -> ScheduleDef:
    """Return a schedule with the arguments its runs get: its own or the job's, and defaults."""
    args, kwargs = bind(job, schedule.args, schedule.kwargs, text=False)
    if args == schedule.args and kwargs == schedule.kwargs:
        return schedule
    return replace(schedule, args=args, kwargs=kwargs)


def of_function(layers: Mapping[str, tuple[object, Entry[JobTable]]]) -> bool:
    """Tell whether a job's parameters are those that its function itself has."""
    return "params" in layers and "python" in layers and layers["python"][1].source.declares


def data_params(values: Mapping[str, object]) -> dict[str, ParamTable] | None:
    """Return the declared parameters among a job's keys."""
    return values.get("params")  # type: ignore[return-value]  # checked by the schema


def _schedules(job: str, values: Mapping[str, Any]) -> tuple[ScheduleDef, ...]:
    rules = list(values.get("schedule", ()))
    tables: list[ScheduleTable] = values.get("schedules") or []
    inherited: dict[str, Any] = {key: values[key] for key in ("args", "kwargs") if key in values}
    made: list[ScheduleDef] = []
    for number, item in enumerate([*rules, *tables], 1):
        name = job if number == 1 else f"{job}#{number}"
        if isinstance(item, str):
            made.append(ScheduleDef(name=name, rule=item, **inherited))
            continue
        data = inherited | {key: getattr(item, key) for key in item.model_fields_set}
        if item.kwargs is not None:
            data["kwargs"] = {**inherited.get("kwargs", {}), **item.kwargs}
        data["rule"] = data.pop("schedule")
        if "missed" in data:
            data["missed"] = Missed(data["missed"])
        made.append(ScheduleDef(name=name, **data))
    return tuple(made)


def param(name: str, table: ParamTable) -> ParamSpec:
    """Return the definition of one parameter."""
    required = table.required
    if required is None:
        required = "default" not in table.model_fields_set
    return ParamSpec(
        name=name,
        type=table.type,
        required=required,
        default=table.default,
        min=table.min,
        max=table.max,
        choices=table.choices or (),
        pattern=table.pattern,
        nullable=table.nullable,
        positional=table.positional,
        keyword=table.keyword,
        secret=table.secret,
    )


def absolute(path: str, *, folder: str, bare: bool = True) -> str:
    """Return a path as seen from the directory of the main file.

    ``~`` is left alone: whose home it is depends on who runs the job. With ``bare=False`` a
    name without a slash is left alone too, unless it begins with a dot: it is looked up in PATH.
    """
    if path.startswith("~") or (not bare and os.sep not in path and not path.startswith(".")):
        return path
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 (texts)


def build_settings(draft: Draft) -> Settings:
    """Return the ``[jobctl]`` table with its defaults."""
    data: dict[str, Any] = {}
    if draft.settings is not None and draft.settings.table is not None:
        data = _plainly(draft.settings.table)
    folder = os.path.dirname(draft.path)  # noqa: PTH120 (texts)
    chosen = data.get("state_dir")
    if chosen is None:
        data["state_dir"] = default_state_dir()
    else:
        data["state_dir"] = absolute(os.path.expanduser(chosen), folder=folder)  # noqa: PTH111 (texts)
    if "store_binary" in data:
        data["store_binary"] = absolute(data["store_binary"], folder=folder, bare=False)
    return Settings(**data)


def build_security(draft: Draft, settings: Settings) -> Security:
    """Return the ``[security]`` table with its defaults."""
    data: dict[str, Any] = {}
    if draft.security is not None and draft.security.table is not None:
        data = _plainly(draft.security.table)
    chosen = data.get("key_file")
    if chosen is not None:
        folder = os.path.dirname(draft.path)  # noqa: PTH120 (texts)
        data["key_file"] = absolute(os.path.expanduser(chosen), folder=folder)  # noqa: PTH111 (texts)
    elif settings.redis is None:
        data["key_file"] = f"{settings.state_dir}/{KEYS_NAME}"
    return Security(**data)


def build_mail(draft: Draft) -> MailDef:
    """Return the ``[mail]`` table."""
    if draft.mail is None or draft.mail.table is None:
        return MailDef()
    data = _plainly(draft.mail.table)
    folder = os.path.dirname(draft.path)  # noqa: PTH120 (texts)
    for key in ("password_file", "ca_file", "sendmail"):
        if key in data:
            data[key] = absolute(os.path.expanduser(data[key]), folder=folder)  # noqa: PTH111 (texts)
    return MailDef(**data)


def build_python(draft: Draft) -> PythonDef:
    """Return the ``[python]`` table."""
    data = _plainly(draft.python.table) if draft.python is not None else {}
    if "interpreter" in data:
        folder = os.path.dirname(draft.path)  # noqa: PTH120 (texts)
        data["interpreter"] = absolute(data["interpreter"], folder=folder, bare=False)
    return PythonDef(**data)


def build_config(draft: Draft, *, cpus: int, warnings: tuple[str, ...]) -> Config:
    """Return the whole configuration; every table of the draft is without problems.

    ``cpus`` is how many slots a pool has that does not say.
    """
    pools = {
        name: _pool(name, _plainly(entry.table), cpus=cpus) for name, entry in draft.pools.items()
    }
    if DEFAULT_POOL not in pools:
        pools = {DEFAULT_POOL: PoolDef(name=DEFAULT_POOL, slots=cpus), **pools}
    settings = build_settings(draft)
    return Config(
        settings=settings,
        security=build_security(draft, settings),
        jobs={name: build_job(entry, draft=draft) for name, entry in draft.jobs.items()},
        pools=pools,
        queues={
            name: QueueDef(name=name, **_plainly(entry.table))
            for name, entry in draft.queues.items()
        },
        limits={
            name: LimitDef(name=name, **_plainly(entry.table))
            for name, entry in draft.limits.items()
        },
        mail=build_mail(draft),
        python=build_python(draft),
        path=draft.path,
        warnings=warnings,
    )


def _pool(name: str, written: dict[str, Any], *, cpus: int) -> PoolDef:
    usual = 1 if written.get("python") == "inline" else cpus
    if written.keys() & {"min", "max", "autoscale"}:
        least = written.get("min") or 1
        most = written.get("max") or max(least, usual)
        return PoolDef(name=name, **{**written, "slots": most, "min": least, "max": most})
    return PoolDef(name=name, **{"slots": usual, **written})


def _plainly(table: Table | None) -> dict[str, Any]:
    return {} if table is None else {key: getattr(table, key) for key in table.model_fields_set}
