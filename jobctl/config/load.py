"""Load a configuration: fully validated, or from the cache of the last time it was.

Importing this module is cheap; the validating one is imported when a file has to be validated.
"""

from __future__ import annotations

import os

from jobctl.config import cache
from jobctl.config.paths import find_config
from jobctl.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jobctl.model.config import Config


QUICK_MOST = 1024 * 1024
"""Bytes of a kept configuration that a daemon takes in at once, before anything else can happen."""


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and validate a configuration and what it includes.

    Raises:
        ConfigProblems: anything is wrong; it has every problem of every file.

    """
    from jobctl.config.validate import check_config  # noqa: PLC0415 (pydantic costs 100 ms)

    return check_config(os.fspath(path)).require()


def read_config(explicit: str | None = None) -> Config:
    """Return the configuration to use (see :func:`find_config`), from the cache when it holds.

    Raises:
        ConfigProblems: anything is wrong with the files.
        ConfigError: there is no configuration.

    """
    from jobctl.model.config import config_from_plain  # noqa: PLC0415 (dataclasses cost 14 ms)

    return config_from_plain(read_plain(explicit))


def kept_config(path: str) -> Config | None:
    """Return what is kept of the main file ``path`` (absolute), if that holds and is soon taken in.

    Not where modules declare jobs: they are imported again whenever a daemon starts.
    """
    from jobctl.model.config import config_from_plain  # noqa: PLC0415 (dataclasses cost 14 ms)

    plain = cache.fetch(path, most=QUICK_MOST)
    if plain is None or plain.get("python", {}).get("discover"):
        return None
    return config_from_plain(plain)


def read_plain(
    explicit: str | None = None, *, on_last_good: Callable[[ConfigError], None] | None = None
) -> dict[str, Any]:
    """Return the plain form of the configuration to use, from the cache when it holds.

    One job of it becomes a definition with :func:`jobctl.model.config.job_from_plain`.
    With ``on_last_good``, files that are wrong now count as they last were right, if that is
    known; it is told what is wrong.

    Raises:
        ConfigProblems: anything is wrong with the files.
        ConfigError: there is no configuration.

    """
    path = find_config(explicit)
    plain = cache.fetch(path)
    if plain is not None:
        return plain
    from jobctl.config.validate import check_config  # noqa: PLC0415 (pydantic costs 100 ms)
    from jobctl.model.config import to_plain  # noqa: PLC0415 (dataclasses cost 14 ms)

    checked = check_config(path)
    try:
        config = checked.require()
    except ConfigError as error:
        last_good = cache.fetch_last_good(path) if on_last_good is not None else None
        if on_last_good is None or last_good is None:
            raise
        on_last_good(error)
        return last_good
    made: dict[str, Any] = to_plain(config)  # type: ignore[assignment]  # of a dataclass
    cache.keep(checked, made, path=path)
    return made
