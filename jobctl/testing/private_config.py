"""A jobs.toml for tests, made from that of an application: the same jobs, and nothing outside.

Where the application's store is, who is mailed and which account jobs run as must not reach a test,
so the file is not used itself: what defines jobs is taken from it.
"""

from __future__ import annotations

import json
import os
import tomllib
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

from jobctl.config.build import absolute
from jobctl.config.cache import find_included
from jobctl.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECTIONS = ("jobs", "pools", "queues", "limits")
"""Tables of named things, which included files may hold as well."""
KEPT_SETTINGS = (
    "timezone", "allow_exec", "log_tail", "max_output", "max_args", "max_result",
    "store_binary", "allow_pickle",
)  # fmt: skip
"""Keys of ``[jobctl]`` that say how jobs behave, and not where they do."""
LEFT_OUT = ("security", "mail", "include", "jobctl")
"""Tables that say where: a test has its own store, keys and nobody to be told."""
OUTSIDE = ("ping_url", "mail_to", "mail_on", "mail_every", "user", "group")
"""Keys of a job that reach out of a test, or need rights that it does not have."""
PATHS = {"cwd": True, "interpreter": False, "env_file": False}
"""Keys of a job that hold paths; whether a name without a slash is one as well."""

Tables = dict[str, Any]


def private_text(
    jobs: str | os.PathLike[str],
    *,
    root: str,
    settings: Mapping[str, object],
    slots: int,
    config: str = "",
) -> str:
    """Return the text of a jobs.toml with the jobs of another one.

    ``jobs`` is the path of a jobs.toml, or the text of one as a ``str``: relative paths in a text
    are those of ``root``, and so is the directory of jobs that do not say where they run.
    Pools that do not say otherwise have ``slots``. What jobs submit goes where ``config`` says, the
    path that the text will have, and not where the file beside them does.
    ``settings`` become the ``[jobctl]`` table, with those of the original that say how jobs behave.

    Raises ``ConfigError`` for a file that cannot be read, or is no TOML.
    """
    if isinstance(jobs, str):
        folder, data = root, _parsed(jobs, "the jobs of the private daemon")
        data.setdefault("defaults", {}).setdefault("cwd", root)
    else:
        path = os.path.abspath(jobs)  # noqa: PTH100 (texts)
        folder, data = os.path.dirname(path), _read(path)  # noqa: PTH120 (same)
    for section in _included(data, folder):
        _add(data, section)
    if "python" in data:
        _settle_discovery(data, folder)
    made = {key: value for key, value in data.items() if key not in LEFT_OUT}
    for job in (*_tables(made.get("jobs")), *_tables([made.get("defaults")])):
        _settle_job(job, folder)
    environment = made.setdefault("defaults", {}).setdefault("env", {}) if config else None
    if isinstance(environment, dict):
        environment.setdefault("JOBCTL_CONFIG", config)
    made.setdefault("pools", {}).setdefault("default", {})
    for pool in _tables(made["pools"]):
        if not pool.keys() & {"slots", "min", "max"}:
            pool["slots"] = slots
    original = data.get("jobctl", {})
    kept = {key: original[key] for key in KEPT_SETTINGS if key in original}
    return toml_text({"jobctl": {**kept, **settings}, **made})


def toml_text(tables: Mapping[str, object]) -> str:
    """Return TOML that says the same as ``tables``: two levels of headers, values in one line."""
    lines: list[str] = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            lines.insert(0, f"{_key(name)} = {_value(table)}")
        elif table and all(isinstance(item, dict) for item in table.values()):
            for below, item in table.items():
                lines += ["", f"[{_key(name)}.{_key(below)}]", *_pairs(item)]
        else:
            lines += ["", f"[{_key(name)}]", *_pairs(table)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _read(path: str) -> Tables:
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 (texts)
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {why}") from error
    return _parsed(text, path)


def _parsed(text: str, name: str) -> Tables:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: this is not valid TOML: {error}") from error


def _included(data: Tables, folder: str) -> Iterator[Tables]:
    patterns = data.get("include", [])
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        for path in find_included(os.path.join(folder, os.path.expanduser(pattern))):  # noqa: PTH111, PTH118 (same)
            yield _read(path)


def _add(data: Tables, more: Tables) -> None:
    for section in SECTIONS:
        twice = sorted(data.get(section, {}).keys() & more.get(section, {}).keys())
        if twice:
            raise ConfigError(
                f"{section}.{twice[0]} is defined in two files; remove one of the two"
            )
        if section in more:
            data.setdefault(section, {}).update(more[section])


def _tables(value: object) -> Iterator[Tables]:
    items = value.values() if isinstance(value, dict) else value
    yield from (item for item in items or () if isinstance(item, dict))  # type: ignore[attr-defined]


def _settle_discovery(data: Tables, folder: str) -> None:
    """Let declared jobs be found where they are: beside the original file.

    Jobs of the file keep their own default, which is the home directory.
    """
    defaults = data.setdefault("defaults", {})
    if "cwd" not in defaults:
        defaults["cwd"] = folder
        for job in _tables(data.get("jobs")):
            if job.keys() & {"command", "python"}:
                job.setdefault("cwd", "~")
    interpreter = data["python"].get("interpreter")
    if isinstance(interpreter, str):
        data["python"]["interpreter"] = absolute(interpreter, folder=folder, bare=False)


def _settle_job(job: Tables, folder: str) -> None:
    for key in OUTSIDE:
        job.pop(key, None)
    for key, bare in PATHS.items():
        value = job.get(key)
        if isinstance(value, str):
            job[key] = absolute(value, folder=folder, bare=bare or key == "env_file")
        elif isinstance(value, list):
            job[key] = [absolute(one, folder=folder) for one in value if isinstance(one, str)]


def _pairs(table: Mapping[str, object]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{_key(name)} = {_value(value)}"


def _key(name: str) -> str:
    return (
        name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _text(name)
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    # A JSON string is one of TOML as well, but for a character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
