"""Tells which jobs modules declare with ``@job``.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import sys
import typing

if typing.TYPE_CHECKING:
    from jobctl.config import import_child, signature_child
else:
    import_child = sys.modules["_jobctl_import_child"]
    signature_child = sys.modules["_jobctl_signature_child"]


def declared(names: list[str]) -> dict[str, object]:
    """Return the jobs that modules declare."""
    problems: list[dict[str, object]] = []
    folders: set[str] = set()
    for name in names:
        take_in(name, problems, folders)
    functions = getattr(sys.modules.get("jobctl.api.declaring"), "declared", ())
    # Of a module whose import failed, that is all there is to say.
    lost = bool(problems)
    found = [
        describe(function, problems)
        for function in functions
        if not lost or function.__module__ in sys.modules
    ]
    return {
        "jobs": [job for job in found if job is not None],
        "problems": problems,
        "files": sorted(files() | folders),
    }


def take_in(name: str, problems: list[dict[str, object]], folders: set[str]) -> None:
    """Import a module; with ``.*`` at its end, everything below the package as well."""
    base = name.removesuffix(".*")
    module = import_child.load(base, problems)
    if module is None or base == name:
        return
    places = list(getattr(module, "__path__", ()))
    if not places:
        problems.append(
            problem(
                name, f"{base} is no package", remedy=f"write {base!r} without .*", module=module
            )
        )
        return
    folders.update(places)
    for found in pkgutil.iter_modules(places, base + "."):
        if found.name.rpartition(".")[2] != "__main__":
            take_in(found.name + ".*" if found.ispkg else found.name, problems, folders)


def problem(name: str, message: str, *, remedy: str, module: object = None) -> dict[str, object]:
    """Return a problem with a whole module."""
    file = getattr(module, "__file__", None) or ""
    return {"name": name, "file": file, "line": 1 if file else 0, "message": message, "remedy": remedy}  # fmt: skip


def files() -> set[str]:
    """Return the application's files that were imported."""
    paths = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    own = (path for path in paths if isinstance(path, str) and import_child.is_own(path))
    return {os.path.abspath(path) for path in own}  # noqa: PTH100 (texts)


def describe(function: typing.Any, problems: list[dict[str, object]]) -> dict[str, object] | None:
    """Return what a decorated function says of its job, ``None`` when no worker could call it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = os.path.abspath(code.co_filename) if code else ""  # noqa: PTH100 (texts)
    line = code.co_firstlineno if code else 0
    found: dict[str, object] = {
        "name": function.job_name, "file": file, "line": line,
        "target": f"{function.__module__}:{function.__qualname__}",
    }  # fmt: skip
    place = {"name": function.job_name, "file": file, "line": line}
    held, wrong = held_by_module(function)
    if wrong:
        problems.append({**place, **wrong})
        return None
    keys: dict[str, object] = {}
    try:
        for key, value in function.job_keys.items():
            keys[key] = signature_child.key_value(key, value)
    except TypeError as error:
        problems.append(
            {**place, "message": f"{key}: {error}", "remedy": "write what jobs.toml could hold"}
        )
    found["keys"] = keys
    said = inspect.getdoc(function) or ""
    found["description"] = " ".join(said.partition("\n\n")[0].split())
    found["params"] = signature_child.parameters(held)
    return found


def held_by_module(function: typing.Any) -> tuple[object, dict[str, str]]:
    """Return what a worker finds under the function's name; else ``None``, and what is wrong."""
    module, name = function.__module__, function.__qualname__
    owner: object = None
    held: object = sys.modules.get(module)
    for part in name.split("."):
        owner, held = held, getattr(held, part, None)
    if held is None or module == "__main__":
        return None, {
            "message": f"{name} cannot be found in its module by that name",
            "remedy": "declare functions at the top of a module that is no program of its own",
        }
    own = name.rpartition(".")[2]
    if signature_child.is_method(owner, own):
        return None, {
            "message": f"{name} is a method, and a run has no object to call it on",
            "remedy": "declare a function at the top of the module that makes the object and "
            "calls it, or write @staticmethod or @classmethod above @job",
        }
    instead = replacement(function, held)
    if instead:
        return None, {
            "message": f"its module gives the name {name} to {instead} later on",
            "remedy": "give one of them another name: a worker finds the last one",
        }
    if signature_child.is_generator(held):
        return None, {
            "message": f"{name} {signature_child.GENERATOR}",
            "remedy": "return a list, or declare a function that goes through it",
        }
    return held, {}


def replacement(function: typing.Any, held: typing.Any) -> str:
    """Return what has taken the name of a declared function and does not call it, if so."""
    if not callable(held):
        return f"a value of type {type(held).__name__}"
    # What a decorator above @job made is another function, and often says what is inside.
    declared = getattr(sys.modules.get("jobctl.api.declaring"), "declared", ())
    if held is function or not any(one is held for one in declared):
        return ""
    inside = inspect.unwrap(held, stop=lambda one: one is function)
    return "" if inside is function else f"the function of the job {held.job_name}"
