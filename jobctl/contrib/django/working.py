"""Django in workers: set up before models are imported, and connections given back after each run."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections, reset_queries

import jobctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobctl.api.declaring import Declare

    P = ParamSpec("P")
    R = TypeVar("R")

AROUND = "__jobctl_around__"
"""Where interpreters of jobctl find what belongs around a function when it is run."""
CHILD = "_jobctl_child"
"""A module that only the interpreters have in which jobctl runs functions."""
DISCOVERY = "discovery_child.py"
"""The program by which jobctl finds the jobs that modules declare."""
VARIABLE = "DJANGO_SETTINGS_MODULE"


def set_up(*, only_in_workers: bool = False) -> None:
    """Set Django up if it is not, as ``$DJANGO_SETTINGS_MODULE`` says: may be a pool's ``child_init``.

    With ``only_in_workers`` it does nothing in other processes, where Django may be just about to
    set itself up. Does nothing while Django is being set up, and without the variable.
    """
    if only_in_workers and not in_worker():
        return
    # `loading`: a module of jobs is imported by an application of INSTALLED_APPS.
    if os.environ.get(VARIABLE) and not apps.ready and not getattr(apps, "loading", False):
        django.setup()


def in_worker() -> bool:
    """Tell whether this process is one that jobctl started for functions of this application."""
    program = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return CHILD in sys.modules or Path(program).name == DISCOVERY


def with_connections(function: Callable[P, R]) -> Callable[P, R]:
    """Have runs of a job's function treat database connections as a request does.

    Before and after it, those that are broken or older than ``CONN_MAX_AGE`` are closed, and the
    log of queries that ``DEBUG`` keeps is emptied. Who calls the function itself, or tests it in
    eager mode, may be in the middle of a transaction: nothing happens to their connections.
    """
    try:
        setattr(function, AROUND, _around)
    except AttributeError:  # a method of an object, or a function written in C

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(*args, **kwargs)

        return with_connections(called)
    return function


def _around(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the function's own
            await sync_to_async(_give_back)()
            try:
                return await function(*args, **kwargs)
            finally:
                await sync_to_async(_give_back)()

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - same
        _give_back()
        try:
            return function(*args, **kwargs)
        finally:
            _give_back()

    return called


def _give_back() -> None:
    reset_queries()
    close_old_connections()


def _job(name: Any = None, /, **keys: Any) -> Any:  # noqa: ANN401 - see Declare
    """Declare a function a job, as :func:`jobctl.job` does, with :func:`with_connections`."""
    if callable(name):
        return jobctl.job(with_connections(name))
    return lambda function: jobctl.job(name, **keys)(with_connections(function))


if TYPE_CHECKING:
    job: Declare
else:
    job = _job
    job.__name__ = job.__qualname__ = "job"
