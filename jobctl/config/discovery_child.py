"""Tells what the modules of an application hold; run by the application's interpreter.

Needs nothing but the standard library, from Python 3.9 on. ``python discovery_child.py ANSWERS ASKED
TRACE`` reads from the descriptor ASKED a JSON object with ``items``, pairs of a number and what is
asked: ``kind``, one of :data:`ANSWERS`, and its arguments. To ANSWERS it writes JSON lines:
``{"at": MODULE}`` before an import, ``{"item": NUMBER, "answer": …}`` after it. ``provide`` says
whether a ``jobctl`` is provided where none is installed; ``lost`` and TRACE are explained in
import_watch.py. The application may print what it likes.
"""

from __future__ import annotations

import json
import os
import sys
import types
import typing
from importlib.machinery import ModuleSpec, SourceFileLoader


def beside(name: str) -> typing.Any:
    """Return the module of a file beside this one, which is not on the application's path."""
    full = "_jobctl_" + name.rpartition("/")[2]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")  # noqa: PTH100, PTH118, PTH120 (texts)
    found = sys.modules[full] = types.ModuleType(full)
    found.__file__ = path
    code: typing.Any = SourceFileLoader(full, path).get_code(full)
    exec(code, found.__dict__)  # noqa: S102 (a file of ours, as this one)
    return found


if typing.TYPE_CHECKING:
    from jobctl.config import (
        declared_child,
        exception_child,
        import_child,
        import_watch,
        target_child,
    )
else:
    import_watch, import_child = beside("import_watch"), beside("import_child")
    beside("signature_child")  # what the others look for
    declared_child, target_child = beside("declared_child"), beside("target_child")
    exception_child = beside("exception_child")


def main() -> None:
    """Answer what is asked, item after item."""
    answers, asked, trace = map(int, sys.argv[1:4])
    with os.fdopen(asked, encoding="utf-8") as file:
        question = json.load(file)
    # This file's directory would hide the application's modules behind ours.
    sys.path[0] = os.getcwd()  # noqa: PTH109 (texts)
    watch = import_watch.Watch(answers, trace, question["lost"])
    import_child.WATCHES.append(watch)
    if question["provide"]:
        sys.meta_path.append(Provided)
    for number, item in question["items"]:
        watch.say({"item": number, "answer": ANSWERS[item.pop("kind")](**item)})
    sys.stdout.flush()
    # The application may have started threads.
    watch.exit(0)


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


ANSWERS: dict[str, typing.Callable[..., object]] = {
    "declared": declared_child.declared,
    "target": target_child.target,
    "hook": target_child.hook,
    "module": target_child.module,
    "exception": exception_child.exception,
}


if __name__ == "__main__":
    main()
