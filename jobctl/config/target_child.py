"""Looks at the functions and modules that jobs.toml names.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import inspect
import sys
import typing

if typing.TYPE_CHECKING:
    from jobctl.config import import_child, signature_child
else:
    import_child = sys.modules["_jobctl_import_child"]
    signature_child = sys.modules["_jobctl_signature_child"]


def target(target: str, calls: list[tuple[int, list[str]]]) -> dict[str, object]:
    """Return what is wrong with a function, else its parameters, and which calls do not fit.

    A call is how many arguments there are in order, and the names of others.
    """
    held, wrong = find(target, "and a run has no object to call it on")
    if wrong:
        return wrong
    if signature_child.is_generator(held):
        return {"wrong": f"{target.partition(':')[2]} {signature_child.GENERATOR}"}
    return {
        "params": signature_child.parameters(held),
        "calls": [misfit(held, *call) for call in calls],
    }


def hook(hook: str) -> dict[str, object]:
    """Return what is wrong with a function that is to be called once, without arguments."""
    held, wrong = find(hook, "and there is no object to call it on")
    if wrong:
        return wrong
    if signature_child.is_generator(held):
        return {"wrong": f"{hook.partition(':')[2]} is a generator: calling it runs nothing"}
    misfits = misfit(held, 0, [])
    return {"wrong": f"{hook} cannot be called without arguments: {misfits}"} if misfits else {}


def module(name: str) -> dict[str, object]:
    """Return what is wrong with a module."""
    problems: list[dict[str, object]] = []
    import_child.load(name, problems)
    return not_imported(problems[0]) if problems else {}


def find(name: str, no_object: str) -> tuple[typing.Any, dict[str, object]]:
    """Return a function, and what is wrong with it; ``no_object`` is said of methods."""
    problems: list[dict[str, object]] = []
    module, _, path = name.partition(":")
    held: typing.Any = import_child.load(module, problems)
    if problems:
        return None, not_imported(problems[0])
    owner: object = None
    for part in path.split("."):
        try:
            owner, held = held, getattr(held, part, None)
        except BaseException as error:  # noqa: BLE001, PERF203 (a lazy module may do anything)
            said = f"{type(error).__name__}: {import_child.message_of(error)}"
            return None, {"wrong": f"looking up {part} in {module} raised {said}"}
    if not callable(held):
        return None, {"wrong": f"there is no function {path} in {module}"}
    if signature_child.is_method(owner, path.rpartition(".")[2]):
        return None, {"wrong": f"{path} is a method, {no_object}"}
    return held, {}


def not_imported(found: dict[str, typing.Any]) -> dict[str, object]:
    """Return what is wrong with a function whose module could not be imported."""
    said, place = found["message"], f"{found['file']}:{found['line']}"
    if found["file"] and place not in said:
        said += f" ({place})"
    answer = {"wrong": said, "imported": False, "certain": found["certain"]}
    if found["mend"]:
        answer["remedy"] = found["mend"]
    return answer


def misfit(function: typing.Any, count: int, names: list[str]) -> str:
    """Return why a function does not take so many arguments in order and those names, if so."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return ""
