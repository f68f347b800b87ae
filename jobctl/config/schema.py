"""The keys of jobs.toml, one model per kind of table.

Values are checked by :mod:`jobctl.config.values`; pydantic walks the tables, finds unknown keys
and collects every error. A key that is not written stays out of ``model_fields_set``, which is
how ``[defaults]`` are laid under a job.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, PlainValidator

from jobctl.config import job_values, tables, values
from jobctl.model.config import Durability
from jobctl.model.job import PARAM_TYPES, Delivery, Missed, OnLost, Overlap
from jobctl.model.pool import IDLE_AUTO

Text = Annotated[str, PlainValidator(values.text, json_schema_input_type=str)]
Filled = Annotated[str, PlainValidator(values.filled, json_schema_input_type=str)]
Name = Annotated[str, PlainValidator(values.name, json_schema_input_type=str)]
Flag = Annotated[bool, PlainValidator(values.flag, json_schema_input_type=bool)]
Names = Annotated[
    tuple[str, ...],
    PlainValidator(values.several(values.name), json_schema_input_type=str | list[str]),
]
Texts = Annotated[
    tuple[str, ...],
    PlainValidator(values.several(values.filled), json_schema_input_type=str | list[str]),
]
Address = Annotated[str, PlainValidator(values.address, json_schema_input_type=str)]
Addresses = Annotated[
    tuple[str, ...],
    PlainValidator(values.several(values.address), json_schema_input_type=str | list[str]),
]
Duration = Annotated[
    float, PlainValidator(values.duration, json_schema_input_type=str | int | float)
]
Span = Annotated[float, PlainValidator(values.span, json_schema_input_type=str | int | float)]
Limit = Annotated[
    float | None,
    PlainValidator(values.or_none(values.span), json_schema_input_type=str | int | float),
]
AnySize = Annotated[int, PlainValidator(values.size, json_schema_input_type=str | int)]
Size = Annotated[int, PlainValidator(values.some_size, json_schema_input_type=str | int)]
SizeLimit = Annotated[
    int | None, PlainValidator(values.or_none(values.some_size), json_schema_input_type=str | int)
]
Count = Annotated[int, PlainValidator(values.whole(0), json_schema_input_type=int)]
Positive = Annotated[int, PlainValidator(values.whole(1), json_schema_input_type=int)]
PositiveLimit = Annotated[
    int | None,
    PlainValidator(values.or_none(values.whole(1)), json_schema_input_type=int | str),
]
Priority = Annotated[int, PlainValidator(values.whole(0, 9), json_schema_input_type=int)]
Codes = Annotated[
    tuple[int, ...],
    PlainValidator(values.several(values.whole(0, 255)), json_schema_input_type=int | list[int]),
]
Cases = Annotated[
    tuple[int | str, ...],
    PlainValidator(
        values.several(job_values.retry_case), json_schema_input_type=int | str | list[int | str]
    ),
]
Exceptions = Annotated[
    tuple[str, ...],
    PlainValidator(
        values.several(job_values.exception_name), json_schema_input_type=str | list[str]
    ),
]
Command = Annotated[
    str | tuple[str, ...],
    PlainValidator(job_values.command, json_schema_input_type=str | list[str]),
]
Instant = Annotated[str, PlainValidator(values.instant, json_schema_input_type=str)]
Arguments = Annotated[
    tuple[object, ...], PlainValidator(tables.arguments, json_schema_input_type=list[object])
]
NamedArguments = Annotated[
    dict[str, object],
    PlainValidator(tables.named_arguments, json_schema_input_type=dict[str, object]),
]
MissedWord = Annotated[str, PlainValidator(values.one_of(*Missed), json_schema_input_type=Missed)]


class Table(BaseModel):
    """A table of jobs.toml: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ScheduleTable(Table):
    """One of ``[[jobs.NAME.schedules]]``."""

    schedule: Filled
    timezone: Filled | None = None
    args: Arguments | None = None
    kwargs: NamedArguments | None = None
    queue: Name | None = None
    priority: Priority | None = None
    expires: Span | None = None
    jitter: Duration | None = None
    missed: MissedWord | None = None
    not_before: Instant | None = None
    not_after: Instant | None = None
    max_runs: Positive | None = None
    enabled: Flag = True


class ParamTable(Table):
    """One of ``jobs.NAME.params``."""

    type: Annotated[str, PlainValidator(values.one_of(*PARAM_TYPES))] = "str"
    required: Flag | None = None
    default: Annotated[object, PlainValidator(tables.json_value)] = None
    min: Annotated[float, PlainValidator(values.number(-values.INFINITY))] | None = None
    max: Annotated[float, PlainValidator(values.number(-values.INFINITY))] | None = None
    choices: Arguments | None = None
    pattern: Annotated[str, PlainValidator(values.pattern)] | None = None
    nullable: Flag = False
    positional: Flag = False
    keyword: Flag = False
    secret: Flag = False
    description: Text = ""
    """For people."""


class JobTable(Table):
    """``[jobs.NAME]`` and ``[defaults]``."""

    INACTIVE: ClassVar = (
        "result_ttl",
    )  # fmt: skip
    """Keys that are checked and kept, and that nothing acts on yet."""

    command: Command | None = None
    python: Annotated[str, PlainValidator(job_values.target, json_schema_input_type=str)] | None = (
        None
    )
    interpreter: Filled | None = None
    description: Text | None = None
    owner: Text | None = None
    tags: Annotated[dict[str, str], PlainValidator(tables.tags)] | None = None
    enabled: Flag | None = None
    schedule: Texts | None = None
    """When it runs: a rule, or several."""
    schedules: list[ScheduleTable] | None = None
    """Rules that give their runs other values than the job's own."""
    timezone: Filled | None = None
    jitter: Duration | None = None
    missed: MissedWord | None = None
    catchup_window: Duration | None = None
    catchup_max: Positive | None = None
    overlap: (
        Annotated[str, PlainValidator(values.one_of(*Overlap), json_schema_input_type=Overlap)]
        | None
    ) = None
    timeout: Limit = None
    soft_timeout: Limit = None
    total_timeout: Limit = None
    stop_signal: Annotated[str, PlainValidator(job_values.stop_signal)] | None = None
    stop_timeout: Duration | None = None
    retries: Annotated[int, PlainValidator(values.whole(-1), json_schema_input_type=int)] | None = (
        None
    )
    retry_delay: Duration | None = None
    retry_backoff: Annotated[float, PlainValidator(values.number(1, 1000))] | None = None
    retry_max_delay: Duration | None = None
    retry_jitter: Annotated[float, PlainValidator(values.number(0, 1))] | None = None
    retry_on: Cases | None = None
    no_retry_on: Cases | None = None
    success_codes: Codes | None = None
    skip_codes: Codes | None = None
    expected: Exceptions | None = None
    on_lost: (
        Annotated[str, PlainValidator(values.one_of(*OnLost), json_schema_input_type=OnLost)] | None
    ) = None
    delivery: (
        Annotated[str, PlainValidator(values.one_of(*Delivery), json_schema_input_type=Delivery)]
        | None
    ) = None
    strict_single: Flag | None = None
    limits: Names | None = None
    max_running: PositiveLimit = None
    rate: Annotated[str | None, PlainValidator(values.or_none(job_values.rate))] = None
    unique: Annotated[str | None, PlainValidator(values.or_none(job_values.unique))] = None
    queue: Name | None = None
    priority: Priority | None = None
    start_deadline: Limit = None
    expires: Limit = None
    max_rss: SizeLimit = None
    nice: (
        Annotated[int, PlainValidator(values.whole(-20, 19), json_schema_input_type=int)] | None
    ) = None
    max_output: Size | None = None
    env: Annotated[dict[str, str], PlainValidator(tables.env)] | None = None
    env_file: Texts | None = None
    cwd: Filled | None = None
    user: Filled | None = None
    group: Filled | None = None
    umask: (
        Annotated[int, PlainValidator(job_values.umask, json_schema_input_type=str | int)] | None
    ) = None
    shell: Filled | None = None
    stdin: Text | None = None
    leftovers: Annotated[str, PlainValidator(values.one_of("kill", "keep"))] | None = None
    only_if: Filled | None = None
    on_failure: Names | None = None
    on_success: Names | None = None
    on_retry: Names | None = None
    mail_to: Addresses | None = None
    mail_on: (
        Annotated[str, PlainValidator(values.one_of("failure", "output", "always", "never"))] | None
    ) = None
    mail_every: Duration | None = None
    ping_url: Annotated[str, PlainValidator(values.url)] | None = None
    late_after: Limit = None
    pause_after_failures: PositiveLimit = None
    keep_runs: Count | None = None
    keep_days: (
        Annotated[float, PlainValidator(values.days, json_schema_input_type=str | int | float)]
        | None
    ) = None
    keep_failed: Count | None = None
    keep_ids: Duration | None = None
    keep_result: Annotated[str, PlainValidator(values.one_of("all", "errors", "none"))] | None = (
        None
    )
    result_format: (
        Annotated[str, PlainValidator(values.one_of("json", "msgpack", "pickle"))] | None
    ) = None
    result_compression: Annotated[str, PlainValidator(values.one_of("zlib", "zstd"))] | None = None
    result_ttl: Limit = None
    params: dict[str, ParamTable] | None = None
    args: Arguments | None = None
    kwargs: NamedArguments | None = None


Hook = Annotated[str, PlainValidator(job_values.hook, json_schema_input_type=str)] | None


Slots = Annotated[int, PlainValidator(values.whole(1, 10_000), json_schema_input_type=int)] | None


class PoolTable(Table):
    """``[pools.NAME]``."""

    slots: Slots = None
    min: Slots = None
    max: Slots = None
    prefetch: Annotated[int, PlainValidator(values.whole(0, 100), json_schema_input_type=int)] = 0
    autoscale: Annotated[str, PlainValidator(values.one_of("depth", "wait", "cpu"))] | None = None
    queues: Annotated[
        tuple[str, ...],
        PlainValidator(
            values.several(values.queue_pattern), json_schema_input_type=str | list[str]
        ),
    ] = ("default",)
    python: Annotated[
        str, PlainValidator(values.one_of("process", "thread", "async", "inline"))
    ] = "process"
    max_runs_per_child: Positive = 1000
    max_rss_per_child: SizeLimit = None
    idle_timeout: Annotated[
        float | str | None,
        PlainValidator(
            values.or_word(IDLE_AUTO, values.or_none(values.span)),
            json_schema_input_type=str | int | float,
        ),
    ] = IDLE_AUTO
    preload: Annotated[
        tuple[str, ...],
        PlainValidator(
            values.several(job_values.module_name), json_schema_input_type=str | list[str]
        ),
    ] = ()
    child_init: Hook = None
    child_exit: Hook = None


class QueueTable(Table):
    """``[queues.NAME]``."""

    max_running: PositiveLimit = None
    max_length: PositiveLimit = None


class LimitTable(Table):
    """``[limits.NAME]``."""

    slots: Positive


class PythonTable(Table):
    """``[python]``."""

    discover: Annotated[
        tuple[str, ...],
        PlainValidator(values.several(job_values.module), json_schema_input_type=str | list[str]),
    ] = ()
    interpreter: Filled | None = None


class SettingsTable(Table):
    """``[jobctl]``."""

    redis: Annotated[str, PlainValidator(tables.store_url, json_schema_input_type=str)] | None = (
        None
    )
    namespace: Name = "default"
    timezone: Filled | None = None
    state_dir: Filled | None = None
    durability: Annotated[
        str,
        PlainValidator(
            values.one_of(Durability.PRIMARY, Durability.REPLICATED), json_schema_input_type=str
        ),
    ] = Durability.PRIMARY
    durability_replicas: Positive = 1
    durability_timeout: Duration | None = None
    store_binary: Filled | None = None
    allow_exec: Flag = False
    allow_pickle: Flag = False
    drain_timeout: Duration | None = None
    log_tail: AnySize | None = None
    max_output: Size | None = None
    max_args: Size | None = None
    max_result: Size | None = None
    name: Filled | None = None


class SecurityTable(Table):
    """``[security]``."""

    key_file: Filled | None = None
    sign: Annotated[str, PlainValidator(values.one_of("hmac", "none"))] = "hmac"
    sign_with: Name | None = None
    trusted_keys: Names | None = None
    require: Flag = True
    valid_for: Span | None = None


class MailTable(Table):
    """``[mail]``."""

    smtp: Annotated[str, PlainValidator(tables.smtp_url, json_schema_input_type=str)] | None = None
    password_file: Filled | None = None
    sendmail: Filled | None = None
    sender: Address | None = None
    ca_file: Filled | None = None
