"""Lets the parent of a child that imports know which module ended the child, or holds it up.

Loaded by its path by discovery_child.py; needs the standard library only, from Python 3.9 on.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import typing
from importlib.machinery import ModuleSpec, PathFinder

WHERE = signal.SIGRTMAX - 1
"""The signal at which a child writes down where it is; nobody else uses it."""


class LostImportError(ImportError):
    """Raised in place of an import that ended or held up an earlier child."""

    def __init__(self, lost: dict[str, typing.Any]) -> None:
        super().__init__(lost["message"], name=lost["module"])
        self.place: tuple[str, int] = (lost["file"], lost["line"])


class Watch:
    """Says what is imported and what came of it, and imports nothing that is known to be lost.

    ``answers`` is the descriptor that gets a JSON object on each line, ``trace`` the one of a file
    that gets the stack of a child that ends otherwise than it should. Each of ``lost`` has
    ``module``, ``message``, and ``file`` and ``line`` where that is known.
    """

    def __init__(self, answers: int, trace: int, lost: list[dict[str, typing.Any]]) -> None:
        self.pid = os.getpid()
        self.lost = {one["module"]: one for one in lost}
        self.files = {one["file"]: one for one in lost if one["file"]}
        for fd in (answers, trace):
            os.set_inheritable(fd, False)  # noqa: FBT003 (it takes no name)
        self._answers = os.fdopen(answers, "w", encoding="utf-8")
        self._trace = trace
        self.exit = os._exit
        faulthandler.enable(trace, all_threads=False)
        faulthandler.register(WHERE, trace, all_threads=False)
        os._exit = self._leave
        if lost:
            sys.meta_path.insert(0, self)

    def say(self, message: dict[str, object]) -> None:
        """Send one message."""
        if os.getpid() != self.pid:
            self.exit(0)  # a copy that a module forked and let run out of its import
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def find_spec(self, name: str, path: typing.Any, target: typing.Any = None) -> None:
        """Raise for modules that are lost, and those of files that are; others are found elsewhere."""
        lost = self.lost.get(name)
        if lost is None and self.files:
            spec: ModuleSpec | None = PathFinder.find_spec(name, path, target)
            lost = self.files.get((spec.origin if spec is not None else None) or "")
        if lost is not None:
            raise LostImportError(lost)

    def _leave(self, status: int) -> typing.NoReturn:
        """Stand for ``os._exit``."""
        if os.getpid() == self.pid:
            faulthandler.dump_traceback(self._trace, all_threads=False)
        self.exit(status)
