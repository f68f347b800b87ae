"""Which queues a running function may name for the runs that it submits."""

from __future__ import annotations

import json
import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobctl.engine import python_asks
from jobctl.engine.python_desk import (
    Desk,
    RefusedError,
    queue_names,
    served_queues,
    submit_options,
)
from jobctl.errors import InvalidArguments
from jobctl.model.admission import Admission, NewRun
from jobctl.model.config import Config, Settings
from jobctl.model.job import JobDef, QueueDef, ScheduleDef
from jobctl.model.pool import PoolDef
from jobctl.model.run import Request
from jobctl.store.transitions import run_header

if TYPE_CHECKING:
    from jobctl.engine.attempt import AttemptSpec


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


def test_question_that_was_cut_off_does_not_spoil_the_next() -> None:
    ours, theirs = socket.socketpair()
    line = python_asks.Line(theirs.detach())
    assert line._socket is not None
    line._socket.send(b'{"ask": "on')
    line._whole = False  # as an exception in the middle leaves it
    heard: list[bytes] = []

    def answer() -> None:
        with ours, ours.makefile("rb") as said:
            while not heard or b'"n"' not in heard[-1]:
                heard.append(said.readline())
            ours.sendall(b'"yes": true}\n{"n": 1, "yes": true}\n')

    pool = threading.Thread(target=answer)
    pool.start()
    assert line.ask({"ask": "once"}, default=str) == {"n": 1, "yes": True}
    pool.join()
    line._socket.close()
    assert heard == [b'{"ask": "on\n', b'{"ask": "once", "n": 1}\n']


@pytest.mark.parametrize("priority", [5.0, True, "5", 10, -1, 5j])
def test_priority_that_is_no_digit_is_refused(priority: object) -> None:
    with pytest.raises(RefusedError, match="is not one of 0 to 9"):
        submit_options({"priority": priority})


@pytest.mark.parametrize("priority", [5.0, True, "5", 10])
def test_run_whose_priority_is_no_digit_is_never_sent(priority: Any) -> None:
    request = Request(id="a" * 16, job="a", priority=priority)
    with pytest.raises(InvalidArguments, match="is not one of 0 to 9"):
        run_header(NewRun(request=request, admission=Admission()))


def test_tag_with_a_nul_is_refused() -> None:
    with pytest.raises(RefusedError, match="NUL"):
        submit_options({"tags": {"a": "b\0c"}})


@pytest.mark.parametrize(
    ("args", "tags"), [([["\ud800"]], {}), ([], {"a": "\udcff"}), ([{"\ud800": 1}], {})]
)
def test_texts_that_no_process_can_be_given_are_refused(
    args: list[object], tags: dict[str, str]
) -> None:
    job = JobDef(name="a", python="x:y", source="x:1")
    config = Config(settings=Settings(), jobs={"a": job}, queues={}, pools={})
    desk = cast("Desk", SimpleNamespace(_host="here"))
    spec = cast("AttemptSpec", SimpleNamespace(job=job, run_id="b" * 16, number=1))
    question = {"args": args, "kwargs": {}, "with": {"tags": tags}}
    with pytest.raises(RefusedError, match="only UTF-8 can be passed"):
        Desk._new_run(desk, spec, job, question, config)
