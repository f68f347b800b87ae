"""JSON that users hand in: arguments, from the command line, a file or standard input."""

from __future__ import annotations

import json
import sys

from jobctl.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, NoReturn


def json_arguments(source: str) -> tuple[list[object], dict[str, object]]:
    """Return positional and named arguments from ``--args-json``.

    ``source`` is JSON, ``@FILE`` or ``-``. A list is positional arguments; an object is named
    ones, or both when it has only the keys ``args`` and ``kwargs``.
    """
    where = "--args-json"
    if source == "-":
        data = sys.stdin.buffer.read()
    elif source.startswith("@"):
        with open_source(source[1:]) as file:
            data = file.read()
    else:
        data = source.encode("utf-8", "surrogateescape")
    value = loads(data, where)
    if isinstance(value, list):
        return value, {}
    if not isinstance(value, dict):
        raise UsageError(f"{where}: write a list or an object")
    if value and value.keys() <= {"args", "kwargs"}:
        args, kwargs = value.get("args", []), value.get("kwargs", {})
        if isinstance(args, list) and isinstance(kwargs, dict):
            return args, kwargs
    return [], value


def open_source(name: str) -> BinaryIO:
    """Open a file for reading; ``-`` is standard input. Raises ``UsageError``."""
    if name == "-":
        return sys.stdin.buffer
    try:
        return open(name, "rb")  # noqa: PTH123 - the caller closes it
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{name!r} cannot be read: {why}") from error


def loads(data: bytes, where: str) -> object:
    """Return JSON as data; raises ``UsageError`` that begins with ``where``."""
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError as error:
        raise UsageError(f"{where}: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} cannot be passed on")
