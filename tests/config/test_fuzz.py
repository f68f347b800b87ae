"""Whatever is in the file, the answer is a configuration or problems, never a traceback."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from jobctl.config.problem import format_problem
from jobctl.config.schema import JobTable, ParamTable, PoolTable, ScheduleTable, SettingsTable
from jobctl.config.validate import validate
from jobctl.model.config import config_from_plain, to_plain

words = st.sampled_from(
    [
        "1h", "90s", "2GiB", "a", "b", "none", "skip", "all", "args", "10/m", "@daily", "* * * * *",
        "@every 5m", "@at 2030-01-01T00:00:00Z", "UTC", "m:f", "TERM", "*", "", "int", "float",
        "${X}", "redis://h", "key:x", "\0", "\n", "ü", "x" * 70,
    ]
)  # fmt: skip
scalars: st.SearchStrategy[Any] = (
    words
    | st.booleans()
    | st.integers(-3, 300)
    | st.integers()
    | st.floats()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def tables(model: Any) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from([*model.model_fields, "unknown"])
    return st.dictionaries(keys, values, max_size=6)


jobs = st.builds(
    lambda job, schedules, params: {**job, **schedules, **params},
    tables(JobTable),
    st.just({}) | st.fixed_dictionaries({"schedules": st.lists(tables(ScheduleTable), max_size=2)}),
    st.just({})
    | st.fixed_dictionaries({"params": st.dictionaries(words, tables(ParamTable), max_size=2)}),
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "include": values,
        "jobctl": tables(SettingsTable),
        "defaults": jobs,
        "jobs": st.dictionaries(words, jobs, max_size=2) | values,
        "pools": st.dictionaries(words, tables(PoolTable), max_size=2) | values,
        "queues": values,
        "limits": values,
        "unknown": values,
    },
)


def outcome(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.toml"
        path.write_bytes(text)
        checked = validate(str(path), environ={"X": "value"}, cpus=2)
    for problem in checked.problems:
        assert problem.message
        assert format_problem(problem)
        assert problem.line or problem.code == "unreadable"
    if checked.config is None:
        assert any(one.severity == "error" for one in checked.problems)
    else:
        assert config_from_plain(to_plain(checked.config)) == checked.config  # type: ignore[arg-type]


@settings(deadline=None, max_examples=150)
@given(documents)
def test_any_document_is_answered(document: dict[str, Any]) -> None:
    outcome(tomli_w.dumps(document).encode("utf-8", "surrogatepass"))


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="[]{}=.\"'\\#,\n\r \tab1-_:ü") | st.binary())
def test_any_bytes_are_answered(content: str | bytes) -> None:
    outcome(content if isinstance(content, bytes) else content.encode())
