"""Which queues a running function may name for the runs that it submits."""

from __future__ import annotations

import json

import pytest

from jobctl.engine.python_desk import queue_names, served_queues
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, QueueDef, ScheduleDef
from jobctl.model.pool import PoolDef


def test_every_queue_of_the_file_is_one() -> None:
    schedule = ScheduleDef(name="a", rule="@daily", queue="of schedule")
    job = JobDef(name="a", command="true", queue="of job", schedules=(schedule,), source="x:1")
    config = Config(
        settings=Settings(),
        jobs={"a": job},
        queues={"by itself": QueueDef(name="by itself")},
        pools={"p": PoolDef(name="p", slots=1, queues=("of pool", "*"))},
    )
    assert queue_names(config) == {"default", "by itself", "of job", "of schedule", "of pool"}


@pytest.mark.parametrize(
    ("said", "served"),
    [
        (json.dumps({"p": {"queues": ["a", "b"]}, "q": {"queues": ["c"]}}), {"a", "b", "c"}),
        ("{}", set()), ("no json", set()), ("[1]", set()), ('{"p": 3}', set()), ('{"p": {}}', set()),
    ],
)  # fmt: skip
def test_what_a_supervisor_serves_is_what_it_says(said: str, served: set[str]) -> None:
    assert served_queues({"pools": said}) == served
    assert served_queues({}) == set()
