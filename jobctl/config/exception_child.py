"""Looks for the exceptions that jobs.toml names.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import builtins
import sys
import types
import typing

if typing.TYPE_CHECKING:
    from jobctl.config import import_child, target_child
else:
    import_child = sys.modules["_jobctl_import_child"]
    target_child = sys.modules["_jobctl_target_child"]

NOTHING = object()
OURS = ("SoftTimeout", "Retry", "Skip", "Fatal")
"""Those that a run can get or raise without an import of its own module."""


def exception(name: str, modules: list[str]) -> dict[str, object]:
    """Return what is wrong with the name of an exception, once ``modules`` are imported."""
    problems: list[dict[str, object]] = []
    for one in modules:
        import_child.load(one, problems)
    if name in OURS or is_exception(getattr(builtins, name, None)) or known(name):
        return {}
    if "." in name:
        return dotted(name)
    # What is wrong with the modules is told of their functions.
    said = f"no exception has that name when {' and '.join(modules)} is imported"
    return {} if problems else {"wrong": said}


def dotted(name: str) -> dict[str, object]:
    """Return what is wrong with a name with dots: that of a module, and of a class in it."""
    walked, *rest = name.split(".")
    problems: list[dict[str, object]] = []
    held: typing.Any = import_child.load(walked, problems)
    for part in rest:
        if problems:
            break
        before, walked = held, f"{walked}.{part}"
        try:
            held = getattr(before, part, NOTHING)
        except BaseException as error:  # noqa: BLE001 (a lazy module may do anything)
            said = f"{type(error).__name__}: {import_child.message_of(error)}"
            return {"wrong": f"looking up {part} raised {said}"}
        if held is NOTHING and isinstance(before, types.ModuleType) and part.islower():
            held = import_child.load(walked, problems)
        elif held is NOTHING:
            return {"wrong": f"there is no {part} in {walked.rpartition('.')[0]}"}
    if problems:
        return target_child.not_imported(problems[0])
    return {} if is_exception(held) else {"wrong": f"{name} is no exception"}


def is_exception(held: object) -> bool:
    """Return whether something is a class that can be raised."""
    return isinstance(held, type) and issubclass(held, BaseException)


def known(name: str) -> bool:
    """Return whether a class of that name is there, by itself or as its module and class say."""
    waiting, seen = [BaseException], {BaseException}
    while waiting:
        for one in type.__subclasses__(waiting.pop()):
            if name in (one.__name__, f"{one.__module__}.{one.__qualname__}"):
                return True
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return False
