"""What a job may do to its process for good: resource limits, priority, CPUs, user, groups, root.

Most of it cannot be put back (a limit that was lowered stays so, without privileges), so a child in
which it was changed must not take another call. A look at all of it takes some 4 microseconds, too
much for each run of a bundle: there only those runs are followed by a look that called one of the
functions of Python which change something, and one that did it in another way is found out at the
end of the bundle.

Standard library of CPython 3.9 on only, as all that runs in a child.
"""

from __future__ import annotations

import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MODULE: Any = sys.modules.get("_jobctl_child")
"""The module of the child that loads this."""

CHANGERS = (
    (resource, "setrlimit"),
    (resource, "prlimit"),
    (os, "nice"),
    (os, "setpriority"),
    (os, "sched_setscheduler"),
    (os, "sched_setparam"),
    (os, "sched_setaffinity"),
    (os, "setuid"),
    (os, "setgid"),
    (os, "seteuid"),
    (os, "setegid"),
    (os, "setreuid"),
    (os, "setregid"),
    (os, "setresuid"),
    (os, "setresgid"),
    (os, "setgroups"),
    (os, "initgroups"),
    (os, "chroot"),
)


class Limits:
    """Knows how they were when it was made."""

    def __init__(self, child: Any) -> None:
        """``child`` is the module of the child."""
        self.suspect = False
        """Whether something was called that may have changed them."""
        self._file = child.open_meter("limits", os.O_RDONLY)
        self._before = self._now()
        for module, name in CHANGERS:
            if hasattr(module, name):
                self._watch(module, name)

    def changed(self) -> str | None:
        """Return what is not as it was, as a reason to take no more calls."""
        self.suspect = False
        now = self._now()
        if now == self._before:
            return None
        names = (
            "resource limits",
            "priority",
            "priority",
            "CPUs",
            "user",
            "group",
            "groups",
            "root",
        )
        pairs = zip(names, now, self._before)
        return f"it changed its {next(name for name, new, old in pairs if new != old)}"

    def _now(self) -> tuple[object, ...]:
        return (
            self._limits(),
            os.getpriority(os.PRIO_PROCESS, 0),
            os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None,
            os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
            os.getresuid() if hasattr(os, "getresuid") else (os.getuid(), os.geteuid()),
            os.getresgid() if hasattr(os, "getresgid") else (os.getgid(), os.getegid()),
            os.getgroups(),
            os.stat("/")[1:3],
        )

    def _limits(self) -> object:
        if self._file is not None:
            return os.pread(self._file, 4096, 0)  # all at once, in less than asking for each takes
        names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
        return [resource.getrlimit(getattr(resource, name)) for name in names]

    def _watch(self, module: Any, name: str) -> None:
        """Notice that a function is called; one that acts on other processes is noticed in vain."""

        def note(*_: object) -> None:
            self.suspect = MODULE.SIGNS.seen = True

        setattr(module, name, watched(getattr(module, name), note))


def watched(function: Any, note: Callable[..., None]) -> Any:
    """Return a function that does the same, and calls ``note`` with its arguments before."""

    def watched(*args: Any, **kwargs: Any) -> Any:
        note(*args)
        return function(*args, **kwargs)

    watched.__name__ = watched.__qualname__ = function.__name__
    watched.__module__ = function.__module__
    watched.__doc__ = function.__doc__
    watched.__wrapped__ = function  # type: ignore[attr-defined]
    return watched
