"""Where the configuration, the state and the cache are, when nobody says.

Follows the XDG base directory rules: a variable that is empty or not absolute counts as unset.
"""

from __future__ import annotations

import os

from jobctl.errors import ConfigError

CONFIG_VARIABLE = "JOBCTL_CONFIG"
SYSTEM_STATE = "/var/lib/jobctl"
"""The state directory of a daemon that root starts."""


def find_config(explicit: str | None) -> str:
    """Return the absolute path of the configuration file to use.

    The first of: ``explicit`` (the ``--config`` flag), ``$JOBCTL_CONFIG``, ``./jobs.toml``,
    ``$XDG_CONFIG_HOME/jobctl/jobs.toml``, ``/etc/jobctl/jobs.toml``. The first two are taken
    whether the file is there or not, so that a slip of the pen is not answered by another file.

    Raises:
        ConfigError: none of the others is there; the message lists where was looked.

    """
    named = explicit or os.environ.get(CONFIG_VARIABLE)
    if named:
        if _working_dir() is None and not named.startswith(("/", "~")):
            raise ConfigError(
                f"{named} is relative to a directory that is gone; write its whole path"
            )
        return os.path.abspath(os.path.expanduser(named))  # noqa: PTH100, PTH111 (pathlib costs 10 ms)
    here = _working_dir()
    places = [] if here is None else [os.path.join(here, "jobs.toml")]  # noqa: PTH118 (same)
    own = _xdg("XDG_CONFIG_HOME", ".config")
    if own is not None:
        places.append(f"{own}/jobctl/jobs.toml")
    places.append("/etc/jobctl/jobs.toml")
    for place in places:
        if os.path.exists(place):  # noqa: PTH110 (same)
            return place
    looked = ", ".join(places)
    raise ConfigError(
        f"no jobs.toml found (looked for {looked}); "
        "write one with 'jobctl init', or name one with --config"
    )


def default_state_dir() -> str:
    """Return the absolute state directory for a configuration that names none.

    The first directory of ``$STATE_DIRECTORY`` (set by systemd), else ``/var/lib/jobctl`` for
    root, else ``$XDG_STATE_HOME/jobctl``.

    Raises:
        ConfigError: the user has no home directory.

    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given.startswith("/"):
        return given
    if os.geteuid() == 0:
        return SYSTEM_STATE
    own = _xdg("XDG_STATE_HOME", ".local/state")
    if own is None:
        raise ConfigError(
            "there is no place for the state: this user has no home directory; "
            "set state_dir in [jobctl]"
        )
    return f"{own}/jobctl"


def usual_state_dir() -> str:
    """Return where a daemon of this user has its state, or that of the system for a user without a home."""
    try:
        return default_state_dir()
    except ConfigError:
        return SYSTEM_STATE


def cache_dir() -> str | None:
    """Return the absolute directory for caches, or ``None`` when the user has no home."""
    own = _xdg("XDG_CACHE_HOME", ".cache")
    return None if own is None else f"{own}/jobctl"


def shown_path(path: str) -> str:
    """Return a path relative to the working directory when it lies below it."""
    here = _working_dir()
    return path if here is None else path.removeprefix(here.rstrip("/") + "/")


def _working_dir() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 (texts)
    except OSError:
        # It was removed while we were in it.
        return None


def _xdg(variable: str, below_home: str) -> str | None:
    chosen = os.environ.get(variable, "")
    if chosen.startswith("/"):
        return chosen.rstrip("/")
    home = os.path.expanduser("~")  # noqa: PTH111 (pathlib costs 10 ms)
    return f"{home.rstrip('/')}/{below_home}" if home.startswith("/") else None
