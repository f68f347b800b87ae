"""Tells what the modules of an application hold; run by the application's interpreter.

Needs nothing but the standard library, from Python 3.9 on. ``python discovery_child.py ANSWERS ASKED
TRACE`` reads from the descriptor ASKED a JSON object with ``items``, pairs of a number and what is
asked: ``kind``, one of :data:`ANSWERS`, and its arguments. To ANSWERS it writes JSON lines:
``{"at": MODULE}`` before an import, ``{"item": NUMBER, "answer": …}`` after it; ``lost`` and TRACE
are explained in import_watch.py. The application may print what it likes.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import sys
import sysconfig
import traceback
import types
import typing
from importlib.machinery import ModuleSpec, SourceFileLoader


def beside(name: str) -> typing.Any:
    """Return the module of a file beside this one, which is not on the application's path."""
    full = "_jobctl_" + name
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")  # noqa: PTH100, PTH118, PTH120 (texts)
    found = types.ModuleType(full)
    found.__file__ = path
    code: typing.Any = SourceFileLoader(full, path).get_code(full)
    exec(code, found.__dict__)  # noqa: S102 (a file of ours, as this one)
    return found


if typing.TYPE_CHECKING:
    from jobctl.config import import_watch, signature_child
else:
    import_watch, signature_child = beside("import_watch"), beside("signature_child")

GENERATOR = "is a generator: calling it runs nothing, and what it returns is no result"
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (texts)
WATCHES: list[import_watch.Watch] = []
"""The one of this process, once it is there."""


def main() -> None:
    """Answer what is asked, item after item."""
    answers, asked, trace = map(int, sys.argv[1:4])
    with os.fdopen(asked, encoding="utf-8") as file:
        question = json.load(file)
    # This file's directory would hide the application's modules behind ours.
    sys.path[0] = os.getcwd()  # noqa: PTH109 (texts)
    WATCHES.append(import_watch.Watch(answers, trace, question["lost"]))
    for number, item in question["items"]:
        WATCHES[0].say({"item": number, "answer": ANSWERS[item.pop("kind")](**item)})
    sys.stdout.flush()
    # The application may have started threads.
    WATCHES[0].exit(0)


class Provided:
    """Finds ``jobctl`` where it is not installed, as the interpreters of pools do.

    Functions only use it. Where they declare jobs with it, it has to be there.
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> typing.Any:
        """Return a spec for the two names that a run has; asked after everybody else."""
        if name not in ("jobctl", "jobctl.context"):
            return None
        return ModuleSpec(name, Provided, is_package=name == "jobctl")  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> object:
        """Return the module of that name."""
        return beside("../provided").module(spec.name)

    @staticmethod
    def exec_module(module: object) -> None:
        """Do nothing: it has been loaded."""


def lacks_jobctl(error: BaseException) -> bool:
    """Return whether an import failed because jobctl is not installed."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] != "jobctl":
        return False
    known = getattr(sys.modules.get("jobctl"), "__spec__", None)
    return isinstance(error, ModuleNotFoundError) or getattr(known, "loader", None) is Provided


def target(target: str, calls: list[tuple[int, list[str]]]) -> dict[str, object]:
    """Return what is wrong with a function, else its parameters, and which calls do not fit.

    A call is how many arguments there are in order, and the names of others.
    """
    if Provided not in sys.meta_path:
        sys.meta_path.append(Provided)
    problems: list[dict[str, object]] = []
    module, _, path = target.partition(":")
    held: typing.Any = load(module, problems)
    if problems:
        return not_imported(problems[0])
    owner: object = None
    for part in path.split("."):
        owner, held = held, getattr(held, part, None)
    if not callable(held):
        return {"wrong": f"there is no function {path} in {module}"}
    if is_method(owner, path.rpartition(".")[2]):
        return {"wrong": f"{path} is a method, and a run has no object to call it on"}
    if is_generator(held):
        return {"wrong": f"{path} {GENERATOR}"}
    return {
        "params": signature_child.parameters(held),
        "calls": [misfit(held, *call) for call in calls],
    }


def not_imported(found: dict[str, typing.Any]) -> dict[str, object]:
    """Return what is wrong with a function whose module could not be imported."""
    said, place = found["message"], f"{found['file']}:{found['line']}"
    if found["file"] and place not in said:
        said += f" ({place})"
    answer: dict[str, object] = {"wrong": said, "imported": False}
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
    module = load(base, problems)
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


def load(name: str, problems: list[dict[str, object]]) -> object:
    """Import one module; what goes wrong is a problem where it went wrong."""
    WATCHES[0].say({"at": name})
    try:
        return importlib.import_module(name)
    except import_watch.LostImportError as error:
        problems.append(lost(name, error))
    except BaseException as error:  # noqa: BLE001 (whatever the application raises)
        problems.append(failed(name, error))
    return None


def lost(name: str, error: import_watch.LostImportError) -> dict[str, object]:
    """Return the problem with a module that is not imported any more, or needs one that is not."""
    own = error.name == name
    file, line = error.place if own else where(error)
    mend = "let it only define what it holds when it is imported" if own else ""
    return {
        "name": name, "file": file, "line": line, "mend": mend,
        "message": str(error) if own else f"importing {name} failed: {error}",
        "remedy": f"{mend or 'mend that'}, or take {name!r} out of discover",
    }  # fmt: skip


def failed(name: str, error: BaseException) -> dict[str, object]:
    """Return the problem with a module whose import raised; ``mend`` is a remedy for its runs too."""
    file, line = where(error)
    said = f"{type(error).__name__}: {message_of(error)}"
    missing = getattr(error, "name", None)
    remedy, mend = f"mend it, or take {name!r} out of discover", ""
    if lacks_jobctl(error):
        remedy = mend = f"install jobctl in the environment of {sys.executable}"
    elif isinstance(error, ModuleNotFoundError):
        if missing and (name == missing or name.startswith(missing + ".")):
            remedy = (
                "correct the name, or set cwd, PYTHONPATH in env, or interpreter in "
                f"[defaults]; it was looked for in {sys.path[0]}"
            )
        else:
            remedy = (
                f"install it in the environment of {sys.executable}, or set interpreter in [python]"
            )
    return {
        "name": name, "file": file, "line": line, "remedy": remedy, "mend": mend,
        "message": f"importing {name} failed: {' '.join(said.split())}",
    }  # fmt: skip


def message_of(error: BaseException) -> str:
    """Return what an exception says, as far as it can say anything."""
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException as other:  # noqa: BLE001 (the application's own code)
        return f"its message raised {type(other).__name__}"


def where(error: BaseException) -> tuple[str, int]:
    """Return file and line of the application's code where ``error`` comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    found = ("", 0)
    for frame in traceback.extract_tb(error.__traceback__):
        if is_own(frame.filename):
            found = (frame.filename, frame.lineno or 0)
    return found


def problem(name: str, message: str, *, remedy: str, module: object = None) -> dict[str, object]:
    """Return a problem with a whole module."""
    file = getattr(module, "__file__", None) or ""
    return {"name": name, "file": file, "line": 1 if file else 0, "message": message, "remedy": remedy}  # fmt: skip


def is_own(path: str) -> bool:
    """Return whether a file belongs to the application, and not to Python, a library or to us."""
    if not path.endswith(".py") or path.startswith("<"):
        return False
    path = os.path.abspath(path)  # noqa: PTH100 (texts)
    known = [
        OURS,
        *(sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")),
    ]
    return not any(path.startswith(folder + os.sep) for folder in known if folder)


def files() -> set[str]:
    """Return the application's files that were imported."""
    paths = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {os.path.abspath(path) for path in paths if isinstance(path, str) and is_own(path)}  # noqa: PTH100 (texts)


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
            keys[key] = signature_child.plain(value)
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
    if is_method(owner, own):
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
    if is_generator(held):
        return None, {
            "message": f"{name} {GENERATOR}",
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


def is_generator(function: object) -> bool:
    """Return whether calling a function only makes a generator."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_method(owner: object, name: str) -> bool:
    """Return whether a class has a method of this name that is called on objects."""
    return isinstance(owner, type) and inspect.isfunction(inspect.getattr_static(owner, name, None))


ANSWERS: dict[str, typing.Callable[..., object]] = {"declared": declared, "target": target}


if __name__ == "__main__":
    main()
