"""What stands for ``jobctl`` in an interpreter where it is not installed.

Loaded by its path by the interpreters of pools and by the one that ``jobctl check`` asks, so both
have the same names. Uses the standard library only and runs in any CPython from 3.9 on.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

CONTEXT = "jobctl.context"


def job(name: Any = None, /, **_keys: Any) -> Any:
    """Stand for ``jobctl.job``: the function stays what it is.

    It was declared where its module was discovered; a run only calls it.
    """
    return name if callable(name) else lambda function: function


def module(name: str) -> ModuleType:
    """Return the module for ``jobctl`` or ``jobctl.context``.

    It is :mod:`jobctl.context` under both names, and ``jobctl`` has :func:`job` besides.
    """
    context = sys.modules.get(CONTEXT) or _context()
    if name == CONTEXT:
        return context
    found = type(sys)("jobctl")
    found.__dict__.update(
        {one: getattr(context, one) for one in context.__all__}, context=context, job=job
    )
    return found


def _context() -> ModuleType:
    path = os.path.join(os.path.dirname(__file__), "context.py")
    found = type(sys)(CONTEXT)
    found.__file__ = path
    code: Any = SourceFileLoader(CONTEXT, path).get_code(CONTEXT)
    exec(code, found.__dict__)  # noqa: S102 - a file of ours, as this one
    sys.modules[CONTEXT] = found
    return found
