"""Tells what the modules of an application hold; run by the application's interpreter.

Needs nothing but the standard library, from Python 3.9 on. ``python discovery_child.py FD MODULE…``
writes the jobs that modules declare, as one JSON document, to the descriptor;
``python discovery_child.py FD --targets JSON`` what is known of functions that are named. The
application may print what it likes.
"""

from __future__ import annotations

import datetime as dt
import enum
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
GENERATOR = "is a generator: calling it runs nothing, and what it returns is no result"
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (texts)


def main() -> None:
    """Import what is named and write down what it declares."""
    fd, names = int(sys.argv[1]), sys.argv[2:]
    # This file's directory would hide the application's modules behind ours.
    sys.path[0] = os.getcwd()  # noqa: PTH109 (texts)
    if names[0] == "--targets":
        sys.meta_path.append(Provided)
        answer: object = look_at(json.loads(names[1]))
    else:
        answer = declared(names)
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    sys.stdout.flush()
    # The application may have started threads.
    os._exit(0)


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
        path = os.path.join(OURS, "provided.py")  # noqa: PTH118 (texts)
        found = types.ModuleType("_jobctl_provided")
        found.__file__ = path
        code: typing.Any = SourceFileLoader(found.__name__, path).get_code(found.__name__)
        exec(code, found.__dict__)  # noqa: S102 (a file of ours, as this one)
        return found.module(spec.name)

    @staticmethod
    def exec_module(module: object) -> None:
        """Do nothing: it has been loaded."""


def lacks_jobctl(error: BaseException) -> bool:
    """Return whether an import failed because jobctl is not installed."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] != "jobctl":
        return False
    known = getattr(sys.modules.get("jobctl"), "__spec__", None)
    return isinstance(error, ModuleNotFoundError) or getattr(known, "loader", None) is Provided


def look_at(asked: list[dict[str, typing.Any]]) -> list[dict[str, object]]:
    """Return of each target what is wrong with it, its parameters, and which calls do not fit.

    ``asked`` has the ``target`` and ``calls``: how many arguments in order, and the names of others.
    """
    return [target(one["target"], one["calls"]) for one in asked]


def target(name: str, calls: list[tuple[int, list[str]]]) -> dict[str, object]:
    """Return what is known of one function."""
    problems: list[dict[str, object]] = []
    module, _, path = name.partition(":")
    held: typing.Any = load(module, problems)
    if problems:
        file, line = problems[0]["file"], problems[0]["line"]
        place = f" ({file}:{line})" if file else ""
        wrong = {"wrong": f"{problems[0]['message']}{place}", "imported": False}
        return {**wrong, "remedy": problems[0]["remedy"]} if problems[0]["lacks"] else wrong
    owner: object = None
    for part in path.split("."):
        owner, held = held, getattr(held, part, None)
    if not callable(held):
        return {"wrong": f"there is no function {path} in {module}"}
    if is_method(owner, path.rpartition(".")[2]):
        return {"wrong": f"{path} is a method, and a run has no object to call it on"}
    if is_generator(held):
        return {"wrong": f"{path} {GENERATOR}"}
    return {"params": parameters(held), "calls": [misfit(held, *call) for call in calls]}


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
    try:
        return importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001 (whatever the application raises)
        file, line = where(error)
        said = f"{type(error).__name__}: {message_of(error)}"
        missing = getattr(error, "name", None)
        remedy = f"mend it, or take {name!r} out of discover"
        lacks = lacks_jobctl(error)
        if lacks:
            remedy = f"install jobctl in the environment of {sys.executable}"
        elif isinstance(error, ModuleNotFoundError):
            if missing and (name == missing or name.startswith(missing + ".")):
                remedy = (
                    "correct the name, or set cwd, PYTHONPATH in env, or interpreter in "
                    f"[defaults]; it was looked for in {sys.path[0]}"
                )
            else:
                remedy = f"install it in the environment of {sys.executable}, or set interpreter in [python]"
        problems.append(
            {"name": name, "file": file, "line": line, "remedy": remedy, "lacks": lacks,
             "message": f"importing {name} failed: {' '.join(said.split())}"}
        )  # fmt: skip
        return None


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
            keys[key] = plain(value)
    except TypeError as error:
        problems.append(
            {**place, "message": f"{key}: {error}", "remedy": "write what jobs.toml could hold"}
        )
    found["keys"] = keys
    said = inspect.getdoc(function) or ""
    found["description"] = " ".join(said.partition("\n\n")[0].split())
    found["params"] = parameters(held)
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
    return value


def parameters(function: typing.Any) -> dict[str, object] | None:
    """Return what a signature says of each parameter, ``None`` when it does not name them all."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    usable = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(one.kind not in usable for one in signature.parameters.values()):
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
    if one.default is inspect.Parameter.empty:
        return found
    try:
        default = plain(one.default)
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        default = None
    # Without a default here the function fills in its own.
    found.update({"required": False} if default is None else {"default": default})
    return found


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
        return among([plain(arg) for arg in args])
    return of_class(origin if isinstance(origin, type) else hint)


def of_class(kind: typing.Any) -> dict[str, object]:
    """Return type and choices of an annotation that is a class, or of one that says nothing."""
    word = "json"
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return among([member.value for member in kind])
        usual = "str" if issubclass(kind, TEXTS) else "json"
        word = KINDS.get(kind) or SHAPES.get(kind) or usual
    return {"type": word}


def among(values: list[typing.Any]) -> dict[str, object]:
    """Return the type that some values have in common, and them as choices."""
    if not all(value is None or isinstance(value, (str, bool, int, float)) for value in values):
        return {"type": "json"}
    types = {type(value) for value in values if value is not None}
    found: dict[str, object] = {
        "type": KINDS.get(types.pop(), "json") if len(types) == 1 else "json",
        "choices": [value for value in values if value is not None],
    }
    if None in values:
        found["nullable"] = True
    return found


if __name__ == "__main__":
    main()
