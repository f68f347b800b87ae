"""The same runs in eager mode and by a real daemon must come to the same."""

from __future__ import annotations

import sys

from jobctl import Client, JobFailed
from jobctl.testing import PrivateDaemon, eager

JOBS = """
[defaults]
cwd = "."
python = "parity:act"
retry_delay = 0
env = { SHOP = "open" }

[jobs.plain]
[jobs.again]
retries = 2
[jobs.named]
retries = 2
no_retry_on = ["LookupError"]
expected = ["ZeroDivisionError"]
[jobs.codes]
skip_codes = [75]
success_codes = [0, 3]
[jobs.packed]
result_format = "msgpack"
result_compression = "zlib"
[jobs.small]
result_compression = "zlib"
[jobs.forgets]
keep_result = "none"
[jobs.forgets_values]
keep_result = "errors"
result_format = "msgpack"
[jobs.waits]
python = "parity:waits"
[jobs.tells]
python = "parity:tells"
tags = { team = "ops" }
timeout = "1m"
"""
CODE = """
import asyncio, dataclasses, datetime, decimal, enum, os, pathlib, sys, threading, uuid
from jobctl import Fatal, Retry, Skip, current

class Size(enum.Enum):
    BIG = "big"

@dataclasses.dataclass
class Item:
    name: str
    size: Size

class Gone(BaseException):
    pass

def in_thread():
    found = []
    def look():
        run = current()
        run.progress(50, "in a thread")
        found.append([run.job, run.attempt])
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found

VALUES = {
    "many": lambda: [datetime.date(2026, 1, 2), datetime.timedelta(minutes=1), uuid.UUID(int=7),
                     decimal.Decimal("1.50"), b"abc", {2, 1}, (1, 2), Item("a", Size.BIG),
                     pathlib.Path("/srv"), {"é": None}, 1.5],
    "object": object, "nan": lambda: float("nan"), "large": lambda: "x" * 2_000_000,
    "none": lambda: None, "surrogate": lambda: "\\ud800", "in_thread": in_thread,
    "numbers": lambda: {1: {None: True}}, "twice": lambda: [{1: 2, "1": 3}],
}
ERRORS = {"Fatal": Fatal, "Skip": Skip, "KeyError": KeyError, "ZeroDivisionError": ZeroDivisionError,
          "Retry": Retry, "OSError": OSError, "Gone": Gone, "GeneratorExit": GeneratorExit,
          "Cancelled": asyncio.CancelledError}

def act(value=None, error=None, code=None, until=0, echo=None):
    if error is not None and current().attempt > until > 0:
        return current().attempt
    if error == "chained":
        try:
            {}["missing"]
        except KeyError as found:
            raise ValueError("from it") from found
    if error is not None:
        raise ERRORS[error]("as told")
    if code is not None:
        sys.exit(code)
    return VALUES[value]() if value else echo

async def waits(error):
    raise ERRORS[error]("as told")

async def tells(a, *rest, **more):
    run = current()
    return [a, rest, more, run.attempt, run.max_attempts, run.tags, run.queue, run.trigger,
            run.scheduled_at, run.deadline is not None, os.environ["SHOP"], os.environ["JOBCTL_JOB"],
            os.environ["JOBCTL_TAG_TEAM"], os.environ["JOBCTL_ARG_B"]]
"""
RUNS = (
    *(("plain", (), {"value": one}) for one in ("many", "object", "nan", "large", "none", "surrogate", "in_thread", "numbers", "twice")),
    *(("plain", (), {"echo": one}) for one in (1, "é", [1, {"a": [None, True]}], 2**70, -0.0)),
    *(("plain", (), {"error": one}) for one in ("OSError", "Skip", "Retry", "chained", "Gone", "GeneratorExit")),
    *(("again", (), {"error": one}) for one in ("OSError", "Fatal", "Skip", "Retry")),
    ("again", (), {"error": "OSError", "until": 1}),
    *(("named", (), {"error": one}) for one in ("KeyError", "ZeroDivisionError")),
    *(("codes", (), {"code": one}) for one in (0, 1, 3, 75, "words", 256)),
    ("plain", (1,), {"value": "none", "unknown": 2}),
    *(("packed", (), {"value": one}) for one in ("many", "object", "none")),
    ("small", (), {"echo": "x" * 5000}),
    *((job, (), {"value": one}) for job in ("forgets", "forgets_values") for one in ("object", "nan", "large", "twice", "many")),
    *((job, (), {"error": "OSError"}) for job in ("forgets", "forgets_values")),
    *(("waits", (), {"error": one}) for one in ("OSError", "Cancelled")),
    ("tells", (1, [2]), {"b": {"c": 1}}),
)  # fmt: skip


def outcome(
    client: Client, job: str, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    """Return all of a run that does not depend on when and where it was."""
    run = client.submit(job, *args, **kwargs)
    try:
        returned = run.wait("60s")
    except JobFailed as error:
        returned = (str(error).replace(run.id, ""), error.error_type, error.job_exit_code)
    record = run.record
    attempts = [
        (one.outcome, one.reason, one.exit_code, one.error, one.traceback)
        for one in record.attempts
    ]
    facts = (
        record.state,
        record.reason,
        record.attempt,
        record.exit_code,
        record.error,
        record.result,
    )
    return returned, facts, attempts, run.logs()


def test_eager_mode_comes_to_what_a_daemon_comes_to(tmp_path) -> None:
    (tmp_path / "jobs.toml").write_text(JOBS)
    (tmp_path / "parity.py").write_text(CODE)
    with PrivateDaemon(tmp_path / "jobs.toml", slots=1) as daemon:
        real = [outcome(daemon.client, *one) for one in RUNS]
    try:
        with eager():
            client = Client(tmp_path / "jobs.toml")
            found = [outcome(client, *one) for one in RUNS]
    finally:
        sys.modules.pop("parity", None)

    different = [one for one in zip(RUNS, found, real, strict=True) if one[1] != one[2]]
    assert different == []
