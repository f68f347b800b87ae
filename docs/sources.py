"""What the code says of itself: sentences beside attributes, and the types of configuration keys."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import PlainValidator

from jobctl.model.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

NAMED = {
    "text": "text",
    "filled": "text",
    "name": "name",
    "module": 'module, or `"package.*"`',
    "flag": "boolean",
    "duration": "duration",
    "span": "duration",
    "size": "size",
    "some_size": "size",
    "days": "number of days, or duration",
    "instant": "time with offset",
    "url": "web address",
    "pattern": "regular expression",
    "queue_pattern": 'name, or `"*"`',
    "arguments": "list",
    "named_arguments": "table",
    "json_value": "any",
    "tags": "table of texts, or list of texts",
    "env": "table of texts",
    "store_url": "URL",
    "smtp_url": "URL",
    "address": "address",
    "command": "text, or list of texts",
    "target": "text",
    "hook": "`module:function`",
    "exception_name": "name of an exception",
    "module_name": "module name",
    "stop_signal": "signal name",
    "umask": "octal text",
    "retry_case": "exit code, reason or exception",
    "rate": "rate",
    "unique": '`"args"` or `"job"`',
}
"""Validators by name, in the words of the reference."""

TABLES = {"schedules": "list of tables", "params": "table of tables"}
MANY = 2**31 - 1


def attribute_docs(module: ModuleType, owner: str) -> dict[str, str]:
    """Return the sentence below each attribute of a class, in Markdown."""
    tree = ast.parse(inspect.getsource(module))
    body = next(
        node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner
    )
    found: dict[str, str] = {}
    for node, after in pairwise(body):
        if not isinstance(node, ast.AnnAssign | ast.Assign):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if (
            isinstance(target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[target.id] = markdown(str(after.value.value))
    return found


def markdown(text: str) -> str:
    """Return a docstring as one line of a Markdown table."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def type_word(key: str, field: FieldInfo) -> str:
    """Return what a key takes, in words."""
    if key in TABLES:
        return TABLES[key]
    return _word(_validator(field))


def _validator(field: FieldInfo) -> Callable[..., Any]:
    marks = list(field.metadata)
    for part in get_args(field.annotation):
        if get_origin(part) is Annotated:
            marks += part.__metadata__
    return next(mark.func for mark in marks if isinstance(mark, PlainValidator))


def _word(check: Callable[..., Any]) -> str:
    """Return a validator in words; raises ``KeyError`` for one that has none yet."""
    maker = check.__qualname__.partition(".")[0]
    if "<locals>" not in check.__qualname__:
        return NAMED[maker]
    held = inspect.getclosurevars(check).nonlocals
    made = {
        "one_of": lambda: ", ".join(f'`"{word}"`' for word in held["words"]),
        "whole": lambda: f"whole number{_bounds(held['low'], held['high'])}",
        "number": lambda: f"number{_bounds(held['low'], held['high'])}",
        "or_word": lambda: f'{_word(held["check"])}, or `"{held["word"]}"`',
        "or_none": lambda: f'{_word(held["check"])}, or `"none"`',
        "several": lambda: f"{_word(held['check'])}, or list of them",
    }
    return made[maker]()


def _bounds(low: float, high: float) -> str:
    if low == -high:
        return ""
    return f" ≥ {low:g}" if high >= MANY else f", {low:g} to {high:g}"


def default_of(model: type[BaseModel], key: str, kept: dataclasses.Field[Any] | None) -> str:
    """Return the default of a key as it would be written; ``kept`` is where its value ends up."""
    field = model.model_fields[key]
    if field.is_required():
        return "required"
    value = field.default
    if value is None and kept is not None:
        value = kept.default
        if kept.default_factory is not dataclasses.MISSING:
            value = kept.default_factory()
    if value is None or value is dataclasses.MISSING or value in ((), {}, ""):
        return ""
    return f"`{_written(value, type_word(key, field))}`"


def _written(value: object, word: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_written(item, word) for item in value)}]"
    if word.startswith("duration") and isinstance(value, int | float):
        return f'"{format_duration(value)}"'
    if word.startswith("size") and isinstance(value, int):
        return f'"{format_size(value)}"'
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(value)
