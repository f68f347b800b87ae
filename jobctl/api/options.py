"""From the words of a Python call to wishes: options begin with an underscore, the rest is the job's.

A job whose own parameter begins with an underscore gets it through ``_kwargs={"_name": …}``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from os import PathLike, fsdecode

from jobctl.client.open import hint
from jobctl.client.submit import Wish
from jobctl.errors import ConfigError, InvalidArguments, UsageError
from jobctl.model.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    from jobctl.client.open import Session

    T = TypeVar("T")

OPTIONS = (
    "_in", "_at", "_expires", "_queue", "_priority", "_timeout", "_retries", "_id", "_tags",
    "_force", "_kwargs",
)  # fmt: skip
"""Every option of a submit."""
LONGEST_SHOWN = 60
OWN = ("_id", "_kwargs")
"""Options that are one run's own: the others are worked out once for many runs."""


def split(kwargs: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
    """Return the named arguments of a job, and the options with their underscores.

    Raises ``InvalidArguments`` for an option that there is not, and for an argument given twice.
    """
    given: dict[str, object] = {}
    options: dict[str, object] = {}
    for name, value in kwargs.items():
        # Items of submit_many may hold anything; such names are refused with the arguments.
        own = isinstance(name, str) and name[:1] == "_"
        (options if own else given)[name] = value
    for name in options:
        if name not in OPTIONS:
            raise InvalidArguments(
                f"there is no option {name}{hint(name, OPTIONS)}; pass an argument of the job that "
                f'begins with an underscore as _kwargs={{"{name}": …}}'
            )
    more = options.get("_kwargs")
    if more is not None:
        if not isinstance(more, dict):
            raise InvalidArguments("_kwargs must be a dict of the job's named arguments")
        twice = given.keys() & more.keys()
        if twice:
            raise InvalidArguments(
                f"{min(map(str, twice))}: is given twice, once in _kwargs; give it once"
            )
        given |= more
    return given, options


def wish_for(session: Session, job: str, options: Mapping[str, object]) -> Wish:
    """Return what is asked for beside arguments; raises ``InvalidArguments`` for wrong values."""
    try:
        return Wish(
            job,
            id=_typed(options, "_id", str, "a text"),
            start_in=_seconds(options, "_in"),
            start_at=_moment(session, options),
            expires=_seconds(options, "_expires"),
            queue=_typed(options, "_queue", str, "a text"),
            priority=_typed(options, "_priority", int, "a whole number"),
            timeout=_seconds(options, "_timeout"),
            retries=_typed(options, "_retries", int, "a whole number"),
            tags=_tags(options),
            force=_flag(options, "_force"),
        )
    except InvalidArguments as error:
        error.job = job
        raise


def _typed(options: Mapping[str, object], name: str, kind: type[T], words: str) -> T | None:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InvalidArguments(f"{name}: {value!r} is not {words}")
    return bare(value)


def bare(value: T) -> T:
    """Return a text or number of an enum, or of another class of its own, as nothing but that.

    Such a value says something else of itself where it is written down, and would not be what is
    read and signed.
    """
    if isinstance(value, str):
        return str.__str__(value)  # type: ignore[return-value]  # T is a text then
    if isinstance(value, int) and type(value) is not bool:
        return int.__int__(value)  # type: ignore[return-value]  # T is a number then
    return value


def _flag(options: Mapping[str, object], name: str) -> bool:
    value = options.get(name)
    if value is not None and not isinstance(value, bool):
        # A text such as "no" would be true.
        raise InvalidArguments(f"{name}: {value!r} is neither True nor False")
    return bool(value)


def seconds(name: str, value: object) -> float | None:
    """Return a duration in seconds: a number of them, a text such as ``"10m"``, or a timedelta.

    Raises ``InvalidArguments`` that begins with ``name``.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidArguments(
            f'{name}: {value!r} is no duration; write seconds, a text such as "10m", or a timedelta'
        )
    try:
        return parse_duration(bare(value))
    except ValueError as error:
        raise InvalidArguments(f"{name}: {error}") from error


def _seconds(options: Mapping[str, object], name: str) -> float | None:
    return seconds(name, options.get(name))


def _moment(session: Session, options: Mapping[str, object]) -> float | None:
    value = options.get("_at")
    if value is None:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if not isinstance(value, str | datetime):
        raise InvalidArguments(f"_at: {value!r} is no instant; give a datetime or an ISO 8601 text")
    from jobctl.client.schedules import default_zone, moment, zone_named  # noqa: PLC0415 (zones are dear)

    zone = default_zone(session)
    try:
        if isinstance(value, datetime):
            # Its offset, which a text of local time alone does not have, says which of two it is.
            value = value.replace(tzinfo=zone_named(zone)).isoformat()
        return moment(value, zone=zone).timestamp()
    except UsageError as error:
        raise InvalidArguments(f"_at: {error}") from error


def _tags(options: Mapping[str, object]) -> dict[str, str]:
    value = options.get("_tags")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArguments(f"_tags: {value!r} is no dict of names and texts")
    for name, item in value.items():
        if name is None or item is None:
            raise InvalidArguments(f"_tags: None in {value!r} is no text; leave the tag out")
    found = {str(bare(name)): str(bare(item)) for name, item in value.items()}
    if len(found) < len(value):
        raise InvalidArguments(f"_tags: two names of {value!r} are the same as texts")
    return found


def several(what: str, value: Iterable[T], remedy: str) -> Iterable[T]:
    """Return ``value`` when it is a series of things; one text or mapping is none.

    Raises ``InvalidArguments``: the letters of a text, or the keys of a mapping, are not meant.
    """
    if isinstance(value, str | bytes | bytearray | memoryview) or hasattr(value, "keys"):
        raise InvalidArguments(f"{what}: {_shown(value)} is one, not several; {remedy}")
    if not hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        raise InvalidArguments(f"{what}: {_shown(value)} is no series of them; {remedy}")
    return value


def run_ids(ids: Iterable[str]) -> list[str]:
    """Return the ids of runs that were given; raises ``InvalidArguments``."""
    found = list(several("ids", ids, "pass a list of run ids, such as revoke([run.id])"))
    for one in found:
        if not isinstance(one, str):
            raise InvalidArguments(f"ids: {_shown(one)} is no id of a run; pass run.id")
    return found


def reference_of(value: object) -> str:
    """Return what a run is looked for by; raises ``InvalidArguments``."""
    if not isinstance(value, str):
        raise InvalidArguments(
            f"{_shown(value)} is no run: give its id, the beginning of one, its job's name, or '@last'"
        )
    return value


def whole(name: str, value: object, *, least: int) -> int | None:
    """Return a whole number, or ``None``; raises ``InvalidArguments``."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidArguments(f"{name}: {_shown(value)} is no whole number from {least} on")
    return value


def signal_name(value: object) -> str | None:
    """Return the name of a signal without SIG, or ``None``; raises ``InvalidArguments``."""
    if value is None:
        return None
    from signal import Signals  # noqa: PLC0415 (few name one)

    name = str(getattr(value, "name", value)).upper().removeprefix("SIG")
    if f"SIG{name}" not in Signals.__members__:
        raise InvalidArguments(
            f"signal: {_shown(value)} is none; write for example 'TERM' or 'INT'"
        )
    return name


def flag(name: str, value: object) -> bool:
    """Return a truth value; raises ``InvalidArguments``."""
    return _flag({name: value}, name)


def namespace_of(value: object) -> str:
    """Return a namespace that jobs.toml could name as well; raises ``ConfigError``."""
    from jobctl.config.values import Wrong, name  # noqa: PLC0415 (few name one)

    try:
        return name(value)
    except Wrong as error:
        raise ConfigError(f"namespace: {_shown(value)} {error}; {error.remedy}") from None


def path_of(name: str, value: object) -> str:
    """Return a path as text; raises ``ConfigError``."""
    if not isinstance(value, str | PathLike):
        raise ConfigError(f"{name}: {_shown(value)} is no path")
    return fsdecode(value)


def _shown(value: object) -> str:
    said = repr(value)
    return said if len(said) <= LONGEST_SHOWN else said[: LONGEST_SHOWN - 1] + "…"
