"""What a function is, and what its signature says of the parameters of a job.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import math
import os
import typing

KINDS: dict[type, str] = {str: "str", int: "int", float: "float", bool: "bool"}
SHAPES: dict[type, str] = {
    list: "list",
    tuple: "list",
    set: "list",
    frozenset: "list",
    dict: "dict",
}
TEXTS = (dt.date, dt.time)
"""What is passed as a text: JSON has no form of its own for it."""
INTS = range(-(2**63), 2**63)
"""What every reader of JSON and TOML takes for the number that it is."""
AS_THEY_ARE = ("args", "kwargs", "params")
"""Keys whose values are those of the job, where a time is a number of seconds."""
GENERATOR = "is a generator: calling it runs nothing, and what it returns is no result"


def key_value(key: str, value: typing.Any) -> object:
    """Return the value of a key of ``@job`` as TOML could hold it; raises ``TypeError``."""
    return plain(value if key in AS_THEY_ARE else _timed(value))


def _timed(value: typing.Any) -> typing.Any:
    """Return a value with times as texts: there are keys for which a number is one of days."""
    if isinstance(value, (list, tuple)):
        return [_timed(item) for item in value]
    if isinstance(value, dt.timedelta):
        return f"{value.total_seconds():f}s"
    return value


def plain(value: typing.Any) -> object:
    """Return a value as TOML could hold it; raises ``TypeError`` for what it cannot."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        value = value.value
    elif isinstance(value, dt.timedelta):
        value = value.total_seconds()
    elif isinstance(value, TEXTS):
        value = value.isoformat()
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif hasattr(value, "job_name"):
        value = value.job_name
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise TypeError(f"a {type(value).__name__} cannot be the value of a key")
    if type(value) is int and value not in INTS:
        raise TypeError("a number of more than 64 bits cannot be the value of a key")
    return value


def parameters(function: typing.Any) -> dict[str, object] | None:
    """Return what a signature says of each parameter, ``None`` when it does not name them all."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    unusable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(one.kind in unusable for one in signature.parameters.values()):
        return None
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 (names that only a type checker imports)
        hints = {}
    return {
        name: parameter(one, hints.get(name, inspect.Parameter.empty))
        for name, one in signature.parameters.items()
    }


def parameter(one: inspect.Parameter, hint: object) -> dict[str, object]:
    """Return one parameter as a table of ``params``."""
    found = kind_of(hint)
    if one.kind is inspect.Parameter.POSITIONAL_ONLY:
        found["positional"] = True
    elif one.kind is inspect.Parameter.KEYWORD_ONLY:
        found["keyword"] = True
    if one.default is inspect.Parameter.empty:
        return found
    if one.default is None:
        found["nullable"] = True
    # Without a default here the function fills in its own, which a run could not be given as it is,
    # or which its annotation does not allow.
    given = travels(one.default) and allowed(one.default, found)
    found.update({"default": one.default} if given else {"required": False})
    return found


def allowed(value: typing.Any, table: dict[str, typing.Any]) -> bool:
    """Return whether a default, which travels, is of the type and among the choices of ``table``."""
    kinds = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,), "list": (list,)}
    word = table["type"]
    if word != "json" and type(value) not in kinds.get(word, (dict,)):
        return False
    return "choices" not in table or value in table["choices"]


def travels(value: typing.Any) -> bool:
    """Return whether JSON says just what a value is: nobody must get another one for it."""
    kind = type(value)
    if kind is list:
        return all(map(travels, value))
    if kind is dict:
        return all(type(key) is str and travels(item) for key, item in value.items())
    if kind is str:
        return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
    return (
        kind is bool or (kind is int and value in INTS) or (kind is float and math.isfinite(value))
    )


def kind_of(hint: typing.Any) -> dict[str, object]:
    """Return type, choices and whether it may be null, of an annotation."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hasattr(hint, "__metadata__"):
        return kind_of(hint.__origin__)
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        rest = [arg for arg in args if arg is not type(None)]
        inner = kind_of(rest[0] if len(rest) == 1 else None)
        return {**inner, "nullable": True} if len(rest) < len(args) else inner
    if origin is typing.Literal:
        try:
            return among([plain(arg) for arg in args])
        except TypeError:  # bytes, which nobody can choose by JSON
            return {"type": "json"}
    if hasattr(hint, "__supertype__"):
        return kind_of(hint.__supertype__)
    return of_class(origin if isinstance(origin, type) else hint)


def of_class(kind: typing.Any) -> dict[str, object]:
    """Return type and choices of an annotation that is a class, or of one that says nothing."""
    word = "json"
    if isinstance(kind, type):
        if issubclass(kind, enum.Flag):
            return {"type": "int"}  # members and what they add up to
        if issubclass(kind, enum.Enum):
            return among([member.value for member in kind])
        usual = "str" if issubclass(kind, TEXTS) else "json"
        word = KINDS.get(kind) or SHAPES.get(kind) or usual
    return {"type": word}


def among(values: list[typing.Any]) -> dict[str, object]:
    """Return the type that some values have in common, and them as choices."""
    if not all(value is None or travels(value) for value in values):
        return {"type": "json"}
    types = {type(value) for value in values if value is not None}
    found: dict[str, object] = {
        "type": KINDS.get(types.pop(), "json") if len(types) == 1 else "json",
        "choices": [value for value in values if value is not None],
    }
    if None in values:
        found["nullable"] = True
    return found


def is_generator(function: object) -> bool:
    """Return whether calling a function only makes a generator."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_method(owner: object, name: str) -> bool:
    """Return whether a class has a method of this name that is called on objects."""
    return isinstance(owner, type) and inspect.isfunction(inspect.getattr_static(owner, name, None))
