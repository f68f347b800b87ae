"""The reference of the Python API, from the docstrings of what ``jobctl`` offers."""

from __future__ import annotations

import inspect
import re
from typing import Any

import jobctl
from jobctl.errors import JobctlError

_ROLE = re.compile(r":\w+:`~?(?:[\w]+\.)*?((?:[A-Z]\w*\.)?\w+)`")


def reference() -> str:
    """Return every public name: functions, then classes, then errors."""
    found = {name: getattr(jobctl, name) for name in sorted(jobctl._PLACES)}  # noqa: SLF001 - its table
    errors = {name: item for name, item in found.items() if _is_error(item)}
    classes = {name: i for name, i in found.items() if inspect.isclass(i) and name not in errors}
    rest = {name: i for name, i in found.items() if name not in errors and name not in classes}
    parts = [_function(name, item) for name, item in rest.items()]
    parts += [_class(name, item) for name, item in classes.items()]
    parts.append("## Errors\n\n| error | is a | meaning |\n|---|---|---|\n" + _errors(errors))
    return "\n".join(parts)


def _is_error(item: object) -> bool:
    return inspect.isclass(item) and issubclass(item, BaseException)


def _function(name: str, function: object) -> str:
    return f"## `jobctl.{name}{_signature(function)}`\n\n{_text(function)}\n"


def _class(name: str, kind: type) -> str:
    has_init = "__init__" in vars(kind) and inspect.getdoc(kind.__init__) is not None
    made = _signature(kind) if has_init and name.endswith("Client") else ""
    parts = [f"## `jobctl.{name}{made}`\n\n{_text(kind)}\n"]
    if made:
        parts.append(_text(kind.__init__) + "\n")
    above = [one for one in kind.__mro__[1:-1] if one.__module__.startswith("jobctl.")]
    members = {name: item for one in (*reversed(above), kind) for name, item in vars(one).items()}
    for member, item in members.items():
        if member.startswith("_"):
            continue
        if isinstance(item, property):
            parts.append(f"### `.{member}`\n\n{_text(item)}\n")
        elif inspect.isfunction(item):
            how = "await " if inspect.iscoroutinefunction(item) else ""
            parts.append(f"### `{how}.{member}{_signature(item)}`\n\n{_text(item)}\n")
    return "\n".join(parts)


def _errors(errors: dict[str, Any]) -> str:
    names = {kind: name for name, kind in errors.items()}
    rows = []
    for name, kind in errors.items():
        above = next((names[base] for base in kind.__mro__[1:] if base in names), "")
        base = f"`{above}`" if above else "`Exception`" if kind is JobctlError else ""
        summary = _markdown(inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
        rows.append(f"| `{name}` | {base} | {summary} |\n")
    return "".join(rows)


MARKER = re.compile(r"<object object at 0x[0-9a-f]+>")
"""A default that only says that nothing was given."""


def _signature(item: object) -> str:
    try:
        signature = inspect.signature(item)
    except (TypeError, ValueError):
        return "()"
    parameters = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return MARKER.sub("…", text)


def _text(item: object) -> str:
    return _markdown(inspect.getdoc(item) or "")


def _markdown(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
