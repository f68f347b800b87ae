"""Declared parameters, and whether what schedules pass fits them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobctl.config.build import data_params, of_function, param
from jobctl.config.explain import shown
from jobctl.config.problem import WARNING
from jobctl.errors import UsageError
from jobctl.model.job import JobDef
from jobctl.model.params import ParamError, bind, convert
from jobctl.model.positional import ignored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobctl.config.gather import Entry
    from jobctl.config.problem import Problem
    from jobctl.config.schema import JobTable, ParamTable

Layers = dict[str, tuple[Any, "Entry[JobTable]"]]


def check_params(job: Entry[JobTable], layers: Layers) -> Iterator[Problem]:
    """Yield what is wrong with the parameters of a job and the arguments of its schedules."""
    declared, entry = layers.get("params", (None, None))
    if declared and entry is not None:
        broken = [
            problem for name, table in declared.items() for problem in _param(name, table, entry)
        ]
        broken += _alike(list(declared), entry)
        broken += _not_taken(job, layers)
        broken += _out_of_order(declared, entry)
        yield from broken
        if broken:
            return
    yield from _arguments(job, layers)


def _param(name: str, table: ParamTable, entry: Entry[JobTable]) -> Iterator[Problem]:
    path = ("params", name)
    if not (name.isascii() and name.isidentifier()):
        yield entry.source.problem(
            entry.path + path, at_key=True, code="name",
            message=f"{shown(name)} cannot be the name of a parameter",
            remedy="use letters, digits and '_', and begin with a letter",
        )  # fmt: skip
    for key in ("min", "max"):
        if getattr(table, key) is not None and table.type in ("bool", "json"):
            yield entry.problem(
                (*path, key), code="conflict", message=f"a {table.type} has no {key}",
                remedy="remove it",
            )  # fmt: skip
    if table.min is not None and table.max is not None and table.min > table.max:
        yield entry.problem(
            (*path, "max"), code="conflict", message="it is less than min", remedy="swap the two"
        )
    if table.pattern is not None and table.type != "str":
        yield entry.problem(
            (*path, "pattern"), code="conflict", message="only texts can match a pattern",
            remedy='remove it, or write type = "str"',
        )  # fmt: skip
    if table.required and "default" in table.model_fields_set:
        yield entry.problem(
            (*path, "required"), code="conflict", message="a parameter with a default is never missing",
            remedy="keep one of required and default",
        )  # fmt: skip
    yield from _own_values(name, table, entry)


def _own_values(name: str, table: ParamTable, entry: Entry[JobTable]) -> Iterator[Problem]:
    spec = param(name, table)
    given: list[tuple[tuple[str | int, ...], object]] = [
        (("choices", index), choice) for index, choice in enumerate(table.choices or ())
    ]
    if "default" in table.model_fields_set:
        given.append((("default",), table.default))
    for key, value in given:
        try:
            convert(spec, value, text=False)
        except ParamError as error:
            yield entry.problem(
                ("params", name, *key), code="value", message=f"the value {error}",
                remedy="mend it, or what the parameter declares",
            )  # fmt: skip


def _not_taken(job: Entry[JobTable], layers: Layers) -> Iterator[Problem]:
    """Yield the parameters that a function declared by ``@job`` does not have."""
    function = layers["python"][1] if "python" in layers else None
    if function is None or function.takes is None:
        return
    here = job.table.params if job.table is not None else None
    for name in layers["params"][0].keys() - function.takes:
        owner = job if here and name in here else function
        takes = f"it takes {', '.join(sorted(function.takes))}" if function.takes else "it has none"
        yield owner.source.problem(
            (*owner.path, "params", name), at_key=True, code="conflict",
            message=f"the function has no parameter {name}; {takes}",
            remedy="remove it, or give the function such a parameter",
        )  # fmt: skip


def _alike(names: list[str], entry: Entry[JobTable]) -> Iterator[Problem]:
    """Shell jobs see parameters as JOBCTL_ARG_NAME, where case is lost."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.upper(), name)
        if first != name:
            yield entry.source.problem(
                (*entry.path, "params", name), at_key=True, code="conflict",
                message=f"it differs from {first!r} in case only", remedy="rename one of them",
            )  # fmt: skip


def _out_of_order(declared: dict[str, ParamTable], entry: Entry[JobTable]) -> Iterator[Problem]:
    by_name = ""
    for name, table in declared.items():
        if not table.positional:
            by_name = by_name or name
        elif by_name:
            yield entry.problem(
                ("params", name, "positional"), code="conflict",
                message=f"it stands behind {by_name}, which is passed by name",
                remedy="put what is passed in order first, as the function does",
            )  # fmt: skip


def _arguments(job: Entry[JobTable], layers: Layers) -> Iterator[Problem]:
    values = {key: value for key, (value, _) in layers.items()}
    declared = data_params(values) or {}
    if not (declared or "args" in values or "kwargs" in values or "schedules" in values):
        return
    definition = JobDef(
        name=job.name,
        python=values.get("python"),
        of_function=of_function(layers),
        # Secret, so that no value is repeated in a message.
        params=tuple(replace(param(name, one), secret=True) for name, one in declared.items()),
    )
    args, kwargs = values.get("args", ()), values.get("kwargs", {})
    yield from _ignored(job, layers, definition)
    entry = next((layers[key][1] for key in ("kwargs", "args") if key in layers), job)
    place: tuple[str | int, ...] = ("kwargs",) if "kwargs" in values else ("args",)
    if values.get("schedule") or args or kwargs:
        yield from _bound(definition, args, kwargs, entry=entry, place=place)
    for index, table in enumerate(values.get("schedules") or ()):
        own = layers["schedules"][1]
        yield from _bound(
            definition,
            args if table.args is None else table.args,
            kwargs if table.kwargs is None else {**kwargs, **table.kwargs},
            entry=own,
            place=("schedules", index, "args" if table.kwargs is None else "kwargs"),
        )


def _ignored(job: Entry[JobTable], layers: Layers, definition: JobDef) -> Iterator[Problem]:
    """Yield a warning for arguments in order that the command of a job ignores."""
    command, shell = (layers.get(key, (None, job))[0] for key in ("command", "shell"))
    if isinstance(command, str):
        definition = replace(definition, command=command, shell=shell or definition.shell)
    said = ignored(definition)
    if not said:
        return
    own = [("args",)] if layers.get("args", ((), job))[0] else []
    tables = layers.get("schedules", ((), job))[0] or ()
    own += [("schedules", at, "args") for at, table in enumerate(tables) if table.args]  # type: ignore[misc]  # paths
    for place in own:
        message, _, remedy = said.partition(": ")[2].partition("; ")
        yield layers[str(place[0])][1].problem(
            place, code="no-effect", message=message, remedy=remedy, severity=WARNING
        )


def _bound(
    job: JobDef,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    entry: Entry[JobTable],
    place: tuple[str | int, ...],
) -> Iterator[Problem]:
    try:
        bind(job, args, kwargs, text=False)
    except UsageError as error:
        said = str(error).removeprefix(f"job {job.name}: ").replace("\n ", "")
        yield entry.problem(
            place, code="arguments", message=f"scheduled runs would be refused: {said}",
            remedy="set args or kwargs, or give the parameter a default",
        )  # fmt: skip
