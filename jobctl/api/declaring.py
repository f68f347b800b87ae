"""``@job``: a function declares itself a job, and stays the function it is.

Every worker imports this with the module it calls, so nothing is imported here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ParamSpec, Protocol, TypeVar, overload

    from jobctl.api.client import Run

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

    class Job(Protocol[P, R_co]):
        """A function that is a job as well."""

        job_name: str
        """The job's name."""
        job_keys: dict[str, object]
        """What the decorator said, keys as in jobs.toml."""
        __name__: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Call it here and now, as any function."""

        def submit(self, *args: Any, **kwargs: Any) -> Run:  # noqa: ANN401 - and options
            """Submit a run of it; see :meth:`jobctl.Client.submit`."""

        def submit_many(self, items: Iterable[object], /, **options: Any) -> list[Run]:  # noqa: ANN401 - same
            """Submit a run for each item; see :meth:`jobctl.Client.submit_many`."""

    class Declare(Protocol):
        """What ``job`` is to a type checker."""

        @overload
        def __call__(self, name: Callable[P, R_co], /) -> Job[P, R_co]: ...
        @overload
        def __call__(
            self,
            name: str | None = None,
            /,
            **keys: Any,  # noqa: ANN401 - any key of jobs.toml
        ) -> Callable[[Callable[P, R_co]], Job[P, R_co]]: ...

    job: Declare


declared: list[Any] = []
"""Every function that was declared in this process, in order; read by the discovery of jobs."""


def _job(name: Any = None, /, **keys: Any) -> Any:  # noqa: ANN401 - see Declare
    """Declare a function a job: ``@job``, ``@job("name")`` or ``@job("name", retries=3, …)``.

    The name is that of the function if none is given. ``keys`` are those of a job in jobs.toml,
    with the same values; durations may be timedeltas. They count where jobs.toml says nothing
    else, once its ``[python] discover`` names the module; they are checked with the file.

    The function stays what it is. It gets ``submit`` and ``submit_many``, which use the usual
    client (see :func:`jobctl.configure`), ``job_name`` and ``job_keys``.
    """
    if callable(name):
        return _declare(name, _name_of(name), {})
    if isinstance(name, classmethod):
        raise _turned(name)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"@job: {name!r} is no name for a job")
    return lambda function: _declare(function, name or _name_of(function), keys)


def _name_of(function: Any, kind: str = "__name__") -> str:  # noqa: ANN401 - any function
    found = getattr(function, kind, None)
    if not isinstance(found, str):
        raise TypeError(f"@job: {function!r} has no name of its own; declare a function with def")
    return found


def _turned(method: Any) -> TypeError:  # noqa: ANN401 - a class method
    name = method.__func__.__qualname__
    return TypeError(f"@job: {name} is a class method; write @classmethod above @job")


def _declare(function: Any, name: str, keys: dict[str, object]) -> Any:  # noqa: ANN401 - any function
    if isinstance(function, type):
        raise TypeError(
            f"@job: {function.__qualname__} is a class; declare a function that uses it"
        )
    if isinstance(function, classmethod):
        raise _turned(function)

    _name_of(function, "__qualname__")
    if hasattr(function, "job_name") and any(one is function for one in declared):
        # Its name, and what it is submitted by, can be that of one job only.
        raise TypeError(
            f"@job: {function.__qualname__} is the job {function.job_name} already; declare a "
            f"function that calls it as {name}"
        )

    def submit(*args: object, **kwargs: object) -> Run:
        from jobctl.api import standard  # noqa: PLC0415 (workers never submit)

        return standard.submit(name, *args, **kwargs)

    def submit_many(items: Iterable[object], /, **options: object) -> list[Run]:
        from jobctl.api import standard  # noqa: PLC0415 (same)

        return standard.submit_many(name, items, **options)

    try:
        function.job_name = name
        function.job_keys = keys
        function.submit = submit
        function.submit_many = submit_many
    except AttributeError:
        raise TypeError(f"@job: {function!r} is no function of a module") from None
    declared.append(function)
    return function


if not TYPE_CHECKING:
    job = _job
    job.__name__ = job.__qualname__ = "job"
