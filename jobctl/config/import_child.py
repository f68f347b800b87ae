"""Imports the modules of an application, and says what went wrong where.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
import typing

if typing.TYPE_CHECKING:
    from jobctl.config import import_watch
else:
    import_watch = sys.modules["_jobctl_import_watch"]

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (texts)
WATCHES: list[import_watch.Watch] = []
"""The one of this process, once it is there."""


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
        "name": name, "file": file, "line": line, "mend": mend, "certain": False,
        "message": str(error) if own else f"importing {name} failed: {error}",
        "remedy": f"{mend or 'mend that'}, or take {name!r} out of discover",
    }  # fmt: skip


def failed(name: str, error: BaseException) -> dict[str, object]:
    """Return the problem with a module whose import raised.

    ``mend`` is a remedy for its runs too, if there is one; ``certain``: nothing that is done before
    can help.
    """
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
        "certain": isinstance(error, SyntaxError) and is_own(file),
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


def lacks_jobctl(error: BaseException) -> bool:
    """Return whether an import failed because jobctl is not installed."""
    if not isinstance(error, ImportError) or str(error.name).partition(".")[0] != "jobctl":
        return False
    # What stands for it has no file.
    return getattr(sys.modules.get("jobctl"), "__file__", None) is None
