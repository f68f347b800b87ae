"""What tables of free keys in jobs.toml may hold: environment, tags, arguments, the store's URL."""

from __future__ import annotations

import datetime as dt
import math
import re

from jobctl.config.values import Wrong, filled, several, text

STORE_SCHEMES = (
    "redis", "rediss", "unix",
    "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]/]+)(:[0-9]{1,5})?")
_RESERVED = frozenset(
    "JOBCTL_" + word
    for word in (
        "RUN_ID", "JOB", "ATTEMPT", "MAX_ATTEMPTS", "QUEUE", "TRIGGER", "SCHEDULED_AT",
        "RESULT_FILE", "PROGRESS_FILE",
    )
)  # fmt: skip
"""Variables that every attempt is given by jobctl."""


def table(value: object) -> dict[str, object]:
    """Check a table."""
    if not isinstance(value, dict):
        raise Wrong("is not a table", code="type", remedy='write { key = "value" }')
    return value


def env(value: object) -> dict[str, str]:
    """Check environment variables; numbers become their digits."""
    return {name: _env_entry(name, item) for name, item in table(value).items()}


def _env_entry(name: str, value: object) -> str:
    if not name or "=" in name or "\0" in name:
        raise Wrong(
            "stands for a variable whose name no process can be given",
            code="name",
            remedy="names hold neither '=' nor NUL",
        ).within(name)
    if name in _RESERVED or name.startswith(("JOBCTL_ARG_", "JOBCTL_PARENT_")):
        raise Wrong(
            "would hide what jobctl tells the job", code="name", remedy="take another name"
        ).within(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    try:
        return text(value)
    except Wrong as wrong:
        raise wrong.within(name) from None


def tags(value: object) -> dict[str, str]:
    """Check tags: a table, or a list of ``"key=value"`` and ``"key"``."""
    if isinstance(value, list):
        pairs = [item.partition("=") for item in several(filled)(value)]
        return {key.strip(): item.strip() for key, _, item in pairs}
    found: dict[str, str] = {}
    for key, item in table(value).items():
        try:
            plain = (
                str(item) if isinstance(item, int | float) and item not in (True, False) else item
            )
            found[key] = text(plain)
        except Wrong as wrong:
            raise wrong.within(key) from None
    return found


def json_value(value: object) -> object:
    """Check a value that travels as JSON; dates become RFC 3339 text."""
    if isinstance(value, dict):
        return {key: _inner(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_inner(item, index) for index, item in enumerate(value)]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong("cannot be passed to a job", remedy="write a finite number")
    if isinstance(value, str):
        return text(value)
    return value


def _inner(value: object, step: str | int) -> object:
    try:
        return json_value(value)
    except Wrong as wrong:
        raise wrong.within(step) from None


def arguments(value: object) -> tuple[object, ...]:
    """Check positional arguments."""
    if isinstance(value, dict):
        raise Wrong("is not a list", code="type", remedy="arguments with names belong in kwargs")
    if not isinstance(value, list):
        raise Wrong("is not a list", code="type", remedy="write [ ] around it")
    return tuple(_inner(item, index) for index, item in enumerate(value))


def named_arguments(value: object) -> dict[str, object]:
    """Check named arguments."""
    if isinstance(value, list):
        remedy = "give each a name, as in { path = … }; those without belong in args"
        raise Wrong("is not a table", code="type", remedy=remedy)
    return {key: _inner(item, key) for key, item in table(value).items()}


def store_url(value: object) -> str:
    """Check the form of the store's URL; its options are read where it is connected to."""
    said = filled(value)
    remedy = "write for example redis://localhost:6379/0 or unix:///run/redis.sock"
    scheme, _, rest = said.partition("://")
    if scheme.lower() not in STORE_SCHEMES:
        known = ", ".join(f"{one}://" for one in STORE_SCHEMES)
        raise Wrong("is not the URL of a store", code="url", remedy=f"begin it with one of {known}")
    authority, _, path = rest.partition("?")[0].partition("/")
    hosts = authority.rpartition("@")[2]
    if scheme.lower() == "unix":
        if hosts or not path:
            raise Wrong("names no socket by its whole path", code="url", remedy=remedy)
        return said
    for host in hosts.split(","):
        if not _HOST.fullmatch(host):
            raise Wrong("names no host, or a wrong port", code="url", remedy=remedy)
    service, _, database = path.partition("/")
    if scheme.lower().endswith("+sentinel"):
        if not service:
            raise Wrong(
                "names no service for the sentinels", code="url",
                remedy="write redis+sentinel://host1,host2,host3/NAME, with the NAME of their line "
                "`sentinel monitor NAME …`",
            )  # fmt: skip
        path = database
    if path and not path.isdecimal():
        raise Wrong("has a path that is no database number", code="url", remedy=remedy)
    return said


SMTP_SCHEMES = ("smtp", "smtp+tls", "smtps")


def smtp_url(value: object) -> str:
    """Check the address of a mail server."""
    said = filled(value)
    scheme, _, rest = said.partition("://")
    remedy = "write for example smtp://mail.example.org, smtp://user@host:587 or smtps://user@host"
    if scheme.lower() not in SMTP_SCHEMES:
        raise Wrong("is not the address of a mail server", code="url", remedy=remedy)
    host = rest.rpartition("@")[2].removesuffix("/")
    if not _HOST.fullmatch(host) or not rest.isprintable():
        raise Wrong("names no host, or a wrong port", code="url", remedy=remedy)
    return said
